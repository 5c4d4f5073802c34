"""Repeats one call for seconds; jobs are repeated for minutes by the journal.

Only errors the caller names are repeated. A wait ends at once when the daemon stops.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

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
        self._stop = stop or threading.Event()
        self._retrying = tenacity.Retrying(
            sleep=self._pause,
            stop=tenacity.stop_before_delay(policy.seconds),
            wait=tenacity.wait_exponential_jitter(
                multiplier=policy.first_pause,
                max=policy.longest_pause,
                jitter=policy.first_pause / 2,
            ),
            retry=tenacity.retry_if_exception(transient),
            reraise=True,
        )

    def call(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, repeating it after transient errors.

        Raises:
            Stopping: the daemon stops while a pause is due.
            Exception: what the last attempt raised, as it was.

        """
        # A copy for each call: the object keeps the state of one running call per
        # thread, and a call may be made from within another. tenacity's decorator
        # shares that state between threads in 9.2.1, so it is not used.
        return self._retrying.copy()(function)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopping("The daemon is stopping, so the call is not repeated.")
