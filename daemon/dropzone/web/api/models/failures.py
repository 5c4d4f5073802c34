"""What failed, and what became of it."""

from pydantic import BaseModel

from dropzone.web.api.models.jobs import Job


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
