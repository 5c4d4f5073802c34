"""Keeps what is to be traced and sends it from a thread: no file ever waits for it.

What does not fit, or cannot be sent in time, is dropped and counted.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from dropzone import log, threads
from dropzone.measures import Done
from dropzone.models import Job

#: What is told by the parts of the daemon: a step, an end, or a batch that is tracked.
Event = Done | Job

_MOST_SPANS = 8192
_TOGETHER = 512
_EVERY_SECONDS = 1.0
# A collector that is started anew loses nothing; one that is gone costs no memory.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)


class Exporter(Protocol):
    """Sends spans made of events; False when the collector did not take them."""

    def send(self, events: Sequence[Event]) -> bool: ...
    def close(self) -> None: ...


class Traces:
    """A listener of the measures, and one thread. ``start`` it, later ``join``."""

    def __init__(
        self,
        endpoint: str | None,
        stop: threading.Event,
        make: Callable[[str], Exporter] | None = None,
    ) -> None:
        """Without an endpoint nothing is traced, and nothing imported for it."""
        self._endpoint = endpoint
        self._make = make or _otlp
        self._stop = stop
        self._waiting: deque[Event] = deque()
        self._spans = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._failing = False
        self._exported = self._dropped = 0
        self._log = log.get("traces")
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self) -> "Traces | None":
        """Begin to send, and return the listener; None when nothing is traced."""
        if self._endpoint is None:
            return None
        self._thread.start()
        return self

    def join(self, seconds: float) -> bool:
        """Wait for the thread; the stop event must be set. False if it goes on."""
        self._wake.set()
        return threads.end([self._thread], seconds)

    def figures(self) -> Mapping[str, int]:
        """Return how many spans were sent and how many dropped."""
        return {"exported": self._exported, "dropped": self._dropped}

    # Called by every thread of the daemon

    def step(self, done: Done) -> None:
        self._put(done, len(done.jobs))

    def ended(self, job: Job) -> None:
        self._put(job, 1)

    def tracked(self, batch: Done) -> None:
        self._put(batch, 1)

    def _put(self, event: Event, spans: int) -> None:
        with self._lock:
            if self._spans + spans > _MOST_SPANS:
                self._dropped += spans
                return
            self._waiting.append(event)
            self._spans += spans
            full = self._spans >= _TOGETHER
        if full:
            self._wake.set()

    # The thread

    def _run(self) -> None:
        try:
            exporter = self._make(self._endpoint or "")
        except ImportError as error:
            self._log.error(
                "traces are off",
                reason=f"traces.endpoint is set, and a package is missing: {error}.",
                hint="pip install 'dropzone-daemon[otel]', or unset traces.endpoint.",
            )
            self._give_up()
            return
        try:
            self._serve(exporter)
        except Exception:  # noqa: BLE001 files go on; what is traced from now on is not
            self._log.exception("tracing failed; it is off until the next start")
            self._give_up()
        finally:
            exporter.close()

    def _serve(self, exporter: Exporter) -> None:
        while not self._stop.is_set():
            self._wake.wait(_EVERY_SECONDS)
            self._wake.clear()
            while (events := self._take()) and not self._stop.is_set():
                self._send(exporter, *events)
        # What was done until the end is sent once, without patience.
        while events := self._take():
            self._count(*events[1:], sent=exporter.send(events[0]))
            if self._failing:
                break

    def _take(self) -> tuple[list[Event], int] | None:
        taken: list[Event] = []
        spans = 0
        with self._lock:
            while self._waiting and spans < _TOGETHER:
                event = self._waiting.popleft()
                taken.append(event)
                spans += spans_of(event)
            self._spans -= spans
        return (taken, spans) if taken else None

    def _send(self, exporter: Exporter, events: list[Event], spans: int) -> None:
        for pause in (*_PAUSES, None):
            if exporter.send(events):
                self._count(spans, sent=True)
                return
            self._tell(failing=True)
            if pause is None or self._stop.wait(pause):
                break
        self._count(spans, sent=False)

    def _count(self, spans: int, *, sent: bool) -> None:
        self._tell(failing=not sent)
        if sent:
            self._exported += spans
        else:
            with self._lock:
                self._dropped += spans

    def _tell(self, *, failing: bool) -> None:
        if failing == self._failing:
            return
        self._failing = failing
        if failing:
            self._log.warning(
                "traces are not taken",
                endpoint=self._endpoint,
                hint="Look after the collector that traces.endpoint names; files do "
                "not wait for it.",
            )
        else:
            self._log.info("traces are taken again", endpoint=self._endpoint)

    def _give_up(self) -> None:
        with self._lock:
            self._dropped += self._spans
            self._waiting.clear()
            # Nothing fits any more, so that everything from now on is counted.
            self._spans = _MOST_SPANS


def spans_of(event: Event) -> int:
    """Return how many spans an event becomes."""
    if isinstance(event, Done) and event.step != "track":
        return len(event.jobs)
    return 1


def _otlp(endpoint: str) -> Exporter:
    from dropzone.traces.spans import OtlpExporter

    return OtlpExporter(endpoint)


def quiet() -> None:
    """Keep the libraries from logging each failed try; it is told once, by us."""
    for name in ("opentelemetry", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
