"""How everything is doing: what stands still, what waits, what ended."""

from typing import Any

from pydantic import BaseModel


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
    """Whether a service answered when it was last looked at.

    None: nobody has looked yet; ``note`` then says when somebody will.
    """

    service: str
    healthy: bool | None
    error: str | None
    checked_at: float | None
    latency_seconds: float | None
    note: str


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
    Its ``tone`` is good, warn (it waits for a person) or bad (broken, or files failed).
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
