"""Setting failed files aside: they leave failed/, and nothing is deleted."""

import contextlib
import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from dropzone import fsops
from dropzone.lookup import RETRIED, Zones
from dropzone.models import Job, Status
from dropzone.places import unquoted
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.jobs import JobId, job_of
from dropzone.web.api.operation import Ask, Given, Operation
from dropzone.web.problems import Problem
from dropzone.web_settings import Role

#: Where files go that nobody wants any more, below the zone.
_ASIDE = "state/set-aside"


class Chosen(Given):
    """Which failed files to set aside."""

    jobs: Annotated[list[JobId], Field(min_length=1, max_length=100)]


def set_aside(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Move a failed file out of failed/ to where it stays; nothing is deleted."""
    job = job_of(backend, ask)
    return {"job": job.id, "place": _set_aside(backend, ask, job)}


def set_aside_some(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Do the same with several; each that cannot be says why."""
    body: Chosen = ask.body
    with Zones(backend.settings()) as zones:
        found = [
            (
                job_id,
                next(filter(None, (j.get(job_id) for _, j in zones.journals)), None),
            )
            for job_id in dict.fromkeys(body.jobs)
        ]
    return {"set_aside": [_one(backend, ask, job_id, job) for job_id, job in found]}


def _one(backend: Backend, ask: Ask, job_id: str, job: Job | None) -> dict[str, Any]:
    told: dict[str, Any] = {"job": job_id, "file": None, "place": None, "problem": ""}
    if job is None:
        return {**told, "problem": "There is no such job."}
    told["file"] = job.path
    try:
        return {**told, "place": _set_aside(backend, ask, job)}
    except Problem as problem:
        return {**told, "problem": problem.detail}


def _set_aside(backend: Backend, ask: Ask, job: Job) -> bytes:
    if job.status is not Status.FAILED or job.end_reason == RETRIED or job.removed_at:
        raise Problem(
            409,
            "Only a failed file that still waits in failed/ can be set aside.",
            "See the job for what became of it.",
        )
    service = backend.serving(job.zone)
    place = unquoted(str(job.data["place"]))
    aside = f"{_ASIDE}/{job.id}".encode()
    try:
        _move(os.fsencode(service.zone.path), job, place, aside)
    except FileNotFoundError:
        raise Problem(
            409, "The file is not in failed/ any more.", "Somebody moved it by hand."
        ) from None
    except OSError as error:
        raise Problem(
            409, f"The file cannot be moved: {error.strerror}.", "See dropzone doctor."
        ) from error
    service.journal.note_removed({job.id: f"{ask.caller.name}, set aside"}, {})
    return aside + b"/" + os.path.basename(place)


def _move(root: bytes, job: Job, place: bytes, aside: bytes) -> None:
    folder, name = os.path.split(place)
    with contextlib.ExitStack() as stack:
        top = stack.enter_context(fsops.opened(os.open(root, fsops.DIRECTORY)))
        source = fsops.open_directory(top, b"/".join(filter(None, [b"failed", folder])))
        stack.callback(os.close, source)
        os.stat(name, dir_fd=source, follow_symlinks=False)
        target = fsops.make_directories(top, aside, 0o700)
        stack.callback(os.close, target)
        fsops.rename_new(source, name, target, name)
        if reason := job.data.get("reason_file"):
            beside = os.path.basename(os.fsencode(reason))
            with contextlib.suppress(OSError):
                fsops.rename_new(source, beside, target, beside)
        os.fsync(target)
        os.fsync(source)


OPERATIONS = (
    Operation(
        *("POST", "/api/v1/jobs/{job}/set-aside", "set_aside"),
        f"Move a failed file to {_ASIDE}/, where it stays; nothing is deleted.",
        set_aside,
        models.SetAside,
        Role.OPERATE,
        body=Given,
    ),
    Operation(
        *("POST", "/api/v1/set-aside", "set_aside_some"),
        f"Move failed files to {_ASIDE}/; each that cannot be says why.",
        set_aside_some,
        models.SetAsides,
        Role.OPERATE,
        body=Chosen,
    ),
)
