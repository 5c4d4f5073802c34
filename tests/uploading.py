"""Uploads of tests: an independent client of tus, and bare requests to break."""

import base64
import contextlib
import hashlib
import http.client
import io
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tusclient.client import TusClient
from tusclient.uploader import Uploader

from webclient import Answer, ask, connect

BYTES = "application/offset+octet-stream"


def content(size: int, seed: int = 1) -> bytes:
    """Return bytes that look like nothing."""
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def metadata(**told: str) -> str:
    pairs = (
        f"{name} {base64.b64encode(value.encode()).decode()}"
        for name, value in told.items()
    )
    return ",".join(pairs)


class Sender:
    """Who uploads to a daemon, with a token or without."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = f"{url}/api/v1/uploads"
        self.headers = {"tus-resumable": "1.0.0"}
        if token:
            self.headers["authorization"] = f"Bearer {token}"

    def client(self, data: bytes, **options: Any) -> Uploader:
        """Return an upload by tuspy; keywords ``url``, ``metadata`` and so on."""
        client = TusClient(self.url, headers=dict(self.headers))
        return client.uploader(file_stream=io.BytesIO(data), **options)

    def ask(
        self, method: str, url: str = "", body: bytes = b"", **headers: str
    ) -> Answer:
        """Return the answer to a request; ``upload_offset="0"`` is a header."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(method, url or self.url, body, self.headers | sent)

    def begin(self, length: int, body: bytes = b"", **told: str) -> Answer:
        headers = {"upload_length": str(length), "upload_metadata": metadata(**told)}
        if body:
            headers["content_type"] = BYTES
        return self.ask("POST", body=body, **headers)

    def begun(self, length: int, **told: str) -> str:
        """Begin an upload; return its URL."""
        answer = self.begin(length, **told)
        assert answer.status == 201, answer.text
        return self.at(answer)

    def at(self, answer: Answer) -> str:
        base = self.url.removesuffix("/api/v1/uploads")
        return base + answer.headers["location"]

    def add(self, url: str, offset: int, body: bytes, **headers: str) -> Answer:
        known = {"upload_offset": str(offset), "content_type": BYTES}
        return self.ask("PATCH", url, body, **(known | headers))

    def offset(self, url: str) -> int:
        answer = self.ask("HEAD", url)
        assert answer.status == 200, answer.status
        return int(answer.headers["upload-offset"])

    def told(self, url: str) -> Any:
        return self.ask("GET", url).json

    @contextlib.contextmanager
    def sending(
        self, url: str, offset: int, length: int, first: bytes, **headers: str
    ) -> Iterator[http.client.HTTPConnection]:
        """Begin to send a body of ``length``, of which only the ``first`` goes out."""
        connection = connect(url)
        connection.putrequest("PATCH", urlsplit(url).path)
        known = {
            **self.headers,
            "upload-offset": str(offset),
            "content-type": BYTES,
            "content-length": str(length),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        for name, value in known.items():
            connection.putheader(name, value)
        connection.endheaders(first)
        try:
            yield connection
        finally:
            connection.close()
