"""Who may be in a parser now: suspects one at a time, or all others together."""

import threading

from dropzone import heartbeats
from dropzone.errors import Stopping

_LOOK_AT_STOP_SECONDS = 0.25


class Turns:
    """Shared by all zones, since a file that kills the daemon kills all of it."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False
        self._asking = 0

    def enter(self, *, alone: bool) -> None:
        """Wait until it is this one's turn; whoever wants to be alone goes first.

        Raises:
            Stopping: the daemon stops meanwhile.

        """
        with self._changed:
            self._asking += alone
            try:
                while self._inside if alone else self._alone or self._asking:
                    if self._stop.is_set():
                        raise Stopping("The daemon is stopping.")
                    self._changed.wait(_LOOK_AT_STOP_SECONDS)
                    heartbeats.beat()
            finally:
                self._asking -= alone
            self._inside += 1
            self._alone = alone

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._alone = False
            self._changed.notify_all()
