"""How often each operation was called, how it ended and how long it took."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from dropzone.sessions.health import Health

# Four to an octave from a microsecond on: a latency is known within a tenth.
_PER_OCTAVE = 4
_BUCKETS = 34 * _PER_OCTAVE


@dataclass(frozen=True, slots=True)
class OperationStats:
    """What became of one kind of operation so far. Times are in seconds.

    ``count`` are those that ended, ``errors`` how many of them by each class of error.
    ``rejected`` is how many of the errors never reached the service: the breaker was
    open, or too many others were under way. The quantiles are of the others, within a
    tenth; None before the first one.
    """

    count: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    rejected: int = 0
    in_flight: int = 0
    total_seconds: float = 0.0
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """One service: its operations by name, its last health, and its breaker.

    ``failures_in_row`` counts towards the breaker; ``rejects_since`` (epoch seconds) is
    None while it lets everybody through, ``next_probe_seconds`` is from now.
    """

    operations: Mapping[str, OperationStats]
    health: Health
    failures_in_row: int
    rejects_since: float | None
    next_probe_seconds: float


class Tally:
    """The running figures of one operation; many threads write, few read."""

    __slots__ = ("_buckets", "_lock", "count", "errors", "in_flight", "rejected", "sum")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets = [0] * _BUCKETS
        self.errors: dict[str, int] = {}
        self.count = self.rejected = self.in_flight = 0
        self.sum = 0.0

    def begin(self) -> None:
        with self._lock:
            self.in_flight += 1

    def end(self, seconds: float, error: str | None) -> None:
        """Count one that took ``seconds``; ``error`` is the class it ended with."""
        bucket = int(math.log2(max(seconds * 1e6, 1.0)) * _PER_OCTAVE)
        with self._lock:
            self.in_flight -= 1
            self.count += 1
            self.sum += seconds
            self._buckets[min(bucket, _BUCKETS - 1)] += 1
            if error is not None:
                self.errors[error] = self.errors.get(error, 0) + 1

    def reject(self, error: str) -> None:
        """Count one that was begun, but not let through."""
        with self._lock:
            self.in_flight -= 1
            self.count += 1
            self.rejected += 1
            self.errors[error] = self.errors.get(error, 0) + 1

    def told(self) -> OperationStats:
        with self._lock:
            buckets = list(self._buckets)
            told = OperationStats(
                count=self.count,
                errors=dict(self.errors),
                rejected=self.rejected,
                in_flight=self.in_flight,
                total_seconds=self.sum,
            )
        return _with_quantiles(told, buckets)


def _with_quantiles(told: OperationStats, buckets: list[int]) -> OperationStats:
    seen = sum(buckets)
    if not seen:
        return told
    p50, p95, p99 = (_quantile(buckets, part * seen) for part in (0.5, 0.95, 0.99))
    return OperationStats(
        told.count,
        told.errors,
        told.rejected,
        told.in_flight,
        told.total_seconds,
        p50,
        p95,
        p99,
    )


def _quantile(buckets: list[int], rank: float) -> float:
    before = 0
    for number, count in enumerate(buckets):
        before += count
        if before >= rank:
            # The middle of the bucket, on its logarithmic scale.
            return float(2 ** ((number + 0.5) / _PER_OCTAVE)) / 1e6
    return math.inf
