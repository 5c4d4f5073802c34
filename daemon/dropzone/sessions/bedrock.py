"""The one way to Amazon Bedrock: answers and vectors from hosted models."""
# ruff: noqa: TID251 - this module owns the Bedrock client.

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError

from dropzone.errors import DocumentRejected, DropzoneError, ServiceUnavailable
from dropzone.retry import Retry
from dropzone.sessions import s3_errors
from dropzone.sessions.guard import Guard
from dropzone.sessions.health import Health, measure
from dropzone.sessions.settings import BedrockSettings
from dropzone.sessions.stats import ServiceStats

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
_PROBE_SECONDS = 3
_CALLS_AT_ONCE = 16
# What Cohere's models take in one request.
_TEXTS_AT_ONCE = 96
_REPEATED = frozenset(
    {"InternalServerException", "ModelNotReadyException", "ModelTimeoutException"}
    | {"ServiceUnavailableException", "ThrottlingException"}
)
_REFUSALS = frozenset({"ModelErrorException", "ValidationException"})
_HINTS = {
    "AccessDeniedException": "Give these credentials bedrock:InvokeModel, and ask for "
    "access to the model in the Bedrock console.",
    "ExpiredTokenException": "Renew the credentials, for example: aws sso login.",
    "ResourceNotFoundException": "Check the model id and aws.region.",
    "ServiceQuotaExceededException": "Ask AWS for a higher quota, or wait.",
    "ThrottlingException": "Use fewer threads, or ask AWS for a higher quota.",
    "UnrecognizedClientException": "Check aws.access_key_id.",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, and why it stopped (``end_turn``, ``max_tokens``...).

    ``message`` is the whole answer to append to the next question's messages.
    """

    text: str
    stop_reason: str
    input_tokens: int
    output_tokens: int
    message: Mapping[str, Any]


class BedrockSession:
    """One region of Bedrock. Shared by all threads.

    Every method raises ServiceUnavailable (``bedrock``) when Bedrock cannot answer now
    or not to these credentials, and DocumentRejected when it refuses the request; the
    driver's error is the ``__cause__``. A repeated call may be billed twice.
    """

    def __init__(
        self, settings: BedrockSettings, *, stop: threading.Event | None = None
    ) -> None:
        self._settings = settings
        self._retry = Retry(settings.retry, transient=_is_transient, stop=stop)
        self._guard = Guard(
            "bedrock",
            address=lambda: self.address,
            look=lambda: measure(self._look),
            counts=_is_transient,
            limit=_CALLS_AT_ONCE,
            patience=settings.retry.seconds,
            stop=stop,
        )
        session = settings.credentials.session(settings.region)
        make = partial(
            session.client, "bedrock-runtime", endpoint_url=settings.endpoint_url
        )
        #: The driver's own client: one attempt at each call, errors as they are.
        self.client: Any = make(config=_config(settings.read_timeout))
        self._probe: Any = make(config=_config(_PROBE_SECONDS))

    @property
    def address(self) -> str:
        """Region or endpoint, for messages."""
        where = self._settings.endpoint_url or f"AWS {self._settings.region}"
        return f"Bedrock at {where}"

    def invoke(self, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a model's answer to ``body``; both in the JSON shape of that model."""
        with self._guard.operation("invoke"):
            return self._invoke(model, body)

    def converse(
        self,
        model: str,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Reply:
        """Return the next answer of a conversation, in one shape for all models.

        ``messages`` is one question, or all that was said in Bedrock's shape:
        ``{"role": "user", "content": [{"text": ...}]}``.
        """
        request: dict[str, Any] = {"modelId": model, "messages": messages}
        if isinstance(messages, str):
            content = [{"text": messages}]
            request["messages"] = [{"role": "user", "content": content}]
        if system is not None:
            request["system"] = [{"text": system}]
        limits = {"maxTokens": max_tokens, "temperature": temperature}
        given = {name: value for name, value in limits.items() if value is not None}
        if given:
            request["inferenceConfig"] = given
        with self._guard.operation("converse"):
            answer = self._call(lambda: self.client.converse(**request))
        return _reply(answer)

    def embed(
        self,
        texts: Sequence[str],
        *,
        model: str = "amazon.titan-embed-text-v2:0",
        dims: int | None = None,
        for_query: bool = False,
    ) -> "np.ndarray[Any, Any]":
        """Return the vectors of ``texts``: float32 of shape (len(texts), dims).

        ``dims`` is for models that offer several lengths. ``for_query`` tells Cohere's
        models that these are questions and not passages. Amazon's models take one text
        in a request, Cohere's 96.
        """
        import numpy as np

        if not texts:
            return np.empty((0, dims or 0), np.float32)
        ask = self._embed_many if "cohere." in model else self._embed_each
        with self._guard.operation("embed"):
            vectors = ask(list(texts), model, dims, for_query)
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1)

    def check(self) -> Health:
        """Ask for nothing that is billed, with short limits: whether it answers."""
        return self._guard.looked(measure(self._look))

    def stats(self) -> ServiceStats:
        """Return how often each operation was called, and how that went."""
        return self._guard.stats()

    def close(self) -> None:
        """Close the idle connections."""
        self.client.close()
        self._probe.close()

    def _embed_each(
        self, texts: list[str], model: str, dims: int | None, _: bool
    ) -> list[Any]:
        size = {"dimensions": dims} if dims is not None else {}
        answers = (self._invoke(model, {"inputText": text, **size}) for text in texts)
        return [answer["embedding"] for answer in answers]

    def _embed_many(
        self, texts: list[str], model: str, dims: int | None, for_query: bool
    ) -> list[Any]:
        kind = "search_query" if for_query else "search_document"
        size = {"output_dimension": dims} if dims is not None else {}
        vectors: list[Any] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            some = texts[start : start + _TEXTS_AT_ONCE]
            body = {"texts": some, "input_type": kind, **size}
            found = self._invoke(model, body)["embeddings"]
            # Where several kinds of numbers may be asked for, they come by kind.
            vectors += found["float"] if isinstance(found, dict) else found
        return vectors

    def _invoke(self, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
        content = json.dumps(body)

        def ask() -> bytes:
            answer = self.client.invoke_model(
                modelId=model,
                body=content,
                contentType="application/json",
                accept="application/json",
            )
            return bytes(answer["body"].read())

        answer: dict[str, Any] = json.loads(self._call(ask))
        return answer

    def _look(self) -> None:
        # No model has this name. To be told so takes working keys and a working
        # service, and costs nothing.
        try:
            self._probe.invoke_model(modelId="dropzone.probe-v0", body=b"{}")
        except ClientError as error:
            if _code(error) not in {"ResourceNotFoundException", *_REFUSALS}:
                raise _translated(error, self.address) from error
        except s3_errors.DRIVER_ERRORS as error:
            raise _translated(error, self.address) from error

    def _call(self, function: Callable[[], T]) -> T:
        try:
            return self._retry.call(function)
        except s3_errors.DRIVER_ERRORS as error:
            raise _translated(error, self.address) from error


def _config(read_timeout: float) -> Config:
    return Config(
        connect_timeout=_PROBE_SECONDS,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=_CALLS_AT_ONCE,
        tcp_keepalive=True,
    )


def _reply(answer: Mapping[str, Any]) -> Reply:
    message = answer["output"]["message"]
    usage = answer.get("usage", {})
    return Reply(
        "".join(part.get("text", "") for part in message["content"]),
        answer["stopReason"],
        usage.get("inputTokens", 0),
        usage.get("outputTokens", 0),
        message,
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, ClientError) and _code(error) in _REFUSALS:
        return False
    named = isinstance(error, ClientError) and _code(error) in _REPEATED
    return named or s3_errors.is_transient(error)


def _translated(error: Exception, address: str) -> DropzoneError:
    if not isinstance(error, ClientError):
        told = " ".join(str(error).split())
        if isinstance(error, s3_errors.UNSENDABLE):
            return DocumentRejected(f"{address} cannot be asked this: {told}")
        hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or aws.profile."
        missing = s3_errors.is_about_keys(error)
        return ServiceUnavailable(
            "bedrock", f"{address} cannot be asked: {told}", hint=hint * missing
        )
    code = _code(error)
    told = error.response.get("Error", {}).get("Message") or code
    if code in _REFUSALS:
        return DocumentRejected(f"{address} refuses the request: {told}")
    return ServiceUnavailable(
        "bedrock", f"{address}: {code}: {told}", hint=_HINTS.get(code, "")
    )
