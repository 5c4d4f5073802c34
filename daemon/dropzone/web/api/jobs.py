"""Jobs: lists of them, the whole journey of one, its chunks, a link to its object."""

import ipaddress
import time
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import Field

from dropzone import describing, lookup, plain, queries, tries
from dropzone.errors import DropzoneError
from dropzone.journal import Wanted
from dropzone.lookup import Zones
from dropzone.models import Job, Outcome, Status, is_job_id
from dropzone.sessions import SessionPool
from dropzone.sessions.settings import without_userinfo
from dropzone.settings import Settings
from dropzone.text import clean
from dropzone.web.api import models, saving
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Given, Operation, Text
from dropzone.web.problems import Problem

_SQL = queries.load("dropzone", "sql/documents.sql")
_LONGEST_LINK = 24 * 3600
_PATIENCE_SECONDS = 4.0
_MOST_TIME = 253_402_300_000
Moment = Annotated[float, Field(ge=0, le=_MOST_TIME, allow_inf_nan=False)]
JobId = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    ),
]


class Listing(Given):
    """Which jobs, and where the page begins."""

    zone: Text | None = None
    state: Annotated[
        Status | Outcome | None, Field(description="A state or an outcome.")
    ] = None
    collection: Text | None = None
    text: Annotated[Text | None, Field(description="Part of the path.")] = None
    type: Annotated[Text | None, Field(description="Such as pdf.")] = None
    step: Annotated[Text | None, Field(description="Where it failed.")] = None
    reason: Annotated[
        Text | None, Field(description="Why it failed: the reason of a group.")
    ] = None
    open: Annotated[
        bool, Field(description="Only what failed and waits for a person.")
    ] = False
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    since: Annotated[Moment | None, Field(description="Taken since then.")] = None
    until: Annotated[Moment | None, Field(description="Taken before then.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[
        JobId | None, Field(description="What `next` of the page before says.")
    ] = None


class Paging(Given):
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None


class Query(Given):
    q: Annotated[
        Text, Field(description="An id or its end, a path, a name, or a SHA-256.")
    ]


class Expiry(Given):
    expires_seconds: Annotated[int, Field(ge=1, le=_LONGEST_LINK)] = 3600


def page(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return a page of jobs of one zone or all, the newest first."""
    query: Listing = ask.query
    if query.zone is not None:
        backend.zone_named(query.zone)
    chosen = lookup.state_named(query.state)
    wanted = Wanted(
        before=min(query.cursor or "g", _first_id(query.until) or "g"),
        after=_first_id(query.since),
        collection=query.collection,
        sha256=query.sha256,
        doc_type=query.type,
        step=query.step,
        reason=query.reason,
        text=query.text,
        open=query.open,
        **chosen,
    )
    found: list[Job] = []
    with Zones(backend.settings()) as zones:
        for zone, journal in zones.journals:
            if query.zone in {None, zone.name}:
                found += journal.listed(wanted, query.limit + 1)
    found.sort(key=lambda job: job.id, reverse=True)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return {"jobs": briefly(shown), "next": shown[-1].id if more else None}


def _first_id(moment: float | None) -> str:
    """Return what comes before every id that was made from that moment on."""
    if moment is None:
        return ""
    millis = f"{min(int(moment * 1000), 2**48 - 1):012x}"
    return f"{millis[:8]}-{millis[8:]}"


def briefly(jobs: list[Job]) -> list[dict[str, Any]]:
    """Return jobs as lists show them."""
    return [describing.told(job) for job in jobs]


def one(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return the whole journey of a job."""
    with Zones(backend.settings()) as zones:
        found = next(
            (f for f in zones.show(job_id(ask)) if f.job.id == job_id(ask)), None
        )
    if found is None:
        raise no_job()
    job = found.job
    document, unknown = _document(backend, job)
    lies_in = found.lies_in
    return {
        "job": briefly([job])[0],
        "seconds": job.data.get("seconds", {}),
        "steps": _steps(job),
        "tries": tries.of(job),
        "given": describing.given_of(job),
        "given_problem": describing.problem_of(job),
        "mtime": job.mtime_ns / 1e9,
        "started_at": job.started_at,
        "last_activity": job.last_activity,
        "s3_key": job.s3_key,
        "error_class": job.error_class,
        "retry_of": job.metadata.get("retry_of"),
        "lies_in": plain.of(lies_in),
        "lies_in_quoted": quote(lies_in) if lies_in is not None else None,
        "batch": job.batch_id,
        "run_id": found.run_id,
        "run_url": _run_url(backend.settings(), found.run_id),
        "receipt": found.receipt,
        "document": document,
        "document_unknown": unknown,
    }


def _steps(job: Job) -> list[dict[str, Any]]:
    # By their beginnings: a file that was changed goes through some steps again.
    spans = sorted(tries.times(job).items(), key=lambda item: item[1])
    return [{"step": s, "began_at": b, "ended_at": e} for s, (b, e) in spans]


def chunks(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return a page of the chunks of a job's document."""
    job = job_of(backend, ask)
    query: Paging = ask.query
    document = _document_of(backend, job)
    if document is None:
        raise Problem(
            404, "This job has no document.", "It has not been indexed, or it failed."
        )
    after = -1 if query.cursor is None else query.cursor
    wanted = [document["id"], after, query.limit + 1]
    rows = _rows(backend, _SQL["chunks_after"], wanted)
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return {
        "document_id": document["id"],
        "chunks": shown,
        "next": shown[-1]["seq"] if more else None,
    }


def link(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return a link by which anybody may read the object for a while."""
    job = job_of(backend, ask)
    if job.s3_key is None:
        raise Problem(409, "The file is not in S3 yet.", "Wait until it is stored.")
    seconds = ask.body.expires_seconds
    pool = backend.connected()
    url = pool.s3.presigned(
        job.s3_key, expires_seconds=seconds, disposition=saving.disposition(job.name)
    )
    return {
        "url": url,
        "expires_at": time.time() + seconds,
        "problem": _why_no_link(url, pool, ask),
    }


def _why_no_link(url: str, pool: SessionPool, ask: Ask) -> str:
    # Nothing is asked of S3 for a link, so it may well be away.
    known = pool.health(look=False).get("s3")
    if known is not None and known.healthy is False:
        return f"It does not work just now. S3 does not answer: {known.error}"
    asked_from: str = ask.request.scope["origin"].address
    if _is_this_machine(urlsplit(url).hostname) and not _is_this_machine(asked_from):
        return "It opens on the daemon's own machine only, where its S3 listens."
    return ""


def _is_this_machine(host: str | None) -> bool:
    try:
        parsed = ipaddress.ip_address(host or "")
    except ValueError:
        return host == "localhost"
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def find(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return the jobs and waiting files that these words mean."""
    words = clean(ask.query.q)
    if not words:
        return {"jobs": [], "in_input": []}
    with Zones(backend.settings()) as zones:
        jobs = [job for _, _, job in zones.jobs(words)]
        return {"jobs": briefly(jobs), "in_input": zones.lying(words, part=True)[:20]}


def job_id(ask: Ask) -> str:
    """Return the id in the path.

    Raises:
        Problem: it is none.

    """
    given = ask.path["job"]
    if not is_job_id(given):
        raise no_job()
    return given


def job_of(backend: Backend, ask: Ask) -> Job:
    """Return the job that the path names.

    Raises:
        Problem: there is none.

    """
    wanted = job_id(ask)
    with Zones(backend.settings()) as zones:
        for _, journal in zones.journals:
            if (job := journal.get(wanted)) is not None:
                return job
    raise no_job()


def no_job() -> Problem:
    return Problem(404, "There is no such job.", "GET /api/v1/lookup?q=NAME finds it.")


def _document(backend: Backend, job: Job) -> tuple[Mapping[str, Any] | None, str]:
    try:
        return _document_of(backend, job), ""
    except Problem as problem:
        return None, problem.detail
    except DropzoneError as error:
        # The journey is worth telling without it.
        return None, error.message


def _document_of(backend: Backend, job: Job) -> Mapping[str, Any] | None:
    if job.outcome is None or job.outcome is Outcome.FAILED:
        return None
    rows = _rows(backend, _SQL["of_job"], [job.id])
    return rows[0] if rows else None


def _rows(backend: Backend, statement: str, given: list[Any]) -> list[dict[str, Any]]:
    # Not repeated, and not for long: somebody waits for the page.
    postgres = backend.connected().postgres
    with postgres.connection(patience=_PATIENCE_SECONDS) as connection:
        return list(connection.execute(statement, given))


def _run_url(settings: Settings, run_id: str | None) -> str | None:
    uri = settings.mlflow.tracking_uri
    if run_id is None or uri is None or not uri.startswith(("http://", "https://")):
        return None
    return f"{without_userinfo(uri).rstrip('/')}/#/runs/{run_id}"


OPERATIONS = (
    Operation(
        *("GET", "/api/v1/jobs", "jobs"),
        "Jobs, the newest first; pages stay whole while files are dropped.",
        page,
        models.Jobs,
        query=Listing,
    ),
    Operation(
        *("GET", "/api/v1/jobs/{job}", "job"),
        "The whole journey of one file.",
        one,
        models.Journey,
        asks_servers=True,
    ),
    Operation(
        *("GET", "/api/v1/jobs/{job}/chunks", "chunks"),
        "The text that was indexed, in its pieces.",
        chunks,
        models.Chunks,
        query=Paging,
        asks_servers=True,
    ),
    Operation(
        *("POST", "/api/v1/jobs/{job}/link", "link"),
        "Make a link to the object in S3, which anybody may use for a while.",
        link,
        models.Link,
        body=Expiry,
    ),
    Operation(
        *("GET", "/api/v1/lookup", "lookup"),
        "Jobs and waiting files by name, hash or id.",
        find,
        models.Found,
        query=Query,
    ),
)
