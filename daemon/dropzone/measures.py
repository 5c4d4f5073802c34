"""What the daemon counts of its own work, since its start: cheap, and always on.

Kept as plain numbers, so that nothing heavy is imported for them: ``/metrics`` reads
them when it is asked. Whoever wants each step by itself (traces) is told of it too.
"""

import bisect
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dropzone.doing import Doing
from dropzone.models import Job, Outcome

#: Upper bounds, seconds. A small file takes milliseconds a step; an upload, or a step
#: that waits for a service, takes up to hours.
BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)
#: What is measured of each file, in the order of its way; ``track`` is of each batch.
STEPS = (
    *("claim", "store", "extract", "embed", "commit", "index", "release"),
    *("total", "track"),
)


#: The steps that people know, in the order of a file's way.
WAY = ("claim", "store", "index", "release", "track")


@dataclass(frozen=True, slots=True)
class Done:
    """One step of some jobs: when it began (epoch seconds), and how it ended."""

    zone: str
    step: str
    jobs: Sequence[str]
    began: float
    seconds: float
    error: str | None = None


class Listener(Protocol):
    """Told of each step and of each end; must return at once and raise nothing."""

    def step(self, done: Done) -> None: ...
    def ended(self, job: Job) -> None: ...
    def tracked(self, batch: Done) -> None: ...


class Durations:
    """How long something took: counts below each bound. Many threads write."""

    __slots__ = ("_counts", "_lock", "_sum")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        at = bisect.bisect_left(BOUNDS, seconds)
        with self._lock:
            self._counts[at] += times
            self._sum += seconds * times

    def told(self) -> tuple[list[int], float]:
        """Return how many fell below each bound and none below it, and the sum."""
        with self._lock:
            return list(self._counts), self._sum


@dataclass(slots=True)
class Reload:
    """The last reading of the configuration, and when one last succeeded (epoch)."""

    succeeded: bool = True
    succeeded_at: float = field(default_factory=time.time)


class ZoneMeasures:
    """Of one zone. Every method may be called from any thread."""

    def __init__(self, zone: str, listener: Callable[[], Listener | None]) -> None:
        self._zone = zone
        self._listener = listener
        self._lock = threading.Lock()
        self.durations = {step: Durations() for step in STEPS}
        self.succeeded_at: dict[str, float] = {}
        self.doing = Doing(WAY)
        self.files: Counter[str] = Counter(dict.fromkeys(map(str, Outcome), 0))
        self.bytes: Counter[str] = Counter(dict.fromkeys(map(str, Outcome), 0))
        #: By step and class of the error.
        self.retries: Counter[tuple[str, str]] = Counter()

    def step(
        self,
        step: str,
        begun: float,
        jobs: Sequence[str],
        *,
        until: float | None = None,
    ) -> None:
        """Count a step of some jobs that went well; the times are monotonic.

        Each of the jobs took that long, also when they were worked on together.
        """
        now = time.monotonic()
        end = now if until is None else until
        self.durations[step].add(end - begun, len(jobs))
        wall = time.time() - (now - end)
        self.succeeded_at[step] = wall
        if (listener := self._listener()) is not None:
            began = wall - (end - begun)
            listener.step(Done(self._zone, step, jobs, began, end - begun))

    def tried_in_vain(self, step: str, begun: float, job: str, error: str) -> None:
        """Tell of a try that failed; it is in no duration."""
        if (listener := self._listener()) is not None:
            took = time.monotonic() - begun
            done = Done(self._zone, step, (job,), time.time() - took, took, error)
            listener.step(done)

    def tracked(self, jobs: Sequence[str], begun: float) -> None:
        """Count a batch whose run is in MLflow now."""
        seconds = time.monotonic() - begun
        self.durations["track"].add(seconds)
        self.succeeded_at["track"] = now = time.time()
        if (listener := self._listener()) is not None:
            done = Done(self._zone, "track", jobs, now - seconds, seconds)
            listener.tracked(done)

    def ended(self, job: Job) -> None:
        """Count a job that ended, whatever its outcome."""
        outcome = str(job.outcome)
        with self._lock:
            self.files[outcome] += 1
            self.bytes[outcome] += job.size
        self.durations["total"].add(max(0.0, (job.ended_at or 0) - job.created_at))
        self.succeeded_at["total"] = time.time()
        if (listener := self._listener()) is not None:
            listener.ended(job)

    def retried(self, step: str, error: BaseException) -> None:
        """Count a job that will be tried again."""
        with self._lock:
            self.retries[step, type(error).__name__] += 1


class Measures:
    """Of one daemon. ``listener`` may be set once, before the work begins."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.zones: dict[str, ZoneMeasures] = {}
        self.reload = Reload()
        self._lock = threading.Lock()
        #: Messages to people, by whether they were delivered.
        self.messages: Counter[str] = Counter({"sent": 0, "failed": 0})
        #: Those that are not delivered yet, by the zone.
        self.messages_waiting: dict[str, int] = {}

    def zone(self, name: str) -> ZoneMeasures:
        """Return the measures of a zone, the same each time."""
        if name not in self.zones:
            self.zones[name] = ZoneMeasures(name, lambda: self.listener)
        return self.zones[name]

    def reloaded(self, *, succeeded: bool) -> None:
        """Note that the configuration was read again, and whether it is in force."""
        at = time.time() if succeeded else self.reload.succeeded_at
        self.reload = Reload(succeeded, at)

    def notified(self, *, delivered: bool) -> None:
        """Count a message to people."""
        with self._lock:
            self.messages["sent" if delivered else "failed"] += 1
