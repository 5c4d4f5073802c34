"""Server-sent events: the overview, whenever it changes.

Each event holds all of it, so that who missed some needs only the last one: nothing is
queued for a slow reader.
"""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dropzone.errors import DropzoneError
from dropzone.web.api import models
from dropzone.web.api.operation import Operation, text_of
from dropzone.web.problems import Problem
from dropzone.web_settings import Role

#: Of all, and of one caller, who must not keep everybody else from following.
MOST_READERS = 100
MOST_OF_ONE = 60
_HEARTBEAT_SECONDS = 15.0
_LOOK_SECONDS = 1.0
_RETRY_MILLIS = 3000
_MEDIA = "text/event-stream"
# They change by themselves; who shows them counts them down.
_COUNTED_DOWN: dict[str, Any] = {
    "paused": {"__all__": {"tries_again_in_seconds", "next"}}
}
_RESTLESS: Any = {
    "zones": {
        "__all__": {
            **_COUNTED_DOWN,
            "steps": {"__all__": _COUNTED_DOWN},
            "in_input": {"counted_at"},
        }
    }
}


def mark_of(told: models.Overview) -> str:
    """Return the id of the event that tells this; of what is the same it is the same.

    A page that names the mark of what it was made from learns by the first event
    whether something changed since, also before it began to follow.
    """
    still = told.model_dump_json(exclude=_RESTLESS)
    return hashlib.blake2s(still.encode(), digest_size=16).hexdigest()


class Feed:
    """One reader's loop each, and one that looks while there are readers."""

    def __init__(
        self,
        snapshot: Callable[[], models.Overview],
        stop: threading.Event,
    ) -> None:
        self._snapshot = snapshot
        # It never waits for those who ask, nor they for it.
        self._thread = anyio.CapacityLimiter(1)
        self._stop = stop
        self._text = b""
        #: Of the newest event; empty before the first.
        self._id = ""
        self._readers: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None

    @property
    def operation(self) -> Operation:
        def never(*_: object) -> Response:
            raise Problem(500, "This is answered in the event loop.")

        return Operation(
            *("GET", "/api/v1/events", "events"),
            "The overview, again whenever it changes (server-sent events).",
            never,
            media=_MEDIA,
        )

    def route(self) -> Route:
        return Route("/api/v1/events", self._answer, methods=["GET"])

    async def _answer(self, request: Request) -> Response:
        if not request.scope["caller"].may(Role.READ):
            return Problem(
                403, "This takes the role read.", "Use another token."
            ).response()
        if request.query_params:
            return Problem(422, "This takes no parameters.").response()
        name = request.scope["caller"].name
        if self._readers.total() >= MOST_READERS or self._readers[name] >= MOST_OF_ONE:
            return Problem(
                503,
                f"{self._readers.total()} pages follow already, {self._readers[name]} "
                f"of them of {name}; {MOST_READERS} and {MOST_OF_ONE} are allowed.",
                "Close some, or ask for /api/v1/overview now and then.",
                headers={"retry-after": "30"},
            ).response()
        known = request.headers.get("last-event-id", "")
        goes_on: Callable[[], bool] = request.scope["goes_on"]
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            self._follow(name, known, goes_on), headers=headers, media_type=_MEDIA
        )

    async def _follow(
        self, name: str, known: str, goes_on: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        self._readers[name] += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            yield f"retry: {_RETRY_MILLIS}\n\n".encode()
            while not self._stop.is_set() and goes_on():
                news = await self._news(known)
                if not goes_on():
                    # It may have ended while this waited.
                    return
                if news is None:
                    yield b"event: beat\ndata: {}\n\n"
                else:
                    known = news
                    yield self._event()
        finally:
            self._readers[name] -= 1

    async def _news(self, known: str) -> str | None:
        """Return the id of what is to be sent, or None for a heartbeat."""
        try:
            async with asyncio.timeout(_HEARTBEAT_SECONDS), self._changed:
                await self._changed.wait_for(
                    lambda: self._stop.is_set() or self._id not in {"", known}
                )
        except TimeoutError:
            return None
        return None if self._stop.is_set() else self._id

    async def _look(self) -> None:
        while self._readers.total() and not self._stop.is_set():
            try:
                text, ident = await anyio.to_thread.run_sync(
                    self._read, limiter=self._thread
                )
            except (DropzoneError, OSError):
                # The disk may be away: what is known stays, and the next look tells.
                text, ident = self._text, self._id
            if ident != self._id:
                async with self._changed:
                    self._text, self._id = text, ident
                    self._changed.notify_all()
            await self._sleep()
        async with self._changed:
            self._changed.notify_all()

    async def _sleep(self) -> None:
        until = asyncio.get_running_loop().time() + _LOOK_SECONDS
        # The stop event is one of threads.
        while asyncio.get_running_loop().time() < until and not self._stop.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def _read(self) -> tuple[bytes, str]:
        told = self._snapshot()
        return text_of(None, told.model_dump(mode="json")), mark_of(told)

    def _event(self) -> bytes:
        head = f"id: {self._id}\nevent: overview\ndata: ".encode()
        return head + self._text + b"\n\n"
