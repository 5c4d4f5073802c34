"""Puts failed files back into ``input/``; the daemon ties them to their first job."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dropzone import fsops
from dropzone.errors import DropzoneError
from dropzone.journal import Journal
from dropzone.lookup import RETRIED, Zones, lies_in
from dropzone.models import Job, Status
from dropzone.places import unquoted
from dropzone.put import Putter, Source, drop_in
from dropzone.sessions import SessionPool
from dropzone.settings import Settings

#: Lends sessions for as long as they are needed.
Sessions = Callable[[Settings], AbstractContextManager[SessionPool]]
_PAGE = 500


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a failed job: its file's ``path`` in input, or a ``problem``."""

    job: Job | None
    named: str
    path: bytes | None = None
    problem: str = ""


def named(zones: Zones, names: Iterable[str], sessions: Sessions) -> Iterator[PutBack]:
    """Put back the files of the jobs that these words name.

    What retention removed is fetched from S3 by ``sessions``.
    """
    for words in names:
        jobs = zones.jobs(words)
        failed = [(zone, job) for zone, _, job in jobs if _is_open(job)]
        if not jobs:
            yield PutBack(None, words, problem="there is no such job")
        elif not failed:
            yield PutBack(jobs[0][2], words, problem=_why_not(jobs[0][2]))
        for zone, job in failed:
            if job.removed_at is not None:
                yield _fetch(sessions(zones.settings), zone.path, job, words)
            else:
                yield _put_back(zone.path, job, words)


def all_failed(
    zones: Zones, wanted: Callable[[Job], bool] = lambda _: True
) -> Iterator[PutBack]:
    """Put back every wanted file that failed and was not put back yet."""
    for zone, journal in zones.journals:
        # All at once: a running daemon changes them while we go.
        for job in filter(wanted, list(_failed(journal))):
            yield _put_back(zone.path, job, job.id)


def _failed(journal: Journal) -> Iterator[Job]:
    after = ""
    while page := journal.with_status(Status.FAILED, _PAGE, after):
        yield from (job for job in page if _is_open(job) and job.removed_at is None)
        after = page[-1].id


def _is_open(job: Job) -> bool:
    return job.status is Status.FAILED and job.end_reason != RETRIED


def _why_not(job: Job) -> str:
    if job.end_reason == RETRIED:
        return f"was put back already, as job {job.data.get('retried_as', '')}"
    if job.status is Status.DONE:
        return "did not fail: its file is in processed/"
    return f"has not ended yet: it is {job.status}"


def _put_back(root: Path, job: Job, words: str) -> PutBack:
    if lies_in(job, root) is None:
        return PutBack(job, words, problem="its file is not in failed/ any more")
    try:
        return PutBack(job, words, path=_rename(root, job))
    except OSError as error:
        reason = f"cannot be put back: {error.strerror or type(error).__name__}"
        return PutBack(job, words, problem=reason)


def _fetch(
    sessions: AbstractContextManager[SessionPool], root: Path, job: Job, words: str
) -> PutBack:
    """Put in from S3 what retention removed; it becomes a job of its own."""
    if job.s3_key is None:
        told = f"its file was removed by {job.removed_by}, and was the last copy"
        return PutBack(job, words, problem=told)
    try:
        with (
            sessions as pool,
            tempfile.TemporaryDirectory(prefix="dropzone-") as folder,
            Putter(root) as putter,
        ):
            copy = pool.s3.download(job.s3_key, Path(folder) / "object")
            source = Source(os.fsencode(copy), job.path, job.size)
            return PutBack(job, words, path=putter.put(source, lambda _: None).path)
    except (DropzoneError, OSError) as error:
        told = error.message if isinstance(error, DropzoneError) else str(error)
        return PutBack(job, words, problem=f"cannot be fetched from S3: {told}")


def _rename(root: Path, job: Job) -> bytes:
    place = unquoted(job.data["place"])
    folder, name = os.path.split(place)
    with contextlib.ExitStack() as stack:
        failed, target = (
            stack.enter_context(fsops.opened(os.open(root / area, fsops.DIRECTORY)))
            for area in ("failed", "input")
        )
        source = stack.enter_context(fsops.opened(fsops.open_directory(failed, folder)))
        path = drop_in(source, name, target, job.path)
        os.fsync(source)
        if reason := job.data.get("reason_file"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.fsencode(reason), dir_fd=failed)
    return path
