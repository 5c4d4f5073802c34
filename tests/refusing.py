"""Local servers that refuse what a test says: S3 by method, MLflow by login."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DENIED = (
    b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message>"
    b"<RequestId>1</RequestId></Error>"
)


class Guard(ThreadingHTTPServer):
    """An S3 server that refuses some methods; the others go to the real one."""

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Guarded)
        self.target = target.removeprefix("http://")
        self.refused: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Guarded(BaseHTTPRequestHandler):
    server: Guard
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = self.path.partition("?")[2]
        kind = "LIST" if self.command == "GET" and "list-type" in query else None
        if (kind or self.command) in self.server.refused:
            self._say(403, DENIED)
            return
        onward = HTTPConnection(self.server.target, timeout=10)
        # The host is signed, so it stays.
        onward.request(self.command, self.path, body, dict(self.headers))
        answer = onward.getresponse()
        self._say(answer.status, answer.read(), answer.getheader("ETag"))
        onward.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 the base's

    def _say(self, status: int, body: bytes, etag: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class Tracking(ThreadingHTTPServer):
    """As much of a tracking server as the credentials need; counts who came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tracked)
        self.logins: list[str] = []
        self.accepted = ""
        self.writable = True
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Tracked(BaseHTTPRequestHandler):
    server: Tracking

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        login = self.headers.get("Authorization", "")
        self.server.logins.append(login)
        experiment = {"experiment_id": "7", "name": "x", "lifecycle_stage": "active"}
        if self.server.accepted not in login:
            self._say(401, "You are not authenticated.")
        elif "set-experiment-tag" in self.path and not self.server.writable:
            self._say(403, "Permission denied")
        else:
            self._say(
                200,
                json.dumps({"experiment": experiment, "experiments": [experiment]}),
            )

    do_GET = do_POST = _answer  # noqa: N815 names of the base

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
