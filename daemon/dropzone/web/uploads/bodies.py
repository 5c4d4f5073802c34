"""The body of a request as it comes: in blocks, from slow senders too."""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import Message, Receive

from dropzone.web.problems import Problem

#: Bytes that are written at once. Four times as many were no faster, and cost 16
#: senders 35 MB of memory instead of 10.
BLOCK = 1 << 18
#: A sender who sends nothing for so long is given up; what came stays.
STALLED_SECONDS = 30.0
# How long bytes wait in memory for more of them, and how often is looked.
_GATHER_SECONDS = 1.0
_LOOK_SECONDS = 0.25
_CLOSE = {"connection": "close"}


class Body:
    """Read ``block`` after ``block`` until one is empty; ``problem`` then says why.

    A problem is no reason to forget what came before it.
    """

    def __init__(self, receive: Receive, refusal: Callable[[], Problem | None]) -> None:
        """``refusal`` is asked all the time: a problem ends the body."""
        self._receive = receive
        self._refusal = refusal
        self._ended = False
        #: When bytes last came (monotonic).
        self.last = time.monotonic()
        #: Why the body is not whole; None when it is.
        self.problem: Problem | None = None

    async def block(self) -> bytearray:
        """Return what came, up to about ``BLOCK`` bytes; nothing at the end."""
        gathered = bytearray()
        begun = time.monotonic()
        while len(gathered) < BLOCK and not self._ended:
            message = await self._message()
            now = time.monotonic()
            self._take(message, gathered, now)
            if gathered and now - begun > _GATHER_SECONDS:
                break
        return gathered

    def _take(self, message: Message | None, gathered: bytearray, now: float) -> None:
        if message is None:
            self._look(now)
        elif message["type"] == "http.disconnect":
            self._end(Problem(HTTPStatus.BAD_REQUEST, "The client went away."))
        else:
            if part := message.get("body", b""):
                gathered += part
                self.last = now
            if not message.get("more_body", False):
                self._end(None)
            elif problem := self._refusal():
                self._end(problem)

    def _look(self, now: float) -> None:
        if problem := self._refusal():
            self._end(problem)
        elif now - self.last > STALLED_SECONDS:
            self._end(
                Problem(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"Nothing came for {STALLED_SECONDS:.0f} s; what came is kept.",
                    "Ask with HEAD how much that is, and go on from there.",
                    headers=_CLOSE,
                )
            )

    def _end(self, problem: Problem | None) -> None:
        self._ended = True
        self.problem = problem

    async def _message(self) -> Message | None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                return await self._receive()
        except TimeoutError:
            return None
