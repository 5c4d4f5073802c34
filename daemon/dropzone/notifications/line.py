"""The way to one target: whether it works, since when not, when it is tried again."""

import time
from typing import Any

from dropzone import log
from dropzone.notifications.message import Message
from dropzone.notifications.targets import Target

_LONGEST_PAUSE = 600.0


class Line:
    """Tells the log once when it breaks, and once when it mends.

    Written by one thread; others may read.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._problem = ""
        self._since = 0.0
        self._pause = 0.0
        self._next_try = 0.0
        self._log = log.get("notifications").bind(target=target.name)

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._next_try

    def told(self) -> dict[str, Any]:
        """Return what ``status`` shows; ``problem`` is None while all is well."""
        return {
            "name": self.target.name,
            "problem": self._problem or None,
            "since": self._since or None,
        }

    def succeed(self, message: Message | None) -> None:
        if self._problem:
            away = round(time.time() - self._since, 1)
            self._log.info("messages arrive again", away_seconds=away)
        self._problem, self._since, self._pause = "", 0.0, 0.0
        if message is not None:
            self._log.info("notified", kind=message.kind, title=message.title)

    def fail(self, problem: str, first_pause: float) -> None:
        """Note a failure; the pause before the next try doubles."""
        self._pause = min(2 * self._pause or first_pause, _LONGEST_PAUSE)
        self._next_try = time.monotonic() + self._pause
        if not self._problem:
            self._since = time.time()
            self._log.warning(
                "messages do not arrive",
                reason=problem,
                hint="They are kept and sent again. Look at notifications in the "
                "settings, then try: dropzone doctor --notify",
            )
        self._problem = problem
