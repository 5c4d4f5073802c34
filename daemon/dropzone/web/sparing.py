"""Answers that are kept for a while, so that many who ask cost little."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
# Asking may take this share of the time, so that a huge backlog is counted rarely.
_SHARE = 0.05


class Sparing(Generic[T]):
    """Keeps an answer for a while: the longer, the more time it took to get."""

    def __init__(
        self,
        ask: Callable[[], T],
        least_seconds: float = 0.0,
    ) -> None:
        self._ask = ask
        self._least = least_seconds
        self._known: tuple[T] | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Ask anew the next time: something was changed just now."""
        with self._lock:
            self._until = 0.0

    def __call__(self) -> T:
        with self._lock:
            begun = time.monotonic()
            if self._known is None or begun >= self._until:
                self._known = (self._ask(),)
                end = time.monotonic()
                self._until = end + max(self._least, (end - begun) / _SHARE)
            return self._known[0]
