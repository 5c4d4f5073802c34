"""Lets the steps of a zone stand still that a person or the time of day wants to."""

import time
from collections.abc import Sequence
from pathlib import Path

from dropzone import log, windows
from dropzone.gate import Gate
from dropzone.pauses import PERSON, WINDOW, Pause, Pauses


class Holds:
    """Of one zone; used by one thread."""

    def __init__(self, zone: str, root: Path) -> None:
        self._pauses = Pauses(root)
        self._told = ""
        self._log = log.get("zone").bind(zone=zone)

    def look(self, gates: Sequence[Gate], upload_windows: Sequence[str]) -> bool:
        """Hold each step that is to be held, no other; return whether that is news.

        Cheap enough for several times a second.
        """
        held = self._pauses.look()
        news = False
        for gate in gates:
            one = held.get(gate.step)
            news |= gate.hold(PERSON, one.pause() if one is not None else None)
            if gate.step == "store":
                news |= gate.hold(WINDOW, _closed(upload_windows))
        problem = self._pauses.problem
        told = problem.message if problem is not None else ""
        if problem is not None and told != self._told:
            self._log.error("pauses unknown", reason=told, hint=problem.hint)
        self._told = told
        return news


def _closed(texts: Sequence[str]) -> Pause | None:
    """Return the pause of uploads outside of their windows, None inside."""
    now = windows.standing([windows.parse(text) for text in texts], time.time())
    if now.is_open:
        return None
    return Pause(
        "store",
        WINDOW,
        now.since or 0.0,
        f"Files are uploaded only in limits.upload_windows: {', '.join(texts)}.",
        "It goes on by itself; to upload now, edit limits.upload_windows.",
        until=now.until,
    )
