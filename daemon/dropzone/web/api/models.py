"""What the operations answer, as values that describe themselves.

Times are seconds since 1970. A name is for people to read; ``..._quoted`` is the
same in bytes, percent-encoded.
"""

from typing import Any

from pydantic import BaseModel

from dropzone.models import Outcome, Status


class Me(BaseModel):
    """Who asks; ``csrf`` is what a browser repeats in X-CSRF-Token."""

    name: str
    role: str | None
    by: str
    csrf: str


class Pause(BaseModel):
    """A step that stands still, and when it is tried again.

    ``next`` says what will happen, in a sentence; its times are those of the daemon's
    machine.
    """

    step: str
    service: str
    since: float
    reason: str
    what_to_do: str
    tries_again_in_seconds: float | None
    by: str
    until: float | None
    next: str


class Finding(BaseModel):
    """Something in input/ that cannot be taken as it is."""

    path: str
    path_quoted: str
    reason: str
    hint: str
    first_seen: float
    last_seen: float


class Collection(BaseModel):
    """The ended jobs of a collection, and those under way.

    ``failed`` wait for a person in failed/. ``has_folder`` tells whether input/ has a
    folder for it now: it may be empty, and nothing else known of it. ``documents`` are
    what Postgres holds of a collection of this name, None while it cannot be asked.
    """

    zone: str
    collection: str
    files: int
    bytes: int
    outcomes: dict[str, int]
    failed: int
    under_way: int
    has_folder: bool
    documents: int | None
    last_drop_at: float | None


class Throughput(BaseModel):
    """What ended in each part of the time until ``until``, the oldest part first."""

    until: float
    step_seconds: float
    files: list[int]
    failed: list[int]
    bytes: list[int]


class RangeThroughput(Throughput):
    """The same of one zone, or of all; parts of the past do not change."""

    range: str
    zone: str | None


class Work(BaseModel):
    """What is worked on: a job, or of the step track a batch."""

    job: str | None
    batch: str | None
    path: str
    path_quoted: str
    since: float


class Step(BaseModel):
    """What a step is doing. ``longest`` has been worked on for the longest time.

    ``queued`` are files, of the step track batches. ``a_minute`` is the rate of the
    last minute, ``median_seconds`` the time of one of the last five.
    """

    step: str
    queued: int
    working: int
    longest: Work | None
    paused: list[Pause]
    done: int
    a_minute: float | None
    median_seconds: float | None
    mean_seconds: float | None


class InInput(BaseModel):
    """What was dropped and not taken yet, as the watcher last saw it."""

    files: int
    bytes: int | None
    oldest_at: float | None
    counted_at: float | None


class Zone(BaseModel):
    """How a zone is doing. ``well`` is false while a step is paused by a fault.

    ``failed`` waits for a person in failed/; of the others that failed, ``put_back``
    are tried anew, and ``gone`` were set aside or removed. ``oldest_waiting_at`` counts
    what lies in input/ too, ``oldest_unfinished_at`` only what was taken.
    """

    zone: str
    path: str
    well: bool
    sentence: str
    pid: int | None
    since: float | None
    states: dict[str, int]
    outcomes: dict[str, int]
    under_way: int
    failed: int
    put_back: int
    gone: int
    oldest_unfinished_at: float | None
    oldest_waiting_at: float | None
    in_input: InInput
    steps: list[Step]
    unlogged_batches: int
    queued: dict[str, int]
    watcher: dict[str, Any]
    paused: list[Pause]
    pauses_unknown: str
    refused: list[Finding]
    throughput: Throughput


class Zones(BaseModel):
    zones: list[Zone]


class Service(BaseModel):
    """Whether a service answered when it was last looked at; None: not yet."""

    service: str
    healthy: bool | None
    error: str | None
    checked_at: float | None
    latency_seconds: float | None


class ServiceTold(Service):
    """The same, looked at just now.

    ``since`` is when the looks first found it so. ``embedded`` is a server that the
    daemon runs by itself. ``holds_up`` are the steps that stand still for it.
    """

    since: float | None
    address: str
    embedded: bool
    holds_up: list[str]


class Services(BaseModel):
    services: list[ServiceTold]


class Overview(BaseModel):
    """All at once: what a page shows first.

    ``headline`` is the worst that can be said, ``word`` the same in a word or two.
    Its ``tone`` is good, warn (a person is waited for) or bad (something is broken).
    """

    version: str
    well: bool
    tone: str
    word: str
    headline: str
    sentence: str
    zones: list[Zone]
    services: list[Service]
    reload: dict[str, Any] | None


class Job(BaseModel):
    """One dropped file's journey, in short."""

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

    ``problem`` says why it does not work just now, if that is known.
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


class FailureGroup(BaseModel):
    """Failed files with one reason, and some of them, the newest first."""

    reason: str
    what_to_do: str
    step: str | None
    count: int
    oldest_at: float
    newest_at: float
    jobs: list[Job]


class Failures(BaseModel):
    """``count`` is of all; ``more`` is true when some are in no group shown."""

    count: int
    groups: list[FailureGroup]
    more: bool


class PutBack(BaseModel):
    """What became of a retry: the path in input/, or the problem.

    ``file`` is the path as it was dropped.
    """

    job: str | None
    named: str
    file: str | None
    path: str | None
    path_quoted: str | None
    problem: str


class PutBacks(BaseModel):
    put_back: list[PutBack]


class SetAside(BaseModel):
    """Where a failed file lies that nobody wants any more."""

    job: str
    place: str
    place_quoted: str


class OneAside(BaseModel):
    """What became of setting a file aside: where it lies now, or the problem."""

    job: str
    file: str | None
    place: str | None
    problem: str


class SetAsides(BaseModel):
    set_aside: list[OneAside]


class Hit(BaseModel):
    """A passage; ``marks`` are the start and end of matching words in the snippet."""

    document_id: int
    seq: int
    collection: str
    name: str
    path: str
    path_quoted: str
    zone: str
    job: str
    s3_key: str
    sha256: str
    page: int | None
    heading: str
    snippet: str
    marks: list[tuple[int, int]]
    score: float
    matched_by: str
    given: dict[str, str]


class Hits(BaseModel):
    """``model`` is what made the vectors; hash-v1 compares words, not meaning."""

    hits: list[Hit]
    model: str


class Collections(BaseModel):
    """``documents_unknown`` says why the documents cannot be counted, if so."""

    collections: list[Collection]
    documents_unknown: str


class CollectionTold(Collection):
    """One collection; ``folder`` is where files are dropped into it."""

    folder: str
    types: dict[str, int]
    documents_unknown: str


class Setting(BaseModel):
    """A setting in force; ``after_restart`` is what was read since, if it differs.

    ``line`` is that of the file that ``origin`` names, null for any other origin.
    """

    key: str
    value: str
    origin: str
    line: int | None
    after_restart: str | None


class SettingsTold(BaseModel):
    file: str | None
    settings: list[Setting]


class Diagnosis(BaseModel):
    checked: str
    verdict: str
    found: str
    what_to_do: str
    seconds: float | None


class Examination(BaseModel):
    """The last examination; ``state`` is never, running, done or failed."""

    state: str
    begun_at: float | None
    ended_at: float | None
    findings: list[Diagnosis]
    problem: str


class Changed(BaseModel):
    zone: str
    step: str
    by: str
    since: float
    until: float | None
    reason: str


class Held(BaseModel):
    changed: list[Changed]


class ReloadTold(BaseModel):
    """How the reload went. Where ``ok`` is false all settings stay as they were."""

    at: float
    ok: bool
    changed: list[str]
    needs_restart: list[str]
    problem: str
    what_to_do: str


class Index(BaseModel):
    """Where everything is."""

    version: str
    openapi: str
    links: list[str]
