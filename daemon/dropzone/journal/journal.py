"""Jobs, findings and batches of one zone: reading from any thread, grouped writes."""

import dataclasses
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dropzone import queries
from dropzone.errors import DropzoneError, ZoneError
from dropzone.journal import schema
from dropzone.journal.pattern import containing, containing_shown, folded_path
from dropzone.journal.values import Batch, Counts, Finding, Wanted
from dropzone.journal.writer import Statement, Unit, Writer, translated
from dropzone.models import Job, Outcome, Status
from dropzone.text import forms

_SQL = queries.load("dropzone.journal", "statements.sql")


class _Shrink(Unit[None]):
    __slots__ = ()

    def work(self, connection: sqlite3.Connection) -> None:
        # Each row it yields is a page given back.
        connection.execute(_SQL["shrink"]).fetchall()


class Journal:
    """The journal of one zone; safe to share between threads."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the journal, making it where ``create`` allows.

        Raises:
            ZoneError: it is not there, or of an older version and not to be made.
            ConfigurationError: it is of a newer version.
            JournalDamaged: SQLite cannot read it.
            ServiceUnavailable: the disk does not take it (``disk``).

        """
        self._path = path
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        if not create and not path.exists():
            raise ZoneError(
                f"There is no journal {path}.",
                hint="Start the daemon once: dropzone run.",
            )
        try:
            if create:
                self._writer = Writer(schema.prepare(path))
            else:
                schema.check_made(self._reader(), path)
        except sqlite3.Error as error:
            self.close()
            raise translated(error) from error
        except DropzoneError:
            self.close()
            raise

    def close(self) -> None:
        """End the writer and close every connection."""
        if self._writer is not None:
            self._writer.close()
        with self._lock:
            for reader in self._readers:
                reader.close()
            self._readers.clear()

    # Writing: each call returns when it is durable.

    def add(self, jobs: Sequence[Job]) -> None:
        """Insert new jobs."""
        self._write(Statement(_SQL["add"], [_row(job) for job in jobs]))

    def save(self, jobs: Sequence[Job]) -> None:
        """Write moved jobs (see ``move``), all or none.

        Raises:
            JobConflict: one of them is not at the version it was read at.

        """
        if jobs:
            rows = [_row(job) for job in jobs]
            self._write(Statement(_SQL["save"], rows, must_match=True))

    def save_ended(self, jobs: Sequence[Job], marks: Mapping[str, str]) -> None:
        """Write ended jobs, their open batches, and how far the receipts are known."""
        now = time.time()
        batches = dict.fromkeys(job.batch_id for job in jobs)
        names = [{"name": name, "value": value} for name, value in marks.items()]
        self._write(
            Statement(_SQL["open_batch"], [{"id": id_, "now": now} for id_ in batches]),
            Statement(_SQL["save"], [_row(job) for job in jobs], must_match=True),
            Statement(_SQL["mark"], names),
        )

    def restore(self, jobs: Sequence[Job]) -> None:
        """Insert jobs that only their receipts tell of, and open their batches."""
        batches = dict.fromkeys(job.batch_id for job in jobs if job.batch_id)
        now = time.time()
        retried = [
            {"id": job.metadata["retry_of"], "again": job.id}
            for job in jobs
            if "retry_of" in job.metadata
        ]
        self._write(
            Statement(_SQL["open_batch"], [{"id": id_, "now": now} for id_ in batches]),
            Statement(_SQL["add"], [_row(job) for job in jobs]),
            Statement(_SQL["retried"], retried),
        )

    def forget(self, jobs: Sequence[Job]) -> None:
        """Remove jobs whose claim did not happen."""
        self._write(Statement(_SQL["forget"], [{"id": job.id} for job in jobs]))

    def mark(self, name: str, value: str) -> None:
        self._write(Statement(_SQL["mark"], [{"name": name, "value": value}]))

    def record_findings(self, found: Iterable[Finding], gone: Iterable[bytes]) -> None:
        """Insert or refresh findings, and drop those that no longer hold."""
        now = time.time()
        rows = [
            {"path": f.path, "reason": f.reason, "hint": f.hint, "now": now}
            for f in found
        ]
        drop = [{"path": path} for path in gone]
        if rows or drop:
            self._write(Statement(_SQL["find"], rows), Statement(_SQL["unfind"], drop))

    def close_batch(self, batch_id: str | None) -> None:
        """Close one open batch, or with None every open one."""
        name = "close_batch" if batch_id else "close_open_batches"
        self._write(Statement(_SQL[name], [{"id": batch_id, "now": time.time()}]))

    def ask_batch(self, batch_id: str) -> None:
        """Note that the creation of this batch's run is being tried now."""
        self._write(
            Statement(_SQL["ask_batch"], [{"id": batch_id, "now": time.time()}])
        )

    def log_batch(self, batch_id: str, run_id: str) -> None:
        row = {"id": batch_id, "run_id": run_id, "now": time.time()}
        self._write(Statement(_SQL["log_batch"], [row]))

    def fail_batch(self, batch_id: str, error: str) -> None:
        self._write(Statement(_SQL["fail_batch"], [{"id": batch_id, "error": error}]))

    # Care: what retention does (``dropzone.care``).

    def note_removed(self, jobs: Mapping[str, str], marks: Mapping[str, str]) -> None:
        """Write that the files of these jobs were removed, and by which rule.

        ``marks`` tell how far the records of removals are known.
        """
        now = time.time()
        rows = [{"id": id_, "rule": rule, "at": now} for id_, rule in jobs.items()]
        names = [{"name": name, "value": value} for name, value in marks.items()]
        self._write(Statement(_SQL["removed"], rows), Statement(_SQL["mark"], names))

    def drop(self, jobs: Sequence[Job]) -> None:
        """Remove the rows of ended jobs; the counts keep them."""
        rows = [{"id": job.id} for job in jobs]
        batches = [{"id": id_} for id_ in {job.batch_id for job in jobs}]
        self._write(
            Statement(_SQL["count_dropped"], rows),
            Statement(_SQL["drop"], rows),
            Statement(_SQL["drop_batch"], batches),
        )

    def shrink(self) -> None:
        """Give some free pages back to the file system."""
        if self._writer is not None:
            self._writer.run(_Shrink())

    def kept(self, status: Status, after: Job | None, limit: int) -> list[Job]:
        """Return ended jobs whose files were not removed, the longest ended first."""
        where = (after.ended_at or 0.0, after.id) if after else (0.0, "")
        values = {"status": status, "ended_at": where[0], "id": where[1]}
        return list(self._jobs("kept", **values, limit=limit))

    def ended_before(self, moment: float, after: str, limit: int) -> list[Job]:
        """Return jobs that ended before ``moment``, in the order of their ids."""
        # An id begins with the time of its claim, which comes before the end.
        until = f"{max(0, int(moment * 1000)) + 1:012x}"
        until = f"{until[:8]}-{until[8:]}"
        values = {"before": moment, "after": after, "until": until}
        return list(self._jobs("ended_before", **values, limit=limit))

    # Reading: from any thread, also while another process writes.

    def get(self, job_id: str) -> Job | None:
        return next(self._jobs("get", id=job_id), None)

    def find(self, words: str, limit: int = 20) -> list[Job]:
        """Return jobs, newest first, that these words name.

        Tried in turn: the whole id, SHA-256, path, file name, and the id's start or
        end, since a short name such as ``face`` may be the end of some id.
        """
        text = words.encode("utf-8", "surrogateescape")
        lower = words.lower()
        hexadecimal = bool(lower) and set(lower) <= set("0123456789abcdef-")
        asks: list[tuple[str, dict[str, Any]]] = [
            ("by_path", {"path": text}),
            ("by_name", {"tail": b"/" + text}),
        ]
        if hexadecimal:
            asks = [
                ("get", {"id": lower}),
                ("by_sha256", {"sha256": lower}),
                *asks,
                ("by_id_start", {"start": lower}),
                ("by_id_end", {"end": lower}),
            ]
        for name, values in asks:
            if found := list(self._jobs(name, **{"limit": limit, **values})):
                return found
        return []

    def with_status(self, status: Status, limit: int, after: str = "") -> list[Job]:
        """Return up to ``limit`` jobs in this state, oldest first."""
        return list(self._jobs("with_status", status=status, after=after, limit=limit))

    def newest(
        self, limit: int, *, status: str | None = None, outcome: str | None = None
    ) -> list[Job]:
        if status is not None:
            return list(self._jobs("newest_with_status", status=status, limit=limit))
        if outcome is not None:
            return list(self._jobs("newest_with_outcome", outcome=outcome, limit=limit))
        return list(self._jobs("newest", limit=limit))

    def listed(self, wanted: Wanted, limit: int) -> list[Job]:
        """Return the jobs that fit, the newest first."""
        values = {**dataclasses.asdict(wanted), "shown": None, "collections": None}
        if wanted.collection is not None:
            values["collections"] = json.dumps(forms(wanted.collection))
        if wanted.text is not None:
            values["text"] = containing(wanted.text)
            values["shown"] = containing_shown(wanted.text)
        return list(self._jobs("listed", **values, limit=limit))

    def unfinished(self) -> Iterator[Job]:
        return self._jobs("unfinished")

    def due(self, now: float, limit: int) -> list[Job]:
        return list(self._jobs("due", now=now, limit=limit))

    def failed_like(self, job: Job) -> Job | None:
        """Return the failed job whose very file this is, if it was put back."""
        found = self._jobs(
            "failed_with_inode",
            inode=job.inode,
            device=job.device,
            size=job.size,
            mtime_ns=job.mtime_ns,
        )
        return next(found, None)

    def counts(self) -> Counts:
        """Return how many jobs are in each state, and ended in each way."""
        states: Counter[Status] = Counter()
        outcomes: Counter[Outcome] = Counter()
        for row in self._rows("counts"):
            states[Status(row["status"])] += row["jobs"]
            if row["outcome"]:
                outcomes[Outcome(row["outcome"])] += row["jobs"]
        failed = retried = 0
        if outcomes[Outcome.FAILED]:
            failed = self._rows("failed_open")[0]["jobs"]
            retried = self._rows("failed_retried")[0]["jobs"]
        return Counts(states, outcomes, failed, retried)

    def rows(self, name: str, /, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of one of the named read statements."""
        return [dict(row) for row in self._rows(name, **values)]

    def findings(self, limit: int = 1000) -> list[Finding]:
        return [Finding(**dict(row)) for row in self._rows("findings", limit=limit)]

    def closed_batches(self, limit: int = 16) -> list[Batch]:
        return [Batch(**dict(row)) for row in self._rows("closed_batches", limit=limit)]

    def batch(self, batch_id: str) -> Batch | None:
        return next(
            (Batch(**dict(row)) for row in self._rows("batch", id=batch_id)), None
        )

    def batches_waiting(self) -> int:
        return int(self._rows("batches_waiting")[0]["batches"])

    def jobs_of_batch(self, batch_id: str) -> Iterator[Job]:
        return self._jobs("jobs_of_batch", id=batch_id)

    def marks(self) -> dict[str, str]:
        return {row["name"]: row["value"] for row in self._rows("marks")}

    def check(self) -> None:
        """Read all of it once; takes 2 seconds for a million jobs.

        Raises:
            JournalDamaged: SQLite finds a fault.

        """
        found = self._rows("check")[0][0]
        if found != "ok":
            raise translated(sqlite3.DatabaseError(found))

    def _write(self, *statements: Statement) -> None:
        if self._writer is None:
            raise ZoneError("The journal was opened for reading only.")
        self._writer.write(*(s for s in statements if s.rows))

    def _jobs(self, name: str, /, **values: Any) -> Iterator[Job]:
        return (_job(row) for row in self._rows(name, **values))

    def _rows(self, name: str, /, **values: Any) -> list[sqlite3.Row]:
        try:
            return self._reader().execute(_SQL[name], values).fetchall()
        except sqlite3.DatabaseError as error:
            raise translated(error) from error

    def _reader(self) -> sqlite3.Connection:
        reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = schema.connect(self._path)
            reader.execute("PRAGMA query_only = ON")
            self._local.reader = reader
            with self._lock:
                self._readers.append(reader)
        return reader


def _row(job: Job) -> dict[str, Any]:
    row = {name: getattr(job, name) for name in Job.__dataclass_fields__}
    row["data"] = json.dumps(row["data"], ensure_ascii=True)
    row["metadata"] = json.dumps(row["metadata"], ensure_ascii=True)
    row["folded"] = folded_path(job.path)
    return row


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    del values["folded"]
    values["status"] = Status(values["status"])
    for name, kind in (("outcome", Outcome), ("resume_status", Status)):
        values[name] = kind(values[name]) if values[name] else None
    values["data"] = json.loads(values["data"])
    values["metadata"] = json.loads(values["metadata"])
    return Job(**values)
