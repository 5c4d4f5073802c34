"""Local HTTP servers that answer like AWS where credentials are to be had.

One server plays the metadata of a container, that of an instance (version 2: a token
first), STS and SSO. Each answer has keys of its own, so that a test sees who gave them.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

_STS = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<{action}Result><Credentials><AccessKeyId>{key}</AccessKeyId>
<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>
<Expiration>{end}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>
<AssumedRoleId>ID:s</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>"""
_STS_ERROR = """<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>
<Message>{code} as planned</Message></Error></ErrorResponse>"""
_IMDS = "/latest/meta-data/iam/security-credentials/"


class AwsAnswers(ThreadingHTTPServer):
    """What it gives out, and what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        #: How often each kind of credentials was given out.
        self.given: Counter[str] = Counter()
        #: Given out instead of keys made up, as (access key, secret key).
        self.keys: tuple[str, str] | None = None
        #: An error to answer with instead: HTTP status and code.
        self.fault: tuple[int, str] | None = None
        #: How long the keys that are given out last, in seconds.
        self.lasts = 3600.0
        self.role = "the-role"

    def make(self, kind: str) -> dict[str, str]:
        self.given[kind] += 1
        made = (f"ASIA{kind.upper()}{self.given[kind]:010d}", f"canary-{kind}")
        key, secret = self.keys or made
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.lasts))
        return {"key": key, "secret": secret, "token": f"token-{kind}", "end": end}


class _Handler(BaseHTTPRequestHandler):
    server: AwsAnswers

    def do_PUT(self) -> None:
        assert self.headers["x-aws-ec2-metadata-token-ttl-seconds"]
        self._say(200, "imds-token")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.server.fault is not None:
            self._say(self.server.fault[0], self.server.fault[1])
        elif path.startswith("/latest/"):
            self._instance(path)
        elif path == "/container":
            self._say_keys("container")
        elif path == "/federation/credentials":
            self._sso()
        else:
            self._say(404, "")

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        action = parse_qs(self.rfile.read(length).decode())["Action"][0]
        if self.server.fault is not None:
            status, code = self.server.fault
            self._say(status, _STS_ERROR.format(code=code))
            return
        kind = "role" if action == "AssumeRole" else "web"
        self._say(200, _STS.format(action=action, **self.server.make(kind)))

    def _instance(self, path: str) -> None:
        if self.headers["x-aws-ec2-metadata-token"] != "imds-token":
            self._say(401, "")
        elif path == _IMDS and self.server.role:
            self._say(200, self.server.role)
        elif self.server.role and path == f"{_IMDS}{self.server.role}":
            self._say_keys("instance")
        else:
            self._say(404, "")

    def _sso(self) -> None:
        assert self.headers["x-amz-sso_bearer_token"] == "sso-token"
        made = self.server.make("sso")
        body = {
            "roleCredentials": {
                "accessKeyId": made["key"],
                "secretAccessKey": made["secret"],
                "sessionToken": made["token"],
                "expiration": int((time.time() + self.server.lasts) * 1000),
            }
        }
        self._say(200, json.dumps(body))

    def _say_keys(self, kind: str) -> None:
        made = self.server.make(kind)
        body = {
            "Code": "Success",
            "AccessKeyId": made["key"],
            "SecretAccessKey": made["secret"],
            "Token": made["token"],
            "Expiration": made["end"],
        }
        self._say(200, json.dumps(body))

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing: a test that fails says enough."""


@contextmanager
def answering() -> Iterator[AwsAnswers]:
    with AwsAnswers() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
