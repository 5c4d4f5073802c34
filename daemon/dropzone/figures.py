"""Figures of the running daemon for its report: steps and services, as JSON takes them.

``status --json`` and ``top`` show them. Counts go up from the daemon's start.
"""

from typing import Any

from dropzone.measures import ZoneMeasures
from dropzone.sessions import SessionPool
from dropzone.sessions.stats import OperationStats, ServiceStats

#: The steps that people know, in the order of a file's way.
_STEPS = ("claim", "store", "index", "release", "track")


def steps(measures: ZoneMeasures) -> dict[str, dict[str, float]]:
    """Return for each step how often it was done, and the seconds of all of them."""
    found = {}
    for step in _STEPS:
        counts, seconds = measures.durations[step].told()
        found[step] = {"done": sum(counts), "seconds": round(seconds, 3)}
    return found


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
