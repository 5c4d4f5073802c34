"""What was tried with a file in vain, and when each of its steps ran.

Both are kept in the job's data, and so are written by the commit that parks, fails or
moves the job anyway.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from dropzone.models import Job

_TRIES = "tries"
_TIMES = "times"
#: The oldest are dropped beyond so many.
MOST = 20
_LONGEST_REASON = 300


def with_try(
    job: Job, step: str, error: Exception, reason: str, *, until: float | None
) -> Job:
    """Return the job with this try noted: it waits ``until`` then, or fails (None)."""
    one = {
        "at": round(time.time(), 3),
        "step": step,
        "error": type(error).__name__,
        "reason": reason[:_LONGEST_REASON],
        "next": "fails" if until is None else "waits",
        "until": None if until is None else round(until, 3),
    }
    kept = [*of(job), one][-MOST:]
    return dataclasses.replace(job, data={**job.data, _TRIES: kept})


def of(job: Job) -> list[dict[str, Any]]:
    """Return the tries that failed, the oldest first."""
    return list(job.data.get(_TRIES, ()))


def timed(job: Job, step: str, began: float, ended: float) -> dict[str, Any]:
    """Return what its data gets when a step went well, at these times (epoch)."""
    # Short numbers: every job has them. A clock that was set back makes them negative.
    span = [round(moment - job.created_at, 3) for moment in (began, ended)]
    return {_TIMES: {**job.data.get(_TIMES, {}), step: span}}


def times(job: Job) -> Mapping[str, tuple[float, float]]:
    """Return when each step that went well began and ended the last time (epoch)."""
    return {
        step: (job.created_at + began, job.created_at + ended)
        for step, (began, ended) in job.data.get(_TIMES, {}).items()
    }
