"""Asks a page over a real connection."""

import contextlib
import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(url: str, **headers: str) -> Answer:
    """Return the answer to a GET; ``host="x"`` and the like are its headers."""
    return ask("GET", url, headers=headers)


def post(url: str, given: Any = None, **headers: str) -> Answer:
    """Return the answer to a POST of JSON; ``x_csrf_token="x"`` is a header."""
    sent = {"content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return ask("POST", url, json.dumps(given or {}), sent)


def submit(url: str, fields: dict[str, str], **headers: str) -> Answer:
    """Return the answer to a form."""
    sent = {"content-type": "application/x-www-form-urlencoded"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return ask("POST", url, urlencode(fields), sent)


def ask(
    method: str,
    url: str,
    body: str | bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Return the answer to any request."""
    connection = connect(url)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        # Who refuses a request need not read all of it; its answer is there then.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        cookies = tuple(answer.headers.get_all("set-cookie") or ())
        return Answer(answer.status, found, answer.read(), cookies)
    finally:
        connection.close()


def connect(url: str) -> http.client.HTTPConnection:
    """Return a connection to the server of ``url``, whoever certified it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=30, context=context)
    return http.client.HTTPConnection(host, port, timeout=30)
