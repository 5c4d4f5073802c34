"""What failed, by its reason, and trying it again."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from dropzone import put_back
from dropzone.journal import REASON_LENGTH, Journal
from dropzone.lookup import Zones
from dropzone.models import Job
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.jobs import JobId, briefly, job_of
from dropzone.web.api.operation import Ask, Given, Operation, Text
from dropzone.web.problems import Problem
from dropzone.web_settings import Role

_MOST_GROUPS = 100
_SHOWN = 20


class Retrying(Given):
    """Which failed files to try again."""

    jobs: Annotated[list[JobId], Field(min_length=1, max_length=100)]


class Alike(Given):
    """Of those that failed: with this reason, in this step; all without any."""

    reason: Text | None = None
    step: Text | None = None


def groups(backend: Backend, _ask: Ask) -> Mapping[str, Any]:
    """Return the failed files that wait for a person, grouped by reason."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    count = 0
    with Zones(backend.settings()) as zones:
        for _, journal in zones.journals:
            count += journal.rows("failed_open")[0]["jobs"]
            for group in _groups(journal):
                key = group["reason"], group["step"]
                _join(found.setdefault(key, group), group)
    ordered = sorted(found.values(), key=lambda group: -group["count"])
    told = [_shown(group) for group in ordered[:_MOST_GROUPS]]
    more = count > sum(group["count"] for group in told)
    return {"count": count, "groups": told, "more": more}


def _groups(journal: Journal) -> Iterator[dict[str, Any]]:
    limit = _MOST_GROUPS * _SHOWN
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for row in journal.rows("failure_groups", most=_SHOWN, limit=limit):
        group = found.setdefault(
            (row["reason"], row["step"]),
            {
                **{name: row[name] for name in ("reason", "step")},
                **{name: row[name] for name in ("oldest_at", "newest_at")},
                "count": row["jobs"],
                "jobs": [],
            },
        )
        # A running daemon may have dropped it since.
        if (job := journal.get(row["id"])) is not None:
            group["jobs"].append(job)
    yield from found.values()


def _join(group: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add to a group what another zone has of it."""
    if group is not more:
        group["count"] += more["count"]
        group["jobs"] += more["jobs"]
        group["oldest_at"] = min(group["oldest_at"], more["oldest_at"])
        group["newest_at"] = max(group["newest_at"], more["newest_at"])


def _shown(group: Mapping[str, Any]) -> dict[str, Any]:
    jobs = sorted(group["jobs"], key=lambda job: job.id, reverse=True)[:_SHOWN]
    hints = (str(job.data.get("what_to_do", "")) for job in jobs)
    return {**group, "what_to_do": next(hints, ""), "jobs": briefly(jobs)}


def retry(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Put failed files back into input/, as the command does."""
    body: Retrying = ask.body
    with Zones(backend.settings()) as zones:
        results = list(_put_back(backend, zones, body.jobs))
    return {"put_back": [_told(result) for result in results]}


def retry_all(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Put back every failed file that waits for a person, or those alike."""
    body: Alike = ask.body

    def wanted(job: Job) -> bool:
        reason = (job.end_reason or "")[:REASON_LENGTH]
        return body.reason in {None, reason} and body.step in {None, job.error_step}

    with Zones(backend.settings()) as zones:
        results = list(put_back.all_failed(zones, wanted))
    return {"put_back": [_told(result) for result in results]}


def retry_one(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Put one failed file back into input/."""
    job = job_of(backend, ask)
    with Zones(backend.settings()) as zones:
        (result,) = _put_back(backend, zones, [job.id])
    if result.problem:
        told = result.problem
        told = f"I{told[1:]}" if told.startswith("its ") else f"It {told}"
        raise Problem(409, f"{told}.", "See the job for what became of it.")
    return _told(result)


def _put_back(
    backend: Backend, zones: Zones, names: list[str]
) -> Iterator[put_back.PutBack]:
    # The daemon's own sessions stay open.
    return put_back.named(zones, names, lambda _: nullcontext(backend.connected()))


def _told(result: put_back.PutBack) -> dict[str, Any]:
    return {
        "job": result.job.id if result.job is not None else None,
        "named": result.named,
        "file": result.job.path if result.job is not None else None,
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
        asks_servers=True,
    ),
    Operation(
        *("POST", "/api/v1/failures/retry", "retry_all"),
        "Put all failed files back into input/, or those of one reason and step; each "
        "that cannot be says why.",
        retry_all,
        models.PutBacks,
        Role.OPERATE,
        body=Alike,
        asks_servers=True,
    ),
    Operation(
        *("POST", "/api/v1/jobs/{job}/retry", "retry_one"),
        "Put one failed file back into input/.",
        retry_one,
        models.PutBack,
        Role.OPERATE,
        body=Given,
        asks_servers=True,
    ),
)
