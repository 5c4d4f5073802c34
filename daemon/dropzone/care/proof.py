"""The proof that a file of the zone may go: what it was lies in S3 and Postgres."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropzone import queries
from dropzone.care.leaving import Changed, Leaving, Seen
from dropzone.errors import NotFound
from dropzone.journal import Journal
from dropzone.models import Job, Outcome
from dropzone.places import unquoted
from dropzone.readiness import Signature
from dropzone.sessions.objects import ObjectInfo, base64_of
from dropzone.sessions.postgres import PostgresSession
from dropzone.sessions.s3 import S3Session

_SQL = queries.load("dropzone", "sql/care.sql")
# The same bytes under another name may have had text to read: then there is more.
_STATUS_OF = {
    Outcome.INDEXED: {"indexed"},
    Outcome.STORED_ONLY: {"stored_only", "indexed"},
    Outcome.EMPTY: {"empty", "indexed"},
    Outcome.DUPLICATE: {"indexed", "stored_only", "empty"},
}
Receipt = Mapping[str, Any]
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job whose file is due, and the setting that says so."""

    job: Job
    rule: str

    @property
    def area(self) -> str:
        return str(self.job.data.get("area", ""))

    @property
    def place(self) -> bytes:
        return unquoted(str(self.job.data.get("place", "")))


@dataclass(frozen=True, slots=True)
class Proven:
    """What was proven of a candidate. ``seen`` is None if the file is gone already.

    ``stored`` tells how S3 was asked; "" means that no copy is there.
    """

    candidate: Candidate
    seen: Seen | None
    stored: str = ""


@dataclass(frozen=True, slots=True)
class Unproven:
    """Why a candidate stays."""

    candidate: Candidate
    reason: str


class Prover:
    """Proves in groups, since receipts and Postgres are asked for many at once."""

    def __init__(
        self,
        journal: Journal,
        leaving: Leaving,
        s3: S3Session,
        postgres: PostgresSession,
        *,
        failed_last_copy: bool,
    ) -> None:
        """Take ``failed_last_copy``: a failed file may go that is nowhere else."""
        self._journal = journal
        self._leaving = leaving
        self._s3 = s3
        self._postgres = postgres
        self._last_copy = failed_last_copy
        self._logged: set[str] = set()

    def prove(
        self, group: Sequence[Candidate], told: Mapping[str, Receipt]
    ) -> list[Proven | Unproven]:
        """Return what is known of each; ``told`` are the receipts of all of them.

        Raises:
            ServiceUnavailable: S3, Postgres or the disk cannot answer now.

        """
        ids = [candidate.job.id for candidate in group]
        rows = self._postgres.query(_SQL["committed"], [ids])
        committed = {row["job"]: row for row in rows}
        return [
            self._one(c, told.get(c.job.id), committed.get(c.job.id)) for c in group
        ]

    def _one(
        self, candidate: Candidate, receipt: Receipt | None, row: Receipt | None
    ) -> Proven | Unproven:
        reason = self._unrecorded(candidate.job, receipt) or _uncommitted(receipt, row)
        if reason or receipt is None:
            return Unproven(candidate, reason)
        try:
            return self._of_file(candidate, receipt)
        except Changed as changed:
            return Unproven(candidate, str(changed))

    def _of_file(self, candidate: Candidate, receipt: Receipt) -> Proven | Unproven:
        """Look at the file and its object; what is cheap to ask comes first."""
        area, place = candidate.area, candidate.place
        there = self._leaving.peek(area, place)
        if there is None:
            return Proven(candidate, None)
        if reason := _looks_changed(candidate.job, receipt, there):
            return Unproven(candidate, reason)
        key = receipt["s3_key"]
        info = None if key is None else self._s3.head(key)
        if reason := self._unstored(candidate.job, receipt, info):
            return Unproven(candidate, reason)
        seen = self._leaving.look(area, place)
        if seen is None:
            return Proven(candidate, None)
        # A file that failed before it was read has no hash.
        if receipt["sha256"] and seen.digest.sha256 != receipt["sha256"]:
            told = "was changed: its hash is not that of its receipt"
            return Unproven(candidate, told)
        return self._confirmed(candidate, seen, info)

    def _unrecorded(self, job: Job, receipt: Receipt | None) -> str:
        if receipt is None:
            return "has no receipt"
        if receipt["outcome"] != job.outcome:
            return f"ended as {job.outcome}, and its receipt says {receipt['outcome']}"
        if job.batch_id not in self._logged:
            batch = self._journal.batch(job.batch_id or "")
            if batch is None or batch.state != "logged":
                return "its MLflow run is not logged yet"
            self._logged.add(batch.id)
        return ""

    def _unstored(self, job: Job, receipt: Receipt, info: ObjectInfo | None) -> str:
        """Return why S3 does not stand for the file, as far as a HEAD tells."""
        failed = job.outcome is Outcome.FAILED
        if receipt["s3_key"] is None:
            if failed and self._last_copy:
                return ""
            asks = " (retention.failed_last_copy)" if failed else ""
            return f"is the last copy: it was never stored in S3{asks}"
        if info is None:
            return f"its object {receipt['s3_key']} is missing in S3"
        if info.size != receipt["size"]:
            return f"its object {info.key} has {info.size} bytes in S3"
        return ""

    def _confirmed(
        self, candidate: Candidate, seen: Seen, info: ObjectInfo | None
    ) -> Proven | Unproven:
        if info is None:
            return Proven(candidate, seen, "")
        sha256 = seen.digest.sha256
        if info.sha256 == base64_of(bytes.fromhex(sha256)):
            return Proven(candidate, seen, "sha256")
        if info.etag in seen.digest.etags:
            return Proven(candidate, seen, "etag")
        # Encrypted with a key of one's own, or stored in other parts: read it.
        if self._read_back(info.key) == sha256:
            return Proven(candidate, seen, "read")
        return Unproven(candidate, f"its object {info.key} has other bytes in S3")

    def _read_back(self, key: str) -> str:
        with tempfile.TemporaryDirectory(prefix="dropzone-") as folder:
            try:
                copy = self._s3.download(key, Path(folder) / "object")
            except NotFound:
                return ""
            with copy.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()


def _uncommitted(receipt: Receipt | None, row: Receipt | None) -> str:
    """Return what Postgres lacks of a job, or an empty text."""
    if row is None:
        return "Postgres has no delivery of it"
    if receipt is None or row["outcome"] != receipt["outcome"]:
        return f"Postgres says that it ended as {row['outcome']}"
    outcome = Outcome(row["outcome"])
    return "" if outcome is Outcome.FAILED else _wrong_document(outcome, receipt, row)


def _wrong_document(outcome: Outcome, receipt: Receipt, row: Receipt) -> str:
    same = (row["sha256"], row["collection"])
    if same != (receipt["sha256"], receipt["collection"]):
        return "its document is not in Postgres"
    if row["status"] not in _STATUS_OF[outcome]:
        return f"its document is {row['status']} in Postgres, not {outcome}"
    if row["chunks"] != row["chunk_count"]:
        return f"its document has {row['chunks']} of {row['chunk_count']} chunks"
    return ""


def _looks_changed(job: Job, receipt: Receipt, there: Signature) -> str:
    """Return what shows that somebody changed the file since it was processed."""
    if there.size != receipt["size"]:
        return "was changed: its size is not that of its receipt"
    # What was made again of the receipts does not know it; archives and other file
    # systems keep whole seconds only.
    if job.mtime_ns and there.mtime_ns // _SECOND != job.mtime_ns // _SECOND:
        return "was changed: its time is not that of the dropped file"
    return ""
