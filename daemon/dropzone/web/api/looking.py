"""Looks at S3 and Postgres now and then, while somebody wants to know how they are."""

import threading
import time
from collections.abc import Callable, Mapping

from dropzone.sessions import SessionPool
from dropzone.sessions.health import Health

_EVERY_SECONDS = 30.0


class Looking:
    """Tells what the last look found, at once; a new one is taken beside it."""

    def __init__(self, pool: Callable[[], SessionPool | None]) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._due = 0.0
        self._running = False

    def __call__(self) -> Mapping[str, Health]:
        pool = self._pool()
        if pool is None:
            return {}
        with self._lock:
            begin = not self._running and time.monotonic() >= self._due
            self._running = self._running or begin
        if begin:
            # A service that hangs must not hold up who asks.
            threading.Thread(
                target=self._look, args=(pool,), name="looking", daemon=True
            ).start()
        return pool.health(look=False)

    def _look(self, pool: SessionPool) -> None:
        try:
            pool.health()
        finally:
            with self._lock:
                self._running = False
                self._due = time.monotonic() + _EVERY_SECONDS
