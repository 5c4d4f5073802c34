"""Keeps file events coming, and says why and how far they do not.

While anything is wrong with them the watcher scans at the pace of ``poll_seconds``.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from dropzone import inotify, log
from dropzone.events import Events, Listener

# Making all watches anew may take this share of the time.
_RESTART_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why events do not tell everything, and what to do about it."""

    reason: str = ""
    hint: str = ""


NONE = Trouble()
_ENDED = Trouble("the thread that delivers them ended")


class EventWatch:
    """The events of one ``input/``; everything but ``report`` from one thread."""

    def __init__(
        self, root: Path, listener: Listener, *, wanted: bool, remote: str
    ) -> None:
        """``remote`` names the file system if other machines can write to it."""
        self._events = Events(root, listener) if wanted else None
        self._lasting = NONE
        if not wanted:
            self._lasting = Trouble("switched off in the configuration")
        elif remote:
            self._lasting = Trouble(f"{remote} does not tell what other machines do")
        self._trouble = self._lasting
        self._known: int | None = None
        self._retry_at = 0.0
        self._log = log.get("events")

    @property
    def complete(self) -> bool:
        """True while every change is told, unless the queue overflows."""
        return self._lasting is NONE and self.works

    @property
    def works(self) -> bool:
        """True while events come at all and from every folder."""
        events = self._events
        return events is not None and events.alive and events.unwatched == 0

    def tend(self) -> None:
        """Start what is not there or not whole; call it before a scan."""
        if self._events is not None and not self.works:
            if self._trouble is self._lasting and self._retry_at:
                self._note(_ENDED)
            if time.monotonic() >= self._retry_at:
                self.restart()

    def restart(self) -> None:
        """Watch the folder that has the name now, with all it holds."""
        if self._events is None:
            return
        begun = time.monotonic()
        self._events.stop()
        error = self._events.start() or self._events.refused
        took = time.monotonic() - begun
        self._retry_at = time.monotonic() + took / _RESTART_SHARE
        if error is None:
            self._known = None
            self._note(self._lasting)
        elif error.errno != self._known:
            self._known = error.errno
            self._note(self._told(error))

    def look(self) -> None:
        """Notice folders that got no watch since the last look."""
        events = self._events
        error = events.refused if events is not None else None
        if error is not None and error.errno != self._known:
            self._known = error.errno
            self._note(self._told(error))

    def stop(self) -> None:
        if self._events is not None:
            self._events.stop()

    def report(self) -> dict[str, object]:
        """Return what ``status`` shows of it."""
        trouble = self._trouble
        return {
            "mode": "events" if self.complete else "polling",
            "without_events_because": trouble.reason,
            "what_to_do": trouble.hint,
            "unwatched_folders": self._events.unwatched if self._events else 0,
        }

    def _told(self, error: OSError) -> Trouble:
        reason, hint = inotify.explained(error)
        return Trouble(reason, hint)

    def _note(self, trouble: Trouble) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble == before:
            return
        if trouble is self._lasting:
            self._log.info("file events are back")
        else:
            self._log.warning(
                "no file events; scanning", reason=trouble.reason, hint=trouble.hint
            )
