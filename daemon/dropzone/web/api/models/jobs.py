"""Jobs: lists of them, the journey of one, its text."""

from typing import Any

from pydantic import BaseModel

from dropzone.models import Outcome, Status


class Job(BaseModel):
    """One dropped file's journey, in short.

    ``created_at`` is when it was taken out of input/; when it came there is not known.
    """

    id: str
    zone: str
    collection: str
    path: str
    path_quoted: str
    status: Status
    outcome: Outcome | None
    size: int
    doc_type: str
    sha256: str | None
    created_at: float
    ended_at: float | None
    attempts: int
    error_step: str | None
    error_message: str | None
    end_reason: str | None
    what_to_do: str
    retry_at: float | None
    retried_as: str | None
    removed_at: float | None
    removed_by: str | None


class Jobs(BaseModel):
    """Jobs, the newest first; ``next`` is the cursor of the next page, if any."""

    jobs: list[Job]
    next: str | None


class Filters(BaseModel):
    """What jobs can be listed by, as it occurs."""

    zones: list[str]
    collections: list[str]
    types: list[str]


class Document(BaseModel):
    """What Postgres holds of a job's content."""

    id: int
    name: str
    collection: str
    status: str
    superseded: bool
    doc_type: str
    chunk_count: int
    notes: list[str]
    metadata: dict[str, Any]
    created_at: float


class Try(BaseModel):
    """A try that failed. ``next`` is waits (``until`` then) or fails."""

    at: float
    step: str
    error: str
    reason: str
    next: str
    until: float | None


class StepTimes(BaseModel):
    """When a step that went well began and ended, the last time it ran."""

    step: str
    began_at: float
    ended_at: float


class Journey(BaseModel):
    """All that is known of one job.

    ``seconds`` are of each step that went well, ``steps`` when that was, in the order
    of the file's way. ``tries`` are those that failed, the oldest first, twenty at
    most. ``given`` is what a person said of this file, and ``given_problem`` why that
    could not be read, if so. ``document_unknown`` says why the document cannot be told.
    """

    job: Job
    seconds: dict[str, float]
    steps: list[StepTimes]
    tries: list[Try]
    given: dict[str, str]
    given_problem: str
    mtime: float
    started_at: float | None
    last_activity: float
    s3_key: str | None
    error_class: str | None
    retry_of: str | None
    lies_in: str | None
    lies_in_quoted: str | None
    batch: str | None
    run_id: str | None
    run_url: str | None
    receipt: dict[str, Any] | None
    document: Document | None
    document_unknown: str


class Chunk(BaseModel):
    seq: int
    text: str
    page: int | None
    heading: str
    start: int
    end: int


class Chunks(BaseModel):
    """Chunks in their order; ``next`` is the cursor of the next page, if any."""

    document_id: int
    chunks: list[Chunk]
    next: int | None


class Link(BaseModel):
    """A link that anybody may use until ``expires_at``.

    ``problem`` says why it does not work just now, or for who asks, if that is known.
    """

    url: str
    expires_at: float
    problem: str


class Lying(BaseModel):
    """A file in input/ that is no job yet."""

    zone: str
    path: str
    path_quoted: str
    size: int
    state: str
    reason: str
    hint: str


class Found(BaseModel):
    jobs: list[Job]
    in_input: list[Lying]
