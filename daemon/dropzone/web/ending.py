"""Answers what the stop of the daemon cuts off: it is no fault, and goes well later."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from dropzone.web.problems import Problem


async def told(
    answer: Callable[[Scope, Receive, Send], Awaitable[None]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Let ``answer`` answer; say 503 if the server, which stops, ends it before it did.

    Raises:
        CancelledError: an answer has begun: its connection must be closed.

    """
    has_begun = False

    async def noted(message: Message) -> None:
        nonlocal has_begun
        has_begun = True
        await send(message)

    try:
        await answer(scope, receive, noted)
    except asyncio.CancelledError:
        if has_begun:
            raise
        await _stops().response()(scope, receive, send)


def _stops() -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The daemon stops, and did not wait for this to end.",
        "Ask again when it is back; what was to be changed may have been.",
        headers={"retry-after": "5", "connection": "close"},
    )
