"""The first step: turns ready files into claimed jobs."""

import dataclasses
import errno
import os
import pwd
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dropzone import describing, disk, log, tries
from dropzone.claiming import Claim
from dropzone.extract import doc_type_of
from dropzone.journal import Finding, Journal, move
from dropzone.listing import Entry, Unreadable
from dropzone.measures import Measures, ZoneMeasures
from dropzone.models import Job, JobIds, Status
from dropzone.places import collection_of
from dropzone.room import Room
from dropzone.stage import Inbox
from dropzone.text import display
from dropzone.zones import ZoneFolders

#: Files that are claimed with one commit of the journal and one sync.
CLAIM_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of ready files: how many are jobs now, and what stood in the way.

    ``unsettled`` are paths that changed under our hands: look at them again.
    """

    jobs: int
    unsettled: tuple[bytes, ...]
    findings: tuple[Finding, ...]


class Intake:
    """Claims files for one zone; called by the zone's watcher only."""

    def __init__(
        self,
        zone: str,
        folders: ZoneFolders,
        journal: Journal,
        out: Inbox,
        room: Room,
        measures: ZoneMeasures | None = None,
    ) -> None:
        self._zone = zone
        self._folders = folders
        self._journal = journal
        self._out = out
        self._room = room
        self._measures = measures or Measures().zone(zone)
        self._ids = JobIds()
        # Renamed already, but not yet known to be on disk and in the journal.
        self._claimed: list[tuple[Job, Claim]] = []
        # In the journal already, but their files could not be renamed.
        self._unclaimed: list[Job] = []
        self._log = log.get("intake").bind(zone=zone)

    def take(self, ready: Sequence[Entry]) -> Taken:
        """Claim up to ``CLAIM_TOGETHER`` files durably and hand them on. May run twice.

        Raises:
            ServiceUnavailable: the disk is full, nearly full or failing (``disk``);
                what was not claimed stays where it is.

        """
        try:
            return self._take(ready)
        finally:
            self._measures.doing.clear("claim")

    def _take(self, ready: Sequence[Entry]) -> Taken:
        begun = time.monotonic()
        self._finish(begun)
        fitting, waiting = self._room.sort(ready)
        jobs = [(self._job(entry), entry) for entry in fitting]
        self._journal.add([job for job, _ in jobs])
        missed: list[tuple[Job, OSError]] = []
        for job, entry in jobs:
            claim = Claim(job.id, entry.path, entry.signature)
            self._measures.doing.begin("claim", job.id, entry.path)
            try:
                claimed = self._claim(claim, job)
            except OSError as error:
                missed.append((job, error))
                self._unclaimed.append(job)
            else:
                self._claimed.append((claimed, claim))
        taken = self._finish(begun)
        for _, reason in missed:
            if reason.errno in disk.ERRORS:
                raise disk.fault(reason)
        unsettled, findings = _sorted(missed)
        return Taken(taken, unsettled, (*findings, *waiting))

    def _claim(self, claim: Claim, job: Job) -> Job:
        described = [job]

        def taken(fd: int) -> None:
            described[0] = describing.described(job, fd)

        there = self._folders.claim(claim, taken)
        data = {**described[0].data, "ctime_ns": there.ctime_ns}
        return move(described[0], Status.CLAIMED, data=data)

    def _finish(self, begun: float) -> int:
        """Make renamed files durable, journal them, and hand them on."""
        if self._unclaimed:
            self._journal.forget(self._unclaimed)
            self._unclaimed.clear()
        if not self._claimed:
            return 0
        self._folders.sync_claims([claim for _, claim in self._claimed])
        jobs = [_timed(self._again(job)) for job, _ in self._claimed]
        self._journal.save(jobs)
        self._claimed.clear()
        self._measures.step("claim", begun, [job.id for job in jobs])
        self._out.put(jobs)
        for job in jobs:
            self._log.debug("claimed", job=job.id, path=display(job.path))
        return len(jobs)

    def _job(self, entry: Entry) -> Job:
        now = time.time()
        name = os.path.basename(entry.path)
        return Job(
            id=self._ids.next(),
            zone=self._zone,
            collection=collection_of(entry.path),
            path=entry.path,
            status=Status.CLAIMING,
            size=entry.signature.size,
            mtime_ns=entry.signature.mtime_ns,
            device=entry.signature.device,
            inode=entry.signature.inode,
            doc_type=doc_type_of(name),
            created_at=now,
            started_at=now,
            last_activity=now,
        )

    def _again(self, job: Job) -> Job:
        """Tie a file that was put back from ``failed/`` to the job that failed."""
        failed = self._journal.failed_like(job)
        if failed is None:
            return job
        data = {**failed.data, "retried_as": job.id}
        retried = move(failed, Status.FAILED, end_reason="retried", data=data)
        self._journal.save([retried])
        if reason := failed.data.get("reason_file"):
            self._folders.remove_aside("failed", os.fsencode(reason), failed.id)
        metadata = {**job.metadata, "retry_of": failed.id}
        return dataclasses.replace(job, metadata=metadata)


def _timed(job: Job) -> Job:
    times = tries.timed(job, "claim", job.created_at, time.time())
    return dataclasses.replace(job, data={**job.data, **times})


def _sorted(
    missed: Sequence[tuple[Job, OSError]],
) -> tuple[tuple[bytes, ...], tuple[Finding, ...]]:
    unsettled, findings = [], []
    for job, error in missed:
        if isinstance(error, BlockingIOError):
            unsettled.append(job.path)
        elif not isinstance(error, FileNotFoundError):
            findings.append(obstacle(job.path, error))
    return tuple(unsettled), tuple(findings)


def obstacle(path: bytes, error: OSError) -> Finding:
    """Return the finding for a file that cannot be taken because of ``error``."""
    if isinstance(error, PermissionError):
        user, name = _user(), shlex.quote(display(path))
        folder = shlex.quote(display(os.path.dirname(path)) or ".")
        return Finding(
            path,
            f"may not be read or moved by the daemon's user {user}",
            f"Give that user rights on the file and its folder; in input/, as root: "
            f"chown {user} {name} {folder}; chmod u+rw {name}; chmod u+rwx {folder}",
        )
    if error.errno == errno.EXDEV:
        return Finding(
            path,
            "lies on another mount than the zone, so it cannot be renamed out",
            "Do not mount anything inside input/; copy the file in instead.",
        )
    reason = error.strerror or type(error).__name__
    return Finding(path, f"cannot be taken: {reason}", "Look at it with ls -la.")


def unseen(what: Unreadable) -> Finding:
    """Return the finding for what may not even be looked at."""
    name = shlex.quote(display(what.path) or ".")
    return Finding(
        what.path,
        f"cannot be looked into: {what.reason}",
        f"If the daemon's user {_user()} lacks the rights on the folder; in input/, "
        f"as root: chown {_user()} {name}; chmod u+rwx {name}",
    )


def _user() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
