"""What signals mean to the daemon; handlers only set events.

SIGTERM and SIGINT stop, a second one ends at once. SIGHUP reloads the configuration,
unless it comes because the terminal that the daemon was started from was closed: that
stops, as for every program that was not put behind nohup.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# The signal of a closed terminal comes within moments; later ones mean something else.
_GRACE_SECONDS = 5.0


class Signals:
    """Sets ``stop`` and ``reload``; made and used in the main thread."""

    def __init__(self, stop: threading.Event, reload: threading.Event) -> None:
        self._stop = stop
        self._reload = reload
        self._had_terminal = _has_terminal()
        self._gone_since: float | None = None

    def look(self) -> None:
        """Note when the terminal went without a signal, as after a shell's ``exit``.

        Call this now and then: a later SIGHUP then is a wish to reload.
        """
        if not self.is_hung_up():
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        elif time.monotonic() - self._gone_since > _GRACE_SECONDS:
            self._had_terminal = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals in the block, as they were handled before after it."""
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            # Behind nohup the terminal may go.
            self._had_terminal = False
        # A writer that opens a file while we probe it with a lease raises SIGIO.
        handlers: dict[int, Any] = {
            signal.SIGIO: signal.SIG_IGN,
            signal.SIGHUP: self._hang_up,
        }
        for number in (signal.SIGTERM, signal.SIGINT):
            # What a shell's "&" made us ignore stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                handlers[number] = self._end
        before = {which: signal.signal(which, to) for which, to in handlers.items()}
        try:
            yield
        finally:
            for which, to in before.items():
                signal.signal(which, to)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            # The second one: everything on disk is safe as it is.
            os._exit(128 + number)
        self._stop.set()

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_hung_up():
            self._stop.set()
        self._reload.set()

    def is_hung_up(self) -> bool:
        """Return True when there was a terminal, and it went away just now."""
        return self._had_terminal and not _has_terminal()


def _has_terminal() -> bool:
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(fd)
    return True
