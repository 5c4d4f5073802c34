"""The steps of one zone: jobs go from inbox to inbox, errors become verdicts."""

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dropzone import describing, log, tries
from dropzone.errors import WRITTEN_TO, SourceChanged, Stopping
from dropzone.gate import Gate
from dropzone.heartbeats import Heartbeats
from dropzone.journal import JobConflict, Journal, move
from dropzone.measures import Measures, ZoneMeasures
from dropzone.models import IndexOutcome, IndexRequest, Job, Outcome, Status
from dropzone.release import Ending, Release
from dropzone.rescuer import Rescued
from dropzone.sessions.objects import PART_SIZE
from dropzone.stage import Inbox, Stage
from dropzone.store import Store
from dropzone.text import display
from dropzone.verdict import Again, Fail, Limits, describe, judge, noted, tried
from dropzone.zones import ZoneFolders

_INDEX_TOGETHER = 64
_RELEASE_TOGETHER = 64
_UPLOAD_TOGETHER = 16
_DUE_TOGETHER = 256


class Executor(Protocol):
    """Runs the index step somewhere; outcomes come back by ``Pipeline.indexed``."""

    def start(self) -> None: ...
    def submit(self, requests: Sequence[IndexRequest]) -> None: ...
    def join(self, seconds: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Gates:
    """What pauses each step."""

    store: Gate
    index: Gate
    release: Gate


class Pipeline:
    """Store, index and release of one zone. Build it, ``connect`` it, ``start`` it."""

    def __init__(
        self,
        folders: ZoneFolders,
        journal: Journal,
        release: Release,
        gates: Gates,
        limits: Limits,
        *,
        capacity: int,
        stop: threading.Event,
        hearts: Heartbeats | None = None,
    ) -> None:
        self._measures = Measures().zone("")
        self._hearts = hearts or Heartbeats()
        self._folders = folders
        self._journal = journal
        self._release = release
        self._gates = gates
        self._limits = limits
        self._stop = stop
        self._log = log.get("pipeline")
        self.to_store = Inbox(journal, Status.CLAIMED, capacity, large_bytes=PART_SIZE)
        self.to_index = Inbox(journal, Status.STORED, capacity)
        self.to_release = Inbox(journal, Status.INDEXED, capacity)
        self._indexing: dict[str, Job] = {}
        self._begun: dict[str, float] = {}
        self._store: Store | None = None
        self._executor: Executor | None = None
        self._record_failure: Callable[[Job], None] = lambda _job: None
        self._stages: list[Stage] = []

    def connect(
        self,
        store: Store,
        executor: Executor,
        record_failure: Callable[[Job], None],
        *,
        uploads: int,
        measures: ZoneMeasures | None = None,
    ) -> None:
        """Give the pipeline what needs the services; claiming goes on without them."""
        # One thread at least is left to small files, where there are several.
        self.to_store.large_at_once = max(1, uploads - 1)
        self._measures = measures or self._measures
        self._store = store
        self._executor = executor
        self._record_failure = record_failure
        self._stages = [
            Stage(
                "store",
                self.to_store,
                self._store_jobs,
                self._stop,
                workers=uploads,
                most=_UPLOAD_TOGETHER,
                hearts=self._hearts,
            ),
            Stage(
                "index",
                self.to_index,
                self._index_jobs,
                self._stop,
                most=_INDEX_TOGETHER,
                hearts=self._hearts,
            ),
            Stage(
                "release",
                self.to_release,
                self._release_jobs,
                self._stop,
                most=_RELEASE_TOGETHER,
                hearts=self._hearts,
            ),
        ]

    def update(self, limits: Limits, *, capacity: int, uploads: int) -> None:
        """Take new limits; what is under way keeps those it began with."""
        self._limits = limits
        for inbox in self._inboxes().values():
            inbox.resize(capacity)
        self.to_store.large_at_once = max(1, uploads - 1)
        for stage in self._stages:
            if stage.name == "store":
                stage.resize(uploads)

    def start(self, rescued: Rescued) -> None:
        if self._executor is not None:
            self._executor.start()
        for stage in self._stages:
            stage.start()
        for job, failure in rescued.doomed:
            self._fail(job, failure)

    def resume(self, jobs: Sequence[Job]) -> None:
        """Put rescued or due jobs before the step that comes next for them."""
        for status, inbox in self._inboxes().items():
            inbox.put(job for job in jobs if job.status is status)

    def resume_due(self) -> None:
        """Bring back waiting jobs whose pause is over; called every second or so."""
        due = self._journal.due(time.time(), _DUE_TOGETHER)
        if not due:
            return
        jobs = [
            move(job, job.resume_status or Status.CLAIMED, retry_at=None) for job in due
        ]
        self._save(jobs)
        self.resume(jobs)

    def join(self, until: float) -> list[str]:
        """Wait for every step until the monotonic time; name those that go on."""
        late = [
            stage.name
            for stage in self._stages
            if not stage.join(max(0.0, until - time.monotonic()))
        ]
        if self._executor is not None:
            left = max(0.0, until - time.monotonic())
            if not self._executor.join(left):
                late.append("executor")
        return late

    @property
    def idle(self) -> bool:
        """True when no job is between two steps."""
        return not any(inbox.busy for inbox in self._inboxes().values())

    def check(self) -> None:
        """Raise what broke a step, if one is broken."""
        for stage in self._stages:
            if stage.broken.done():
                stage.broken.result()

    def queued(self) -> dict[str, int]:
        return {str(status): len(inbox) for status, inbox in self._inboxes().items()}

    def _inboxes(self) -> dict[Status, Inbox]:
        return {
            Status.CLAIMED: self.to_store,
            Status.STORED: self.to_index,
            Status.INDEXED: self.to_release,
        }

    # Store

    def _store_jobs(self, jobs: list[Job]) -> None:
        stored: list[Job] = []
        try:
            for job in jobs:
                if self._gates.store.held:
                    self._hand_on(stored)
                    self._gates.store.admit()
                self._store_job(job, stored)
        finally:
            # Also when the daemon stops: what is stored need not be stored again.
            self._hand_on(stored)
        self.to_store.release(jobs)

    def _hand_on(self, stored: list[Job]) -> None:
        self._save(stored)
        self.to_index.put(stored)
        stored.clear()

    def _store_job(self, job: Job, stored: list[Job]) -> None:
        store = self._store
        if store is None or self._stop.is_set():
            raise Stopping("The daemon is stopping.")
        begun = time.monotonic()
        self._measures.doing.begin("store", job.id, job.path)
        try:
            with log.bound(job=job.id):
                done = self._gates.store.call(lambda: store.store(job))
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 the job's own error: others go on
            self._judge(job, "store", error, begun)
        else:
            self._measures.step("store", begun, [job.id])
            stored.append(_timed(done, "store", begun))
        finally:
            self._measures.doing.end("store", [job.id])

    # Index

    def _index_jobs(self, jobs: list[Job]) -> None:
        if self._executor is None:
            raise Stopping("The pipeline is not connected.")
        self._gates.index.admit()
        begun = time.monotonic()
        for job in jobs:
            self._indexing[job.id] = job
            self._begun[job.id] = begun
        self._executor.submit([self._request(job) for job in jobs])

    def _request(self, job: Job) -> IndexRequest:
        path = self._folders.payload_path(job.id, job.path)
        return IndexRequest.of(job, path, seen_of(job))

    def indexed(self, outcomes: Sequence[IndexOutcome]) -> None:
        """Take what the executor did; called from its threads."""
        self._measures.doing.end("index", [outcome.job_id for outcome in outcomes])
        done: list[Job] = []
        ended: list[Job] = []
        for outcome in outcomes:
            job = self._indexing.pop(outcome.job_id)
            begun = self._begun.pop(outcome.job_id)
            ended.append(job)
            if outcome.error is not None:
                self._judge(job, "index", outcome.error, begun)
            else:
                self._measures.step("index", begun, [job.id])
                done.append(_timed(_indexed(job, outcome), "index", begun))
        self._save(done)
        self.to_release.put(done)
        self.to_index.release(ended)

    # Release

    def _release_jobs(self, jobs: list[Job]) -> None:
        self._gates.release.admit()
        begun = time.monotonic()
        same = [job for job in jobs if self._is_same(job)]
        if same:
            self._end(same)
            self._measures.step("release", begun, [job.id for job in same])
        self.to_release.release(jobs)

    def _end(self, jobs: Sequence[Job]) -> None:
        doing = self._measures.doing
        for job in jobs:
            doing.begin("release", job.id, job.path)
        try:
            endings = [Ending(job) for job in jobs]
            self._gates.release.call(lambda: self._release.end(endings))
        finally:
            doing.end("release", [job.id for job in jobs])

    def _is_same(self, job: Job) -> bool:
        """Return whether the file still is what was stored; else it goes again."""
        now = self._folders.signature(job.id, job.path)
        if now is not None and now.as_tuple() == seen_of(job):
            return True
        changed = f"{display(job.path)} was changed or removed after it was stored."
        error = SourceChanged(changed, hint=WRITTEN_TO)
        self._judge(job, "release", error, time.monotonic())
        return False

    # Errors

    def _judge(self, job: Job, step: str, error: Exception, begun: float) -> None:
        if isinstance(error, JobConflict):
            self._log.warning("somebody else has this job", job=job.id)
            return
        self._measures.tried_in_vain(step, begun, job.id, describe(error))
        job = tried(job, step, error)
        verdict = judge(job, error, self._limits)
        job, retry_at = noted(job, step, error, verdict)
        if isinstance(verdict, Fail):
            self._gates.release.admit()
            self._fail(job, verdict)
        else:
            self._wait(job, step, error, verdict, retry_at)

    def _wait(
        self,
        job: Job,
        step: str,
        error: Exception,
        again: Again,
        retry_at: float | None,
    ) -> None:
        self._measures.retried(step, error)
        self._log.warning(
            "will try again",
            zone=job.zone,
            job=job.id,
            path=display(job.path),
            step=step,
            reason=describe(error),
            attempt=job.attempts,
            seconds=round(again.seconds, 1),
        )
        changes = {"resume_status": again.resume, "retry_at": retry_at}
        self._save([move(job, Status.WAITING, **changes)])
        # Before it is due, or it would count as active and not be queued again.
        self._inboxes()[job.status].release([job])

    def _fail(self, job: Job, failure: Fail) -> None:
        self._gates.index.call(lambda: self._record_failure(job))
        self._gates.release.call(lambda: self._release.end([Ending(job, failure)]))

    def _save(self, jobs: Sequence[Job]) -> None:
        self._gates.release.call(lambda: self._journal.save(jobs))


def _indexed(job: Job, outcome: IndexOutcome) -> Job:
    data: dict[str, Any] = {
        **job.data,
        "document_id": outcome.document_id,
        "chunks": outcome.chunks,
        "notes": describing.notes_with(job, outcome.notes),
    }
    return move(
        job, Status.INDEXED, outcome=outcome.outcome or Outcome.INDEXED, data=data
    )


def seen_of(job: Job) -> tuple[int, ...]:
    """Return how the job's file looked when it was last read; see Signature."""
    return (job.device, job.inode, job.size, job.mtime_ns, job.data.get("ctime_ns", 0))


def _timed(job: Job, step: str, begun: float) -> Job:
    took = time.monotonic() - begun
    seconds = {**job.data.get("seconds", {}), step: round(took, 4)}
    now = time.time()
    times = tries.timed(job, step, now - took, now)
    return dataclasses.replace(job, data={**job.data, "seconds": seconds, **times})
