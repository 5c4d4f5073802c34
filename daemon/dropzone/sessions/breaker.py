"""Stops asking a service that keeps failing; one caller finds out when it works again.

Written here, because the libraries that were tried either hold a lock during each call,
so that calls queue up, or know only asyncio, and none can be closed by a health check.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from dropzone.sessions.health import Health


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to stop asking, and for how long.

    After ``failures`` operations in a row that failed by a fault of the service nobody
    is let through for ``first_pause`` seconds; while probes fail, the pauses double
    up to ``longest_pause`` seconds.
    """

    failures: int = 5
    first_pause: float = 1.0
    longest_pause: float = 30.0


@dataclass(frozen=True, slots=True)
class Opening:
    """Why nobody is let through.

    ``since`` is in epoch seconds, ``next_probe`` in seconds of the monotonic clock.
    """

    since: float
    next_probe: float
    reason: str
    hint: str


class Breaker:
    """Counts failures in a row of one service. Shared by all threads.

    It is closed (``opening`` is None), or open until the next probe is due; one caller
    then takes the turn (``take_turn``), looks at the service and tells (``looked``).
    """

    def __init__(
        self,
        policy: BreakerPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy or BreakerPolicy()
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = self._policy.first_pause
        self._probing = False
        self.opening: Opening | None = None

    @property
    def failures(self) -> int:
        """How many operations failed in a row."""
        return self._failures

    def seconds_to_probe(self) -> float:
        """Return how long nobody is let through yet; 0 while it is closed."""
        opening = self.opening
        return max(0.0, opening.next_probe - self._clock()) if opening else 0.0

    def succeeded(self) -> None:
        """Note that an operation went through."""
        # Read without the lock: on the way of every operation.
        if not self._failures:
            return
        with self._lock:
            self._failures = 0
            self._pause = self._policy.first_pause
            self.opening = None

    def failed(self, reason: str, hint: str = "") -> None:
        """Note that an operation failed by a fault of the service."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._policy.failures and self.opening is None:
                self.opening = Opening(time.time(), self._due(), reason, hint)

    def take_turn(self) -> bool:
        """Return True for the one caller who is to look at the service now."""
        with self._lock:
            opening = self.opening
            if opening is None or self._probing or self._clock() < opening.next_probe:
                return False
            self._probing = True
            return True

    def looked(self, health: Health) -> None:
        """Note what a look at the service found; a healthy one lets all through again.

        Where operations go on failing all the same, the first of them stops the asking
        again, and for longer.
        """
        with self._lock:
            self._probing = False
            if self.opening is None:
                return
            if health.healthy:
                self.opening = None
                self._failures = self._policy.failures - 1
            else:
                told = health.error or self.opening.reason
                due = self._due()
                self.opening = replace(self.opening, next_probe=due, reason=told)

    def _due(self) -> float:
        pause = self._pause
        self._pause = min(2 * pause, self._policy.longest_pause)
        return self._clock() + pause
