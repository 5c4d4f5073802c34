"""What an error means for a job. Pure: a decision is a value, others act on it."""

import dataclasses
import random
import time
from dataclasses import dataclass
from typing import Any

from dropzone import tries
from dropzone.errors import DocumentRejected, DropzoneError, ParserDied, SourceChanged
from dropzone.models import Job, Status
from dropzone.text import clean

# Where a job's data counts these: they have a limit of their own.
_DEATHS = "parser_deaths"


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a job may be tried, and the pauses between, in seconds."""

    unknown_attempts: int = 5
    parser_deaths: int = 3
    first_pause: float = 1.0
    longest_pause: float = 300.0


@dataclass(frozen=True, slots=True)
class Again:
    """Try the job again from ``resume`` after ``seconds``."""

    resume: Status
    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Move the file to ``failed/`` with this sentence and what to do about it."""

    reason: str
    hint: str


def tried(job: Job, step: str, error: Exception) -> Job:
    """Return the job with this attempt counted and its error noted."""
    data = dict(job.data)
    if isinstance(error, ParserDied):
        data[_DEATHS] = data.get(_DEATHS, 0) + 1
    notes = failure_notes(step, error)
    return dataclasses.replace(job, attempts=job.attempts + 1, data=data, **notes)


def judge(job: Job, error: Exception, limits: Limits) -> Again | Fail:
    """Return what to do with a job (as ``tried`` returns it) after ``error``."""
    if isinstance(error, DocumentRejected):
        return Fail(describe(error), error.hint)
    hint = error.hint if isinstance(error, DropzoneError) else ""
    deaths = job.data.get(_DEATHS, 0)
    count, most = job.attempts - deaths, limits.unknown_attempts
    if isinstance(error, ParserDied):
        count, most = deaths, limits.parser_deaths
    resume = Status.CLAIMED if isinstance(error, SourceChanged) else job.status
    if count >= most:
        times = f"tried {job.attempts} times" if job.attempts > 1 else "tried once"
        return Fail(f"{describe(error)} ({times})", hint or _LOOK)
    doubled = limits.first_pause * 2.0 ** min(job.attempts - 1, 60)
    pause = min(doubled, limits.longest_pause)
    return Again(resume, pause * random.uniform(0.75, 1.25))  # noqa: S311 jitter


def noted(
    job: Job, step: str, error: Exception, verdict: Again | Fail
) -> tuple[Job, float | None]:
    """Return the job with this try in its history, and when the next one is due."""
    if isinstance(verdict, Fail):
        return tries.with_try(job, step, error, describe(error), until=None), None
    until = time.time() + verdict.seconds
    return tries.with_try(job, step, error, describe(error), until=until), until


def describe(error: Exception) -> str:
    """Return the error as a sentence; one of ours is a sentence already."""
    if isinstance(error, DropzoneError):
        return clean(error.message)
    # It may quote a name that no database takes.
    return clean(f"Unexpected {type(error).__name__}: {error}")


def failure_notes(step: str, error: Exception) -> dict[str, Any]:
    """Return the columns of the journal that tell what went wrong."""
    return {
        "error_step": step,
        "error_class": type(error).__name__,
        "error_message": describe(error)[:2000],
    }


_LOOK = "See the daemon's log for this job, then: dropzone retry JOB."
