"""The track step: one MLflow run for each batch of ended jobs, from the journal.

It runs in a process of its own, which imports MLflow when there is something to log
and ends when there has been nothing for a while: an outage of MLflow delays runs,
never files.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dropzone import heartbeats, log, threads
from dropzone.errors import Stopping
from dropzone.gate import Gate
from dropzone.heartbeats import Heartbeats
from dropzone.journal import Batch, Journal
from dropzone.measures import Measures, ZoneMeasures
from dropzone.models import Job, JobIds, Outcome, time_of
from dropzone.text import display
from dropzone.track_process import TrackProcess

# A batch whose jobs all ended is closed after this time without a further one.
_QUIET_SECONDS = 0.5


class Batches:
    """The open batch of a zone. Hold ``lock`` from ``current`` to ``ended``."""

    def __init__(self, journal: Journal, *, seconds: float, files: int) -> None:
        self._journal = journal
        self._seconds = seconds
        self._most = files
        self._ids = JobIds()
        self._id: str | None = None
        self._count = 0
        self._opened = self._last = 0.0
        self.lock = threading.Lock()
        #: Receipts that name the open batch while their jobs do not: it stays open.
        self.unsettled = 0

    def update(self, *, seconds: float, files: int) -> None:
        """Take new limits; they hold for the open batch too."""
        self._seconds, self._most = seconds, files

    def current(self) -> str:
        """Return the id of the batch that jobs ending now belong to."""
        if self._id is None:
            self._id, self._count = self._ids.next(), 0
            self._opened = time.monotonic()
        return self._id

    def ended(self, jobs: int) -> None:
        self._count += jobs
        self._last = time.monotonic()

    def close_due(self, *, idle: bool) -> None:
        """Close the open batch when it is full, old, or nothing more is on its way."""
        with self.lock:
            if self._id is None or not self._count or self.unsettled:
                return
            now = time.monotonic()
            quiet = idle and now - self._last >= _QUIET_SECONDS
            old = now - self._opened >= self._seconds
            if quiet or old or self._count >= self._most:
                self._journal.close_batch(self._id)
                self._id = None


@dataclass(frozen=True, slots=True)
class TrackRules:
    """What each run's parameters say beside the batch, and the client's time limit."""

    params: Mapping[str, str]
    timeout: float
    remote: bool


class Tracker:
    """One thread for one zone: closes batches and has them logged."""

    def __init__(
        self,
        journal: Journal,
        batches: Batches,
        process: TrackProcess,
        gate: Gate,
        rules: TrackRules,
        *,
        idle: Callable[[], bool],
        stop: threading.Event,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._batches = batches
        self._process = process
        self._gate = gate
        self._rules = rules
        self._idle = idle
        self._stop = stop
        self._broken = broken
        self._log = log.get("track")
        self._thread = threading.Thread(target=self._run, name="track", daemon=True)

    def start(
        self, hearts: Heartbeats | None = None, measures: ZoneMeasures | None = None
    ) -> None:
        self._hearts = hearts or Heartbeats()
        self._measures = measures or Measures().zone("")
        self._thread.start()

    def join(self, seconds: float) -> bool:
        return threads.end([self._thread], seconds)

    def _run(self) -> None:
        try:
            with self._hearts.loop("track"):
                self._loop()
        except Stopping:
            return
        except Exception as error:  # noqa: BLE001 told to the daemon, which ends
            self._log.exception("tracking failed")
            self._broken(error)

    def _loop(self) -> None:
        while not self._stop.wait(0.2):
            heartbeats.beat()
            self._process.reap()
            self._gate.call(lambda: self._batches.close_due(idle=self._idle()))
            for batch in self._journal.closed_batches():
                if self._gate.held:
                    break
                self._gate.call(lambda batch=batch: self._track(batch))  # type: ignore[misc]

    def _track(self, batch: Batch) -> None:
        begun = time.monotonic()
        self._wait_out(batch)
        self._journal.ask_batch(batch.id)
        jobs = list(self._journal.jobs_of_batch(batch.id))
        run = describe(batch.id, jobs, self._rules.params)
        self._measures.doing.begin("track", batch.id, os.fsencode(run["run_name"]))
        try:
            run_id = self._process.log(run)
        finally:
            self._measures.doing.end("track", [batch.id])
        self._journal.log_batch(batch.id, run_id)
        self._measures.tracked([job.id for job in jobs], begun)
        self._log.info("tracked", batch=batch.id, run=run_id, files=len(jobs))

    def _wait_out(self, batch: Batch) -> None:
        """Let a dead client's request end, so that a search finds the run it made."""
        fresh = self._journal.batch(batch.id)
        if not self._rules.remote or fresh is None or fresh.asked_at is None:
            return
        until = fresh.asked_at + 2 * self._rules.timeout
        seconds = min(max(0.0, until - time.time()), 4 * self._rules.timeout)
        with heartbeats.within(seconds + heartbeats.SILENCE_SECONDS):
            if self._stop.wait(seconds):
                raise Stopping("The daemon is stopping.")


def describe(
    batch_id: str, jobs: Sequence[Job], params: Mapping[str, str]
) -> dict[str, Any]:
    """Return the run of a batch, as ``MlflowSession.log_batch`` takes it."""
    collections = sorted({job.collection for job in jobs})
    named = display(jobs[0].name) if len(jobs) == 1 else _title(len(jobs), collections)
    metrics = {
        "files": float(len(jobs)),
        "bytes": float(sum(job.size for job in jobs)),
        "chunks": float(sum(job.data.get("chunks", 0) for job in jobs)),
        **_outcomes(jobs),
        **_latencies(jobs),
    }
    return {
        "run_name": named,
        "batch_id": batch_id,
        "params": {**params, "collections": ", ".join(collections)[:500]},
        "metrics": metrics,
        "tags": {"dropzone.zone": jobs[0].zone if jobs else ""},
        "table": _table(jobs),
        "start_time": min((j.created_at for j in jobs), default=time_of(batch_id)),
        "end_time": max((j.ended_at or 0 for j in jobs), default=time_of(batch_id)),
    }


def _title(count: int, collections: Sequence[str]) -> str:
    where = (
        collections[0] if len(collections) == 1 else f"{len(collections)} collections"
    )
    return f"{count} files in {where}"


def _outcomes(jobs: Iterable[Job]) -> dict[str, float]:
    counts = Counter(job.outcome for job in jobs)
    return {f"files_{outcome}": float(counts[outcome]) for outcome in Outcome}


def _latencies(jobs: Sequence[Job]) -> dict[str, float]:
    """Return the mean and the longest time of each step, in seconds."""
    steps: dict[str, list[float]] = {}
    for job in jobs:
        for step, seconds in job.data.get("seconds", {}).items():
            steps.setdefault(step, []).append(seconds)
        steps.setdefault("total", []).append((job.ended_at or 0) - job.created_at)
    return {
        f"seconds_{step}_{kind}": value
        for step, times in steps.items()
        for kind, value in (("mean", sum(times) / len(times)), ("max", max(times)))
    }


def _table(jobs: Iterable[Job]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for job in jobs:
        row = {
            "name": display(job.name),
            "path": display(job.path),
            "collection": job.collection,
            "outcome": str(job.outcome),
            "doc_type": job.doc_type,
            "size": job.size,
            "chunks": job.data.get("chunks", 0),
            "seconds": round((job.ended_at or 0) - job.created_at, 3),
            "attempts": job.attempts,
            "reason": _reason(job),
            "notes": ", ".join(job.data.get("notes", ())),
            "sha256": job.sha256 or "",
            "s3_key": job.s3_key or "",
            "document_id": job.data.get("document_id"),
            "job": job.id,
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _reason(job: Job) -> str | None:
    if job.outcome is not Outcome.FAILED:
        return ""
    # Put back before its run was logged; why it failed is what counts here.
    return job.error_message if job.end_reason == "retried" else job.end_reason
