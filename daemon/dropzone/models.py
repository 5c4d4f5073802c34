"""The words of the program as values: jobs, outcomes, what the index step is asked."""

import os
import secrets
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self


class Status(StrEnum):
    """The states of a job, drawn in docs/architecture.md."""

    CLAIMING = "claiming"
    CLAIMED = "claimed"
    STORED = "stored"
    INDEXED = "indexed"
    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


ENDED = (Status.DONE, Status.FAILED)
UNDER_WAY = tuple(status for status in Status if status not in ENDED)


class Outcome(StrEnum):
    """How a finished job ended."""

    INDEXED = "indexed"
    DUPLICATE = "duplicate"
    STORED_ONLY = "stored_only"
    EMPTY = "empty"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """One dropped file's journey; the fields are the columns of the journal.

    ``path`` is the file's path below ``input/`` as bytes, exactly as dropped. Times
    are seconds since the epoch; ``mtime_ns`` is nanoseconds. ``data`` holds step
    results, ``metadata`` what describes the file.
    """

    id: str
    zone: str
    collection: str
    path: bytes
    status: Status
    size: int
    mtime_ns: int
    device: int = 0
    inode: int = 0
    sha256: str | None = None
    doc_type: str = ""
    s3_key: str | None = None
    outcome: Outcome | None = None
    attempts: int = 0
    resume_status: Status | None = None
    error_step: str | None = None
    error_class: str | None = None
    error_message: str | None = None
    retry_at: float | None = None
    created_at: float = 0.0
    started_at: float | None = None
    last_activity: float = 0.0
    ended_at: float | None = None
    end_reason: str | None = None
    version: int = 0
    lease_owner: str | None = None
    lease_token: str | None = None
    batch_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: When retention removed the file from the zone, and by which rule.
    removed_at: float | None = None
    removed_by: str | None = None

    @property
    def name(self) -> bytes:
        """The file's own name: the last component of ``path``."""
        return os.path.basename(self.path)


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """What the index step needs to know about one stored file, wherever it runs.

    ``local_path`` names the file on this host; a worker on another machine gets
    None and reads the object ``s3_key`` instead.
    """

    job_id: str
    zone: str
    collection: str
    path: bytes
    sha256: str
    size: int
    doc_type: str
    s3_key: str
    local_path: Path | None = None
    #: How the file looked when it was stored: device, inode, size, mtime and ctime.
    seen: tuple[int, ...] | None = None
    #: What a person said of the file, text by name.
    given: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, job: Job, local_path: Path | None, seen: tuple[int, ...] | None = None
    ) -> Self:
        """Return the request for a stored job."""
        return cls(
            job_id=job.id,
            zone=job.zone,
            collection=job.collection,
            path=job.path,
            sha256=job.sha256 or "",
            size=job.size,
            doc_type=job.doc_type,
            s3_key=job.s3_key or "",
            local_path=local_path,
            seen=seen,
            given=job.metadata.get("given", {}),
        )


@dataclass(frozen=True, slots=True)
class IndexOutcome:
    """What the index step did with one request, committed in Postgres.

    ``error`` is set instead when the document could not be indexed; the caller
    decides by its class (rejected, parser died, service unavailable).
    """

    job_id: str
    outcome: Outcome | None = None
    document_id: int | None = None
    chunks: int = 0
    notes: tuple[str, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document's text.

    ``start`` and ``end`` are character offsets into the document's clean text,
    ``page`` counts from 1 where the format has pages, ``heading`` is the path of
    headings above the piece.
    """

    seq: int
    text: str
    start: int
    end: int
    page: int | None = None
    heading: str = ""


#: What makes a document one: its collection and its content's SHA-256.
DocumentKey = tuple[str, str]
_FLOAT16_BYTES = 2


@dataclass(frozen=True, slots=True)
class DocumentWrite:
    """What is known about one stored file once its text has been read.

    ``vectors`` holds one vector of ``dims`` little-endian float16 numbers for each
    chunk, one after the other. ``status`` is ``indexed`` exactly when there are
    chunks, unless the document is ``known``: then it was not read again, and the write
    only adds a delivery to it. ``metadata`` may hold anything JSON can; control
    characters are removed.
    """

    request: IndexRequest
    status: Literal["indexed", "stored_only", "empty"]
    chunks: Sequence[Chunk] = ()
    vectors: bytes = b""
    dims: int = 0
    metadata: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    known: bool = False

    def __post_init__(self) -> None:
        if len(self.vectors) != len(self.chunks) * self.dims * _FLOAT16_BYTES:
            raise ValueError("vectors must hold one vector for each chunk")

    @property
    def key(self) -> DocumentKey:
        """What makes a document one: its collection and its content."""
        return self.request.collection, self.request.sha256


class JobIds:
    """Makes UUIDv7 strings (RFC 9562) that never go backwards within a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> str:
        stamp = time.time_ns() // 1_000_000
        with self._lock:
            # 48 bits of milliseconds, then 12 of a counter: ids sort as made.
            value = max(self._last + 1, stamp << 12)
            self._last = value
        millis, counter = value >> 12, value & 0xFFF
        tail = secrets.randbits(62)
        number = millis << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | tail
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_job_id(text: str) -> bool:
    """Return whether ``text`` looks like what ``JobIds`` makes."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def time_of(job_id: str) -> float:
    """Return the time of creation that a UUIDv7 carries, in epoch seconds."""
    return int(job_id.replace("-", "")[:12], 16) / 1000
