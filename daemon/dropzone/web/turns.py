"""Who works at once: nobody takes all threads, and no hanging server does.

What asks Postgres or S3 may hang as long as they do. It has threads of its own, so that
everything else is answered meanwhile. Used in the event loop only.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeVar

import anyio
import anyio.to_thread

from dropzone.web.accounts import Caller
from dropzone.web.problems import Problem

#: Threads of each kind, and how many of them one caller has at once.
THREADS = 4
MOST_OF_ONE = 2
#: So many of one caller wait: who leaves without the answer goes on to be counted.
MOST_WAITING = 60
# How long a request waits for a thread before it is refused.
_PATIENCE_SECONDS = 30.0
_PATIENCE_FOR_SERVERS_SECONDS = 5.0
T = TypeVar("T")


class Turns:
    """Runs what callers ask for in threads, so many at once of each caller."""

    def __init__(self) -> None:
        self._own = _Lane(_PATIENCE_SECONDS, "")
        self._of_servers = _Lane(
            _PATIENCE_FOR_SERVERS_SECONDS, " that wait for Postgres or S3"
        )

    async def run(
        self, caller: Caller, call: Callable[[], T], *, asks_servers: bool
    ) -> T:
        """Return what ``call`` returns in a thread, once it is the caller's turn.

        Raises:
            Problem: that took too long.

        """
        lane = self._of_servers if asks_servers else self._own
        async with lane.turn(caller.name):
            return await anyio.to_thread.run_sync(call, limiter=lane.threads)


class _Lane:
    def __init__(self, patience: float, which: str) -> None:
        self._patience = patience
        self._which = which
        self.threads = anyio.CapacityLimiter(THREADS)
        self._free = anyio.Semaphore(THREADS)
        # By the name of a token: there are few, and another request may come any time.
        self._shares: dict[str, anyio.Semaphore] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        share = self._shares.setdefault(name, anyio.Semaphore(MOST_OF_ONE))
        if share.statistics().tasks_waiting >= MOST_WAITING:
            raise self._too_many_of_one()
        until = anyio.current_time() + self._patience
        async with (
            _held(share, until, self._too_many_of_one),
            _held(self._free, until, self._too_many),
        ):
            yield

    def _too_many_of_one(self) -> Problem:
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"Too many of your requests{self._which} are under way; "
            f"{MOST_OF_ONE} are worked on at once.",
            "Wait for their answers, then ask again.",
            headers={"retry-after": "5"},
        )

    def _too_many(self) -> Problem:
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"Too many requests{self._which} are under way.",
            "Wait a moment, then ask again.",
            headers={"retry-after": "5"},
        )


@asynccontextmanager
async def _held(
    places: anyio.Semaphore, until: float, refusal: Callable[[], Problem]
) -> AsyncIterator[None]:
    with anyio.CancelScope(deadline=until) as waiting:
        await places.acquire()
    if waiting.cancelled_caught:
        raise refusal()
    try:
        yield
    finally:
        places.release()
