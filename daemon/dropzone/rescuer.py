"""What to do, at start, with each state a dead daemon left behind.

Place is state: what lies in ``state/work/JOB/`` is claimed, whatever else is known.
The journal adds how far the job had come, the receipts whether it was ending.
"""

import contextlib
import dataclasses
import datetime as dt
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dropzone import describing, fsops, heartbeats, log
from dropzone.claiming import Claim
from dropzone.errors import SourceChanged
from dropzone.extract import doc_type_of
from dropzone.journal import Journal, move
from dropzone.models import (
    ENDED,
    Job,
    JobIds,
    Outcome,
    Status,
    is_job_id,
    time_of,
)
from dropzone.places import collection_of, unquoted
from dropzone.readiness import Signature
from dropzone.receipts import Position, Receipts
from dropzone.release import Ending, Release
from dropzone.text import display
from dropzone.verdict import Fail
from dropzone.zones import ZoneFolders

_TOGETHER = 64
_RESTORED_TOGETHER = 1000
# What a receipt tells of a job's data.
_DATA = (
    *("area", "place", "document_id", "chunks", "notes", "reason_file"),
    "tries",
)
_VANISHED = Fail(
    "The file vanished from its work folder before it was released.",
    "Nothing of dropzone deletes there; look for it, and drop it again.",
)


@dataclass(slots=True)
class Rescued:
    """Jobs to go on with, each in its state, and jobs that have to fail."""

    resume: list[Job] = field(default_factory=list)
    doomed: list[tuple[Job, Fail]] = field(default_factory=list)


class Rescuer:
    """Runs once, before any step starts. Running it twice changes nothing more."""

    def __init__(
        self,
        zone: str,
        folders: ZoneFolders,
        journal: Journal,
        receipts: Receipts,
        release: Release,
    ) -> None:
        self._zone = zone
        self._folders = folders
        self._journal = journal
        self._receipts = receipts
        self._release = release
        self._log = log.get("rescuer").bind(zone=zone)
        self._ids = JobIds()
        self._endings: list[Ending] = []
        self._claimed: list[Job] = []

    def run(self) -> Rescued:
        """Finish what was ending, and return what has to go on.

        Raises:
            ServiceUnavailable: the disk is full or failing (``disk``).
            ZoneError: the receipts were tampered with.

        """
        mark = Position.load(self._journal.marks().get("receipts"))
        work = dict(self._folders.jobs_in_work())
        self._take_receipts(self._receipts.recover(mark), work)
        rescued = Rescued()
        known = {job.id: job for job in self._journal.unfinished()}
        for job_id, paths in work.items():
            heartbeats.beat()
            self._rescue_folder(job_id, paths, known.pop(job_id, None), rescued)
        for job in known.values():
            self._rescue_missing(job, rescued)
        self._finish(rescued)
        self._journal.close_batch(None)
        if rescued.resume or rescued.doomed or self._endings:
            self._log.info(
                "rescued",
                resumed=len(rescued.resume),
                ended=len(self._endings),
                failed=len(rescued.doomed),
            )
        return rescued

    def _take_receipts(
        self, receipts: Iterator[dict[str, Any]], work: Mapping[str, list[bytes]]
    ) -> None:
        interrupted: list[dict[str, Any]] = []
        taken = 0
        # Page by page: after the loss of the journal they are all there ever were.
        while page := list(itertools.islice(receipts, _RESTORED_TOGETHER)):
            heartbeats.beat()
            lost: list[Job] = []
            for receipt in page:
                job = self._journal.get(receipt["job"])
                if job is None:
                    # The journal was lost or is an old copy; the receipt tells all.
                    job = job_of(receipt, moved=not work.get(receipt["job"]))
                    lost.append(job)
                if job.status not in ENDED:
                    interrupted.append(receipt)
            if lost:
                self._journal.restore(lost)
            taken += len(page)
        self._release.recover(interrupted)
        if taken and not interrupted:
            self._journal.mark("receipts", self._receipts.end.dump())

    def _rescue_folder(
        self, job_id: str, paths: list[bytes], job: Job | None, rescued: Rescued
    ) -> None:
        receipt = self._release.receipt_of(job_id)
        if job is not None and receipt is not None:
            self._endings.append(Ending(_as_told(job, receipt)))
        elif not paths:
            self._folders.drop_empty(job_id)
            if job is not None:
                self._rescue_missing(job, rescued)
        elif job is not None:
            path = job.path if job.path in paths else paths[0]
            self._resume(dataclasses.replace(job, path=path), rescued)
            self._adopt_strays(job_id, [other for other in paths if other != path])
        elif is_job_id(job_id) and self._journal.get(job_id) is None:
            self._claimed.append(self._adopted(job_id, paths[0]))
            self._adopt_strays(job_id, paths[1:])
        else:
            self._adopt_strays(job_id, paths)

    def _adopt_strays(self, folder: str, paths: list[bytes]) -> None:
        """Make jobs of files that somebody else put into a work folder."""
        for path in paths:
            job_id = self._ids.next()
            try:
                self._folders.resettle(folder, path, job_id)
            except OSError as error:
                self._log.error(
                    "cannot take what lies in state/work",
                    folder=folder,
                    path=display(path),
                    reason=error.strerror,
                )
                self._folders.drop_empty(job_id)
            else:
                self._claimed.append(self._adopted(job_id, path))
        if folder:
            self._folders.drop_empty(folder)

    def _rescue_missing(self, job: Job, rescued: Rescued) -> None:
        receipt = self._release.receipt_of(job.id)
        if receipt is not None:
            self._endings.append(Ending(_as_told(job, receipt)))
        elif job.status is Status.CLAIMING:
            self._journal.forget([job])
        else:
            vanished = dataclasses.replace(job, error_step="rescue")
            rescued.doomed.append((vanished, _VANISHED))

    def _resume(self, job: Job, rescued: Rescued) -> None:
        signature = self._folders.signature(job.id, job.path)
        if job.status is Status.WAITING:
            return
        if job.status is Status.CLAIMING:
            self._claimed.append(job)
        elif signature is not None and _unchanged(job, signature):
            rescued.resume.append(job)
        else:
            again = move(job, Status.CLAIMED, **_seen(job, signature))
            self._journal.save([again])
            rescued.resume.append(again)

    def _adopted(self, job_id: str, path: bytes) -> Job:
        """Return a job for a claimed file that the journal does not know."""
        signature = self._folders.signature(job_id, path)
        now = time.time()
        job = Job(
            id=job_id,
            zone=self._zone,
            collection=collection_of(path),
            path=path,
            status=Status.CLAIMING,
            size=signature.size if signature else 0,
            mtime_ns=signature.mtime_ns if signature else 0,
            device=signature.device if signature else 0,
            inode=signature.inode if signature else 0,
            doc_type=doc_type_of(os.path.basename(path)),
            created_at=now,
            started_at=now,
            last_activity=now,
        )
        self._journal.add([job])
        return job

    def _finish(self, rescued: Rescued) -> None:
        for start in range(0, len(self._claimed), _TOGETHER):
            heartbeats.beat()
            group = self._claimed[start : start + _TOGETHER]
            signature = Signature(0, 0, 0, 0, 0)
            claims = [Claim(job.id, job.path, signature) for job in group]
            self._folders.sync_claims(claims)
            jobs = [self._as_claimed(job) for job in group]
            self._journal.save(jobs)
            rescued.resume.extend(jobs)
        for start in range(0, len(self._endings), _TOGETHER):
            heartbeats.beat()
            self._release.end(self._endings[start : start + _TOGETHER])

    def _as_claimed(self, job: Job) -> Job:
        signature = self._folders.signature(job.id, job.path)
        with (
            contextlib.suppress(SourceChanged),
            fsops.opened(self._folders.open_payload(job.id, job.path)) as fd,
        ):
            job = describing.described(job, fd)
        return move(job, Status.CLAIMED, **_seen(job, signature))


def _seen(job: Job, now: Signature | None) -> dict[str, Any]:
    """Return the columns that tell how the file looks now."""
    if now is None:
        return {}
    return {
        "device": now.device,
        "inode": now.inode,
        "size": now.size,
        "mtime_ns": now.mtime_ns,
        "data": {**job.data, "ctime_ns": now.ctime_ns},
    }


def _unchanged(job: Job, now: Signature) -> bool:
    return (
        job.device,
        job.inode,
        job.size,
        job.mtime_ns,
        job.data.get("ctime_ns"),
    ) == (
        now.device,
        now.inode,
        now.size,
        now.mtime_ns,
        now.ctime_ns,
    )


def _as_told(job: Job, receipt: dict[str, Any]) -> Job:
    """Return the job as it was when its receipt was written.

    A copy of the journal that is older than the receipts knows an earlier state.
    """
    told = job_of(receipt, moved=False)
    return dataclasses.replace(
        job,
        status=told.status,
        size=told.size,
        sha256=told.sha256,
        s3_key=told.s3_key,
        data={**job.data, **told.data},
    )


def job_of(receipt: dict[str, Any], *, moved: bool) -> Job:
    """Return the job of a receipt: ended, or about to if its file was not ``moved``."""
    outcome = Outcome(receipt["outcome"])
    ended = dt.datetime.fromisoformat(receipt["ended_at"]).timestamp()
    data = {name: receipt[name] for name in _DATA if receipt.get(name) is not None}
    job = Job(
        id=receipt["job"],
        zone=receipt["zone"],
        collection=receipt["collection"],
        path=unquoted(receipt["path"]),
        status=Status.INDEXED,
        size=receipt["size"],
        mtime_ns=0,
        sha256=receipt["sha256"],
        doc_type=receipt["doc_type"],
        s3_key=receipt["s3_key"],
        attempts=receipt["attempts"],
        created_at=time_of(receipt["job"]),
        last_activity=ended,
        data=data,
        metadata={
            name: receipt[name] for name in ("retry_of", "given") if receipt.get(name)
        },
    )
    if not moved:
        return job
    return dataclasses.replace(
        job,
        status=Status.FAILED if outcome is Outcome.FAILED else Status.DONE,
        outcome=outcome,
        ended_at=ended,
        end_reason=receipt["reason"] or str(outcome),
        batch_id=receipt["batch"],
    )
