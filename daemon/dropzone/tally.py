"""How much lies in ``input/`` and was not taken, and since when the oldest of it does.

Usually that is what the watcher saw and still waits for. While nothing is taken, or a
scan takes long, the files are counted by a walk of their own, as seldom as that takes
little of the time.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dropzone import heartbeats
from dropzone.errors import Stopping
from dropzone.listing import Entry, Unreadable
from dropzone.readiness import Signature, refusal

_SHARE = 0.05
_LEAST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Files, their bytes, the age of the oldest as an epoch time, and when it was so.

    The age of a file is that of its last change, its coming included; one that
    somebody is writing to has none.
    """

    files: int
    bytes: int
    oldest_at: float | None
    counted_at: float

    @classmethod
    def of(cls, seen: Iterable[tuple[Signature, bool]]) -> "Tally":
        """Count these files; beside each stands whether it is being written to."""
        files = size = 0
        oldest: int | None = None
        for signature, is_written in seen:
            files += 1
            size += signature.size
            changed = signature.ctime_ns
            if not is_written and (oldest is None or changed < oldest):
                oldest = changed
        since = None if oldest is None else oldest / 1e9
        return cls(files, size, since, time.time())


class InputTally:
    """Of one zone. Everything but ``told`` is called by the watcher's thread."""

    def __init__(
        self,
        walk: Callable[[], Iterable[Entry | Unreadable]],
        is_refused: Callable[[bytes], bool],
        stop: threading.Event,
    ) -> None:
        self._walk = walk
        self._is_refused = is_refused
        self._stop = stop
        self._counted: Tally | None = None
        self._next = 0.0

    def count(self) -> None:
        """Count by a walk, unless that was done a moment ago.

        Raises:
            Stopping: the daemon stops meanwhile.

        """
        begun = time.monotonic()
        if begun < self._next:
            return
        self._counted = Tally.of(self._seen())
        end = time.monotonic()
        self._next = end + max(_LEAST_SECONDS, (end - begun) / _SHARE)

    def forget(self) -> None:
        """Rely on what the watcher waits for again: it has seen everything."""
        self._counted = None

    def told(self, waiting: Iterable[tuple[Signature, bool]]) -> Tally:
        """Return what lies there, ``waiting`` being what the watcher waits for."""
        return self._counted or Tally.of(waiting)

    def _seen(self) -> Iterable[tuple[Signature, bool]]:
        for entry in self._walk():
            heartbeats.beat()
            if self._stop.is_set():
                raise Stopping("The daemon is stopping.")
            if isinstance(entry, Unreadable):
                continue
            # What cannot be taken is told as refused.
            refused = refusal(entry.path, entry.mode, entry.links) is not None
            if not refused and not self._is_refused(entry.path):
                yield entry.signature, False
