"""Bedrock as a server on this machine answers for it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from pydantic import SecretStr

from dropzone import SessionPool
from dropzone.errors import DocumentRejected, ServiceUnavailable
from dropzone.retry import RetryPolicy
from dropzone.sessions import BedrockSettings
from dropzone.sessions.credentials import AwsCredentials

SHORT = RetryPolicy(seconds=0.5, first_pause=0.01, longest_pause=0.02)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(size))
        _, _, model, verb = unquote(self.path).split("/", 3)
        self.server.asked.append((model, verb, body, dict(self.headers)))
        faults = self.server.faults
        status, code, answer = 200, None, None
        if model.startswith("dropzone.probe"):
            status, code = self.server.probe
        elif faults:
            status, code = faults.pop(0)
        if code is None:
            answer = self.server.answer(model, body)
        else:
            answer = {"message": f"{code} it is"}
        self.reply(status, code, answer)

    def reply(self, status, code, answer):
        content = json.dumps(answer).encode()
        self.send_response(status)
        if code:
            self.send_header("x-amzn-ErrorType", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def answer(model, body):
    if "messages" in body:
        text = body["messages"][-1]["content"][0]["text"].upper()
        return {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
            "metrics": {"latencyMs": 1},
        }
    if "cohere." in model:
        return {"embeddings": {"float": [[len(text), 1] for text in body["texts"]]}}
    if "inputText" in body:
        dims = body.get("dimensions", 4)
        return {"embedding": [float(len(body["inputText"]))] * dims}
    return {"echo": body}


@pytest.fixture(scope="module")
def running():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer = answer
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings = BedrockSettings(
        region="eu-central-1",
        credentials=AwsCredentials(SecretStr("AKIDTEST"), SecretStr("canary")),
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        retry=SHORT,
    )
    with SessionPool(bedrock=settings) as pool:
        yield server, pool.bedrock
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def server(running):
    running[0].faults = []
    running[0].asked = []
    running[0].probe = (404, "ResourceNotFoundException")
    return running[0]


@pytest.fixture
def bedrock(running):
    return running[1]


def test_requests_are_signed_and_pass_as_they_are(bedrock, server):
    assert bedrock.invoke("some.model-v1:0", {"a": 1}) == {"echo": {"a": 1}}
    ((model, verb, _, headers),) = server.asked
    assert (model, verb) == ("some.model-v1:0", "invoke")
    signature = headers["Authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDTEST/")
    assert "/eu-central-1/bedrock/aws4_request" in signature
    assert "canary" not in json.dumps(headers)


def test_a_conversation(bedrock, server):
    reply = bedrock.converse("m", "hello", system="be brief", max_tokens=9)
    assert (reply.text, reply.stop_reason) == ("HELLO", "end_turn")
    assert (reply.input_tokens, reply.output_tokens) == (3, 2)
    ask = {"role": "user", "content": [{"text": "and now"}]}
    said = [server.asked[0][2]["messages"][0], reply.message, ask]
    assert bedrock.converse("m", said).text == "AND NOW"
    first, second = (asked[2] for asked in server.asked)
    assert first["inferenceConfig"] == {"maxTokens": 9}
    assert first["system"] == [{"text": "be brief"}]
    assert len(second["messages"]) == 3


def test_vectors_of_amazons_models(bedrock, server):
    vectors = bedrock.embed(["a", "bcd"], dims=3)
    assert (vectors.shape, vectors.dtype) == ((2, 3), "float32")
    assert vectors.tolist() == [[1, 1, 1], [3, 3, 3]]
    assert [asked[2]["inputText"] for asked in server.asked] == ["a", "bcd"]


def test_vectors_of_coheres_models_come_in_groups(bedrock, server):
    texts = ["x" * n for n in range(100)]
    vectors = bedrock.embed(texts, model="cohere.embed-v4:0", for_query=True)
    assert vectors[:, 0].tolist() == list(range(100))
    assert [len(asked[2]["texts"]) for asked in server.asked] == [96, 4]
    assert server.asked[0][2]["input_type"] == "search_query"


def test_no_texts_are_no_vectors(bedrock):
    assert bedrock.embed([], dims=3).shape == (0, 3)


def test_throttling_passes_by_itself(bedrock, server):
    server.faults = [(429, "ThrottlingException"), (503, "ServiceUnavailableException")]
    assert bedrock.invoke("m", {}) == {"echo": {}}
    assert len(server.asked) == 3


def test_throttling_that_stays_is_told(bedrock, server):
    server.faults = [(429, "ThrottlingException")] * 1000
    with pytest.raises(ServiceUnavailable, match="ThrottlingException it is") as caught:
        bedrock.invoke("m", {})
    assert caught.value.service == "bedrock"
    assert "quota" in caught.value.hint
    assert caught.value.__cause__.response["Error"]["Code"] == "ThrottlingException"


@pytest.mark.parametrize(
    ("status", "code", "kind", "hint"),
    [
        (400, "ValidationException", DocumentRejected, ""),
        (424, "ModelErrorException", DocumentRejected, ""),
        (403, "AccessDeniedException", ServiceUnavailable, "bedrock:InvokeModel"),
        (404, "ResourceNotFoundException", ServiceUnavailable, "aws.region"),
    ],
)
def test_refusals_are_told_at_once(bedrock, server, status, code, kind, hint):
    server.faults = [(status, code)]
    with pytest.raises(kind, match=f"{code} it is") as caught:
        bedrock.invoke("m", {})
    assert hint in caught.value.hint
    assert len(server.asked) == 1


def test_health_costs_nothing_and_needs_working_keys(bedrock, server):
    assert bedrock.check().healthy
    server.probe = (403, "UnrecognizedClientException")
    health = bedrock.check()
    assert not health.healthy
    assert "access_key_id" in health.error
