"""What failed, by its reason; trying it again, or setting it aside."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from dropzone import fsops, put_back
from dropzone.journal import Journal
from dropzone.lookup import RETRIED, Zones
from dropzone.models import Job, Status
from dropzone.places import unquoted
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.jobs import JobId, briefly, job_of
from dropzone.web.api.operation import Ask, Given, Operation
from dropzone.web.problems import Problem
from dropzone.web_settings import Role

_MOST_GROUPS = 100
_SHOWN = 20
#: Where files go that nobody wants any more, below the zone.
_ASIDE = "state/set-aside"


class Retrying(Given):
    """Which failed files to try again."""

    jobs: Annotated[list[JobId], Field(min_length=1, max_length=100)]


class _Group:
    """The failed files of one reason, in all zones."""

    def __init__(self) -> None:
        self.count = 0
        self.newest_at = 0.0
        self.jobs: list[Job] = []

    def newest(self) -> list[Job]:
        return sorted(self.jobs, key=lambda job: job.id, reverse=True)[:_SHOWN]


def groups(backend: Backend, _ask: Ask) -> Mapping[str, Any]:
    """Return the failed files that wait for a person, grouped by reason."""
    found: dict[tuple[str, str, str | None], _Group] = {}
    count = 0
    with Zones(backend.settings()) as zones:
        for _, journal in zones.journals:
            count += journal.rows("failed_open")[0]["jobs"]
            _add(found, journal)
    ordered = sorted(found.items(), key=lambda item: -item[1].count)[:_MOST_GROUPS]
    told = [
        {
            "reason": reason,
            "what_to_do": hint,
            "step": step,
            "count": group.count,
            "newest_at": group.newest_at,
            "jobs": briefly(group.newest()),
        }
        for (reason, hint, step), group in ordered
    ]
    return {
        "count": count,
        "groups": told,
        "more": count > sum(group.count for _, group in ordered),
    }


def _add(found: dict[tuple[str, str, str | None], _Group], journal: Journal) -> None:
    """Take the failed files of one zone to those with the same reason."""
    rows = journal.rows("failed_by_reason", shown=_SHOWN, limit=_MOST_GROUPS * _SHOWN)
    counted: set[tuple[str, str, str | None]] = set()
    for row in rows:
        key = row["reason"], row["hint"], row["step"]
        group = found.setdefault(key, _Group())
        if key not in counted:
            counted.add(key)
            group.count += row["jobs"]
            group.newest_at = max(group.newest_at, row["newest_at"] or 0.0)
        if (job := journal.get(row["id"])) is not None:
            group.jobs.append(job)


def retry(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Put failed files back into input/, as the command does."""
    body: Retrying = ask.body
    with Zones(backend.settings()) as zones:
        results = list(_put_back(backend, zones, body.jobs))
    return {"put_back": [_told(result) for result in results]}


def retry_all(backend: Backend, _ask: Ask) -> Mapping[str, Any]:
    """Put every failed file back into input/ that waits for a person."""
    with Zones(backend.settings()) as zones:
        results = list(put_back.all_failed(zones))
    return {"put_back": [_told(result) for result in results]}


def retry_one(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Put one failed file back into input/."""
    job = job_of(backend, ask)
    with Zones(backend.settings()) as zones:
        (result,) = _put_back(backend, zones, [job.id])
    if result.problem:
        raise Problem(409, f"The file {result.problem}.", "See the job.")
    return _told(result)


def set_aside(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Move a failed file out of failed/ to where it stays; nothing is deleted."""
    job = job_of(backend, ask)
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
    lies = aside + b"/" + os.path.basename(place)
    return {"job": job.id, "place": lies}


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


def _put_back(
    backend: Backend, zones: Zones, names: list[str]
) -> Iterator[put_back.PutBack]:
    # The daemon's own sessions stay open.
    return put_back.named(zones, names, lambda _: nullcontext(backend.connected()))


def _told(result: put_back.PutBack) -> dict[str, Any]:
    return {
        "job": result.job.id if result.job is not None else None,
        "named": result.named,
        "path": result.path,
        "path_quoted": quote(result.path) if result.path is not None else None,
        "problem": result.problem,
    }


OPERATIONS = (
    Operation(
        *("GET", "/api/v1/failures", "failures"),
        "Failed files that wait for a person, by reason, the most frequent first.",
        groups,
        models.Failures,
    ),
    Operation(
        *("POST", "/api/v1/retry", "retry"),
        "Put failed files back into input/; each that cannot be says why.",
        retry,
        models.PutBacks,
        Role.OPERATE,
        body=Retrying,
    ),
    Operation(
        *("POST", "/api/v1/failures/retry", "retry_all"),
        "Put all failed files back into input/; each that cannot be says why.",
        retry_all,
        models.PutBacks,
        Role.OPERATE,
        body=Given,
    ),
    Operation(
        *("POST", "/api/v1/jobs/{job}/retry", "retry_one"),
        "Put one failed file back into input/.",
        retry_one,
        models.PutBack,
        Role.OPERATE,
        body=Given,
    ),
    Operation(
        *("POST", "/api/v1/jobs/{job}/set-aside", "set_aside"),
        f"Move a failed file to {_ASIDE}/, where it stays; nothing is deleted.",
        set_aside,
        models.SetAside,
        Role.OPERATE,
        body=Given,
    ),
)
