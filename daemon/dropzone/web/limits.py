"""Limits on what a request may bring; only small bodies are read before a handler.

Bytes of a file are not read here: their handler takes them as they come.
"""

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from dropzone.web.problems import Problem

MOST_BODY_BYTES = 65_536
MOST_HEADERS = 64
MOST_HEADER_BYTES = 16_384
#: Where files come in, and the type of a body that is bytes of one.
UPLOADS = "/api/v1/uploads"
BYTES = "application/offset+octet-stream"
_BODY_SECONDS = 15.0
_LONGEST_NUMBER = 18


def is_streamed(method: str, path: str, headers: Headers) -> bool:
    """Return whether the body is bytes of an upload, which have limits of their own."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    ours = path == UPLOADS or path.startswith(f"{UPLOADS}/")
    return ours and kind == BYTES and method in {"POST", "PATCH"}


def check_headers(headers: Headers, *, streamed: bool = False) -> None:
    """Refuse what no client of ours sends.

    Raises:
        Problem: there are too many headers, the body is too long, or nobody can be
            sure where it ends.

    """
    size = sum(len(name) + len(value) for name, value in headers.raw)
    if len(headers) > MOST_HEADERS or size > MOST_HEADER_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The request has more than {MOST_HEADERS} headers, or more than "
            f"{MOST_HEADER_BYTES} bytes of them.",
        )
    if "transfer-encoding" in headers and "content-length" in headers:
        # A proxy may believe the other one, and take the rest for another request.
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "The request says its length twice, in two ways.",
            headers={"connection": "close"},
        )
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or len(length) > _LONGEST_NUMBER:
        raise _too_long()
    if not streamed and int(length) > MOST_BODY_BYTES:
        raise _too_long()


async def body_of(receive: Receive) -> bytes:
    """Return the whole body.

    Raises:
        Problem: it is too long, or comes too slowly, or the client went away.

    """
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await _body_of(receive)
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            f"The request was not complete after {_BODY_SECONDS:.0f} s.",
            headers={"connection": "close"},
        ) from None


async def _body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(HTTPStatus.BAD_REQUEST, "The client went away.")
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise _too_long()
        if not message.get("more_body", False):
            return bytes(body)


def again(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body that was read, then what comes."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _too_long() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is longer than {MOST_BODY_BYTES} bytes.",
        headers={"connection": "close"},
    )
