"""Looks at S3 and Postgres while somebody wants to know how they are, and rarely."""

import threading
import time
from collections.abc import Callable, Mapping

from dropzone.sessions import SessionPool
from dropzone.sessions.health import Health

# Every look changes the overview, which all open pages then load anew.
_EVERY_SECONDS = 30.0
_ASKED_SECONDS = 15.0
# A service that hangs must not keep the page waiting: its last look is told then.
_PATIENCE_SECONDS = 1.5


class Looking:
    """Looks in a thread, one at a time, for all who ask."""

    def __init__(self, pool: Callable[[], SessionPool | None]) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._look: threading.Thread | None = None
        self._begun_at = float("-inf")

    def known(self) -> Mapping[str, Health]:
        """Return what the last look found, at once; {} before there are services."""
        return self._told(_EVERY_SECONDS, 0.0)

    def fresh(self) -> Mapping[str, Health]:
        """Return what a look of these seconds found, if it ends soon."""
        return self._told(_ASKED_SECONDS, _PATIENCE_SECONDS)

    def _told(self, oldest: float, patience: float) -> Mapping[str, Health]:
        pool = self._pool()
        if pool is None:
            return {}
        with self._lock:
            under_way = self._look is not None and self._look.is_alive()
            now = time.monotonic()
            if not under_way and now >= self._begun_at + oldest:
                self._begun_at = now
                self._look = threading.Thread(
                    target=pool.health, name="look at services", daemon=True
                )
                self._look.start()
            look, ends = self._look, self._begun_at + patience
        if look is not None:
            # Who asks while a look hangs waits no more than who began it.
            look.join(max(0.0, ends - time.monotonic()))
        return pool.health(look=False)
