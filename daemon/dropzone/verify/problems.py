"""What does not fit, and what mends it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Mend(StrEnum):
    """What ``--repair`` can do about a problem; NOTHING leaves it to a person.

    UPLOAD an object again, INDEX a document again, SETTLE which documents are shown,
    log a RUN again; RESCUE is done by the next start of the daemon.
    """

    NOTHING = "nothing"
    UPLOAD = "upload"
    INDEX = "index"
    SETTLE = "settle"
    RUN = "run"
    RESCUE = "rescue"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not fit.

    ``invariant`` is its number in docs/architecture.md, ``subject`` the file, job, key
    or run, ``command`` what a person types to mend it.
    """

    invariant: int
    subject: str
    problem: str
    command: str
    mend: Mend = Mend.NOTHING
    job: str = ""


@dataclass(slots=True)
class Summary:
    """What was looked at in one zone, and what was found. Counts are of this run."""

    zone: str
    deep: bool
    receipts: int = 0
    objects: int = 0
    documents: int = 0
    runs: int = 0
    under_way: int = 0
    no_longer_in_processed: int = 0
    removed_by_retention: int = 0
    unnamed_objects: int = 0
    problems: list[Problem] = field(default_factory=list)
    repaired: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        self.problems.append(problem)
