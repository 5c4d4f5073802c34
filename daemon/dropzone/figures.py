"""Figures of the running daemon for its report: steps and services, as JSON takes them.

``status --json``, ``top`` and the API show them. Counts go up from the daemon's start.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from dropzone.doing import Work
from dropzone.measures import BOUNDS, WAY, ZoneMeasures
from dropzone.sessions import SessionPool
from dropzone.sessions.stats import OperationStats, ServiceStats
from dropzone.text import display

_RATE_SECONDS = 60.0
_MEDIAN_SECONDS = 300.0
_LOOK_SECONDS = 5.0
#: How many times fell below each bound, and their sum in seconds.
Counts = tuple[list[int], float]


class Steps:
    """What each step of a zone did and does. Remembers the last five minutes."""

    def __init__(self, measures: ZoneMeasures) -> None:
        self._measures = measures
        self._looks = deque([(time.monotonic(), self._counts())])

    def told(self) -> dict[str, dict[str, Any]]:
        """Return the figures of each step by its name; called by one thread.

        ``done`` and ``seconds`` (of all of them) count from the start, ``a_minute`` is
        the rate of the last minute and ``median_seconds`` that of the last five, None
        while nothing is known. ``working`` counts what is worked on; ``longest`` is
        what has been for the longest time.
        """
        now, counts = time.monotonic(), self._counts()
        while len(self._looks) > 1 and now - self._looks[0][0] > _MEDIAN_SECONDS:
            self._looks.popleft()
        found = {step: self._step(step, now, counts[step]) for step in WAY}
        if now - self._looks[-1][0] >= _LOOK_SECONDS:
            self._looks.append((now, counts))
        return found

    def _step(self, step: str, now: float, counts: Counts) -> dict[str, Any]:
        counted, seconds = counts
        works = self._measures.doing.told(step)
        recent = (look for look in self._looks if now - look[0] <= _RATE_SECONDS)
        began, before = next(recent, self._looks[-1])
        fresh = sum(counted) - sum(before[step][0])
        old, old_seconds = self._looks[0][1][step]
        lately = [new - former for new, former in zip(counted, old, strict=True)]
        return {
            "done": sum(counted),
            "seconds": round(seconds, 3),
            "a_minute": round(fresh * 60.0 / max(1.0, now - began), 1),
            "median_seconds": median(lately, seconds - old_seconds),
            "working": len(works),
            "longest": _work(works[0], step) if works else None,
        }

    def _counts(self) -> dict[str, Counts]:
        return {step: self._measures.durations[step].told() for step in WAY}


def median(counts: Sequence[int], seconds: float) -> float | None:
    """Return about what half of the times were below; None without any.

    ``counts`` are of the times below each bound, and above the last; ``seconds`` is the
    sum of all.
    """
    total = sum(counts)
    if total == max(counts, default=0):
        # They are so much alike that their mean says more.
        return round(seconds / total, 4) if total else None
    below = 0.0
    bounds = zip(counts, (0.0, *BOUNDS), (*BOUNDS, BOUNDS[-1]), strict=True)
    for count, low, high in bounds:
        if count and below + count >= total / 2:
            return round(low + (high - low) * (total / 2 - below) / count, 4)
        below += count
    return None


def _work(work: Work, step: str) -> dict[str, Any]:
    return {
        "job": None if step == "track" else work.id,
        "batch": work.id if step == "track" else None,
        "path": display(work.name),
        "path_quoted": quote(work.name),
        "since": work.since,
    }


def services(pool: SessionPool | None) -> dict[str, dict[str, Any]]:
    """Return how each service that is in use does; nobody is asked for it."""
    stats = {} if pool is None else pool.stats()
    return {name: _service(told) for name, told in stats.items()}


def _service(told: ServiceStats) -> dict[str, Any]:
    operations = told.operations.values()
    most: OperationStats | None = max(operations, key=lambda o: o.count, default=None)
    return {
        "calls": sum(operation.count for operation in operations),
        "errors": sum(sum(operation.errors.values()) for operation in operations),
        "in_flight": sum(operation.in_flight for operation in operations),
        "typical_seconds": most.p50_seconds if most else None,
        "slow_seconds": most.p95_seconds if most else None,
        "failing_since": told.rejects_since,
        "problem": told.health.error if told.rejects_since is not None else None,
    }
