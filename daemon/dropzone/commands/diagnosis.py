"""What ``dropzone doctor`` says about one thing it looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """A warning can wait; a problem keeps dropzone from working."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding; ``seconds`` is the time of a round trip where one was made."""

    checked: str
    verdict: Verdict
    found: str
    what_to_do: str = ""
    seconds: float | None = None


def ok(checked: str, found: str, seconds: float | None = None) -> Diagnosis:
    return Diagnosis(checked, Verdict.OK, found, seconds=seconds)


def warning(checked: str, found: str, what_to_do: str) -> Diagnosis:
    return Diagnosis(checked, Verdict.WARNING, found, what_to_do)


def problem(checked: str, found: str, what_to_do: str) -> Diagnosis:
    return Diagnosis(checked, Verdict.PROBLEM, found, what_to_do)
