"""What the journal takes and tells, beside jobs."""

from collections.abc import Mapping
from dataclasses import dataclass

from dropzone.models import ENDED, Outcome, Status

#: So much of a reason tells failures apart.
REASON_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in ``input/`` that cannot become a job as it is."""

    path: bytes
    reason: str
    hint: str
    first_seen: float = 0.0
    last_seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """The jobs of one MLflow run; ``asked_at`` is when its creation was last tried."""

    id: str
    state: str
    opened_at: float
    closed_at: float | None
    asked_at: float | None
    run_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are listed: those between two ids that fit all that is not None.

    ``text`` is part of the path, whatever the size of the letters; ``reason`` is what
    its first ``REASON_LENGTH`` characters say. ``open`` are those that failed and whose
    files still lie in ``failed/``.
    """

    before: str = "g"
    after: str = ""
    status: str | None = None
    outcome: str | None = None
    collection: str | None = None
    sha256: str | None = None
    doc_type: str | None = None
    step: str | None = None
    reason: str | None = None
    text: str | None = None
    open: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs by state and by outcome.

    Of the failed, ``failed`` wait for a person in ``failed/``, ``retried`` were put
    back, and the files of the others are ``gone``: set aside or removed.
    """

    states: Mapping[Status, int]
    outcomes: Mapping[Outcome, int]
    failed: int = 0
    retried: int = 0

    @property
    def under_way(self) -> int:
        return sum(n for state, n in self.states.items() if state not in ENDED)

    @property
    def gone(self) -> int:
        every = self.outcomes.get(Outcome.FAILED, 0)
        return max(0, every - self.failed - self.retried)
