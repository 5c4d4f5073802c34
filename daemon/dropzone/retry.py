"""Repeats one call for seconds; jobs are repeated for minutes by the journal.

Only errors the caller names are repeated. A wait ends at once when the daemon stops.
"""

import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import tenacity

from dropzone.errors import Stopping

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call is repeated, in seconds.

    No attempt starts later than ``seconds`` after the first one. Pauses double from
    ``first_pause`` up to ``longest_pause``, each with up to half of ``first_pause``
    added at random, so that many callers do not come back together.
    """

    seconds: float = 10.0
    first_pause: float = 0.1
    longest_pause: float = 2.0


DEFAULT_POLICY = RetryPolicy()


class Retry:
    """Repeats calls under one policy; one object may serve every thread."""

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        transient: Callable[[BaseException], bool],
        stop: threading.Event | None = None,
    ) -> None:
        self._seconds = policy.seconds
        self._transient = transient
        self._stop = stop or threading.Event()
        how: dict[str, Any] = {
            "wait": tenacity.wait_exponential_jitter(
                multiplier=policy.first_pause,
                max=policy.longest_pause,
                jitter=policy.first_pause / 2,
            ),
            "retry": tenacity.retry_if_exception(transient),
            "reraise": True,
        }
        self._retrying = tenacity.Retrying(sleep=self._pause, **how)
        self._retrying_async = tenacity.AsyncRetrying(sleep=self._pause_async, **how)

    def update(self, seconds: float) -> None:
        """Repeat calls for so long, from the next one on."""
        self._seconds = seconds

    def call(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, repeating it after transient errors.

        Raises:
            Stopping: the daemon stops while a pause is due.
            Exception: what the last attempt raised, as it was.

        """
        began = time.monotonic()
        # The first attempt is ours: nearly all succeed, and tenacity costs 20 us.
        try:
            return function()
        except BaseException as error:
            if not self._transient(error):
                raise
            failed = [error]

        def attempt() -> T:
            if failed:
                raise failed.pop()
            return function()

        # A copy for each call: the object keeps the state of one running call per
        # thread, and a call may be made from within another. tenacity's decorator
        # shares that state between threads in 9.2.1, so it is not used.
        return self._retrying.copy(stop=self._stop_after(began))(attempt)

    async def call_async(self, function: Callable[[], Awaitable[T]]) -> T:
        """Do as ``call`` with what ``function`` returns when it is awaited."""
        began = time.monotonic()
        try:
            return await function()
        except BaseException as error:
            if not self._transient(error):
                raise
            failed = [error]

        async def attempt() -> T:
            if failed:
                raise failed.pop()
            return await function()

        return await self._retrying_async.copy(stop=self._stop_after(began))(attempt)

    def _stop_after(self, began: float) -> Callable[[tenacity.RetryCallState], bool]:
        def stop(state: tenacity.RetryCallState) -> bool:
            return time.monotonic() - began + state.upcoming_sleep >= self._seconds

        return stop

    async def _pause_async(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)
        self._pause(0.0)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopping("The daemon is stopping, so the call is not repeated.")
