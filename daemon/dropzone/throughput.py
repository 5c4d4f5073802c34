"""How much ended in each part of a span of time; what is over is counted once."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from dropzone.journal import Journal

# The last commits of a part come after its end.
_OPEN_PARTS = 2


@dataclass(frozen=True, slots=True)
class Part:
    """What ended in a part: all files, those of them that failed, and the bytes."""

    files: int = 0
    failed: int = 0
    bytes: int = 0

    def __add__(self, other: "Part") -> "Part":
        return Part(
            self.files + other.files,
            self.failed + other.failed,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """So many parts of so many seconds each; the last one is going on."""

    seconds: int
    parts: int

    def until(self, now: float) -> int:
        """Return the end of the last part (epoch): the same for every look in it."""
        return (int(now) // self.seconds + 1) * self.seconds


class Throughput:
    """Of one zone over one span. Safe to share between threads."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._lock = threading.Lock()
        #: By the number of the part since the epoch.
        self._known: dict[int, Part] = {}

    def look(self, journal: Journal, now: float) -> list[Part]:
        """Return the parts, the oldest first; only those not over are counted anew."""
        seconds, parts = self._span.seconds, self._span.parts
        until = self._span.until(now)
        end = until // seconds
        first = end - parts
        with self._lock:
            known = {n: p for n, p in self._known.items() if first <= n < end}
            # A clock that was set back leaves parts of the future, and perhaps a gap.
            fresh = min(max(known, default=first) + 1, end) - _OPEN_PARTS
            fresh = max(first, fresh)
            known = {n: p for n, p in known.items() if n < fresh}
            for number in range(fresh, end):
                known[number] = Part()
            self._count(journal, fresh, until, known)
            self._known = known
            return [known.get(number, Part()) for number in range(first, end)]

    def _count(
        self, journal: Journal, first: int, until: int, known: dict[int, Part]
    ) -> None:
        span = {"since": first * self._span.seconds, "until": until}
        for row in journal.rows("ended_by_time", **span, step=self._span.seconds):
            jobs = row["jobs"]
            failed = jobs if row["status"] == "failed" else 0
            number = first + int(row["part"])
            if number in known:
                known[number] += Part(jobs, failed, row["bytes"])


def added(every: Sequence[Sequence[Part]], parts: int) -> list[Part]:
    """Return the sum of several zones, part by part."""
    return [sum((one[n] for one in every), Part()) for n in range(parts)]
