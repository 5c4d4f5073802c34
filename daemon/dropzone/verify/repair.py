"""Mends what is safe to mend: from what the zone and S3 still hold."""

import hashlib
import mimetypes
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

from dropzone.documents import Documents
from dropzone.errors import DocumentRejected, DropzoneError, ParserDied
from dropzone.index import Indexer
from dropzone.journal import Journal
from dropzone.models import IndexRequest, Job, Outcome
from dropzone.sessions import SessionPool
from dropzone.sessions.objects import PART_SIZE, digest
from dropzone.track import describe
from dropzone.verify import database
from dropzone.verify.problems import Mend, Problem, Summary


class Repair:
    """Mends the problems of one zone; what cannot be mended stays a problem."""

    def __init__(
        self,
        zone: Path,
        journal: Journal,
        pool: SessionPool,
        indexer: Indexer,
        documents: Documents,
        params: Mapping[str, str],
    ) -> None:
        """Take the journal open for writing (a daemon may have it open as well).

        ``params`` are those that every run of this configuration gets.
        """
        self._zone = zone
        self._journal = journal
        self._pool = pool
        self._indexer = indexer
        self._documents = documents
        self._params = params
        self._menders: dict[Mend, Callable[[Problem], bool]] = {
            Mend.UPLOAD: self._upload,
            Mend.INDEX: self._index,
            Mend.SETTLE: self._settle,
            Mend.RUN: self._run,
        }

    def mend(self, summary: Summary) -> None:
        """Move what is mended from ``problems`` to ``repaired``."""
        left: list[Problem] = []
        for problem in summary.problems:
            mender = self._menders.get(problem.mend)
            try:
                done = mender is not None and mender(problem)
            except DropzoneError as error:
                told = f"{problem.problem}; it could not be mended: {error.message}"
                left.append(replace(problem, problem=told, command=error.hint))
                continue
            (summary.repaired if done else left).append(problem)
        summary.problems[:] = left

    def _upload(self, problem: Problem) -> bool:
        job = self._job(problem)
        file = self._file(job)
        if job.removed_at is not None:
            raise DropzoneError(
                f"The file was removed by {job.removed_by}, after S3 had proven it.",
                hint="Restore the object from a backup, or drop the file again.",
            )
        if file is None or job.s3_key is None:
            raise DropzoneError(
                "The file is not in the zone any more.",
                hint="Drop it again, if you have a copy.",
            )
        guess, _ = mimetypes.guess_type(os.fsdecode(job.name), strict=False)
        kind = guess or "application/octet-stream"
        told: dict[str, str | bytes] = {"sha256": job.sha256 or "", "name": job.name}
        with file.open("rb", buffering=0) as opened:
            found = digest(opened)
            opened.seek(0)
            if found.size < PART_SIZE:
                self._pool.s3.put(
                    job.s3_key,
                    opened.read(PART_SIZE),
                    sha256=found.sha256,
                    content_type=kind,
                    metadata=told,
                )
            else:
                self._pool.s3.put_file(
                    job.s3_key, opened, found, content_type=kind, metadata=told
                )
        return True

    def _index(self, problem: Problem) -> bool:
        job = self._job(problem)
        if job.outcome is Outcome.FAILED:
            self._documents.record_failures([job])
            return True
        request = IndexRequest.of(job, self._file(job))
        try:
            write = self._indexer.prepare(request)
        except (DocumentRejected, ParserDied) as error:
            raise DropzoneError(f"It cannot be read now: {error.message}") from error
        self._documents.restore(write, job.outcome or Outcome.INDEXED)
        return True

    def _settle(self, _problem: Problem) -> bool:
        database.settle(self._pool.postgres)
        return True

    def _run(self, problem: Problem) -> bool:
        batch_id = problem.subject
        jobs = list(self._journal.jobs_of_batch(batch_id))
        runs = self._pool.mlflow.find_runs(batch_id)
        ended = [run for run in runs if run.info.status == "FINISHED"]
        if ended and any(run.data.metrics.get("files") != len(jobs) for run in ended):
            self._pool.mlflow.discard(batch_id)
        run = describe(batch_id, jobs, self._params)
        self._journal.log_batch(batch_id, self._pool.mlflow.log_batch(**run))
        return True

    def _job(self, problem: Problem) -> Job:
        job = self._journal.get(problem.job)
        if job is None:
            raise DropzoneError(
                "The journal does not know its job.",
                hint="dropzone run --once    (writes receipts into the journal)",
            )
        return job

    def _file(self, job: Job) -> Path | None:
        """Return where the file lies, if it still holds what was dropped."""
        place = unquote_to_bytes(str(job.data.get("place", "")))
        file = self._zone / str(job.data.get("area", "")) / os.fsdecode(place)
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(file, flags), "rb") as opened:
                same = hashlib.file_digest(opened, "sha256").hexdigest() == job.sha256
        except OSError:
            return None
        return file if same else None
