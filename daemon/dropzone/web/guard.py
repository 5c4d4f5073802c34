"""Who may ask, and the headers of every answer.

Without a token only this machine can ask, and a page of a foreign site that a browser
here shows must not: its requests carry the name of that site (DNS rebinding).
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_OURS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_UNKNOWN = "This takes the token of web.token: Authorization: Bearer TOKEN\n"
_FOREIGN = "This is served under the names localhost, 127.0.0.1 and [::1] only.\n"


class Guard:
    """Wraps the app. ``scope["trusted"]`` tells it whether details may be told."""

    def __init__(
        self, app: ASGIApp, token: str | None, open_to_all: Sequence[str]
    ) -> None:
        """``open_to_all`` are paths that need no token and then tell no details."""
        self._app = app
        self._token = None if token is None else _digest(token.encode())
        self._open = frozenset(open_to_all)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        trusted = self._may_ask(headers)
        if trusted or scope["path"] in self._open:
            await self._app({**scope, "trusted": trusted}, receive, with_headers)
            return
        await self._refusal()(scope, receive, with_headers)

    def _may_ask(self, headers: Headers) -> bool:
        if self._token is None:
            return _name_in(headers.get("host", "")) in _OURS
        kind, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(_digest(given.strip().encode()), self._token)
        return same and kind.lower() == "bearer"

    def _refusal(self) -> Response:
        if self._token is None:
            return PlainTextResponse(_FOREIGN, 421)
        needed: dict[str, Any] = {"www-authenticate": 'Bearer realm="dropzone"'}
        return PlainTextResponse(_UNKNOWN, 401, needed)


def _digest(text: bytes) -> bytes:
    # Of one length, so that comparing takes as long for every token.
    return hashlib.sha256(text).digest()


def _name_in(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
