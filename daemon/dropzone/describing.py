"""Keeps with a job what a person said of its file (see ``dropzone.given``)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dropzone import given, plain
from dropzone.errors import DropzoneError
from dropzone.models import Job

#: The note of a file whose metadata cannot be read; the file goes on without.
UNREADABLE = "metadata_unreadable"
_PROBLEM = "metadata_problem"


def described(job: Job, fd: int) -> Job:
    """Return the job with what is kept with its open file; never raises for it."""
    try:
        found = given.read(fd)
    except (DropzoneError, OSError) as error:
        data = {**job.data, "notes": [UNREADABLE], _PROBLEM: str(error)}
        return dataclasses.replace(job, data=data)
    if not found:
        return job
    return dataclasses.replace(job, metadata={**job.metadata, "given": found})


def told(job: Job) -> dict[str, Any]:
    """Return a job as commands and API tell it."""
    return {
        **plain.of(job),
        "what_to_do": job.data.get("what_to_do", ""),
        "retried_as": job.data.get("retried_as"),
    }


def given_of(job: Job) -> Mapping[str, str]:
    """Return what a person said of the file."""
    told: Mapping[str, str] = job.metadata.get("given", {})
    return told


def problem_of(job: Job) -> str:
    """Return why what is kept with the file could not be read, or nothing."""
    return str(job.data.get(_PROBLEM, ""))


def notes_with(job: Job, notes: tuple[str, ...]) -> list[str]:
    """Return the notes of an indexed document, and that of the claim."""
    own = [UNREADABLE] if _PROBLEM in job.data else []
    return [*notes, *own]
