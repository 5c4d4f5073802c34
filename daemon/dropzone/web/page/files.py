"""All files: the list, and the search for one of them."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from dropzone.models import Outcome, Status
from dropzone.text import clean
from dropzone.web.api import models
from dropzone.web.page import links
from dropzone.web.page.desk import View, Visit
from dropzone.web.problems import Problem

_PAGE = 50
#: What the filter ``state`` takes, and what that is called.
STATES = (
    ("", "any state"),
    (Outcome.INDEXED, "indexed"),
    (Outcome.FAILED, "failed"),
    (Status.WAITING, "waiting to be tried again"),
    (Status.CLAIMED, "claimed"),
    (Status.STORED, "stored in S3"),
    (Outcome.DUPLICATE, "duplicate"),
    (Outcome.STORED_ONLY, "stored only"),
    (Outcome.EMPTY, "empty"),
    (Status.CLAIMING, "being claimed"),
    (Status.DONE, "done"),
)
#: How long ago a file was taken at most, in seconds: nobody knows when it came.
WITHIN = (
    ("", "any time"),
    ("3600", "the last hour"),
    ("86400", "the last day"),
    ("604800", "the last 7 days"),
    ("2592000", "the last 30 days"),
)
_LEAST_OF_ID = 6
# Those with a field of their own, and those that links from other pages set.
_FILTERS = (
    *("zone", "state", "collection", "type", "within"),
    *("text", "step", "reason", "open"),
)


def _files(visit: Visit) -> Mapping[str, Any] | Response:
    words, cursor = clean(visit.given("q")), visit.given("cursor")
    chosen = {name: visit.given(name) for name in _FILTERS}
    found = None
    if words and not any(chosen.values()):
        found = _looked_up(visit, words)
    if found is not None and not cursor and (job := _the_one(found, words)):
        return links.to(visit.request.scope["prefix"], f"/files/{job.id}")
    page = visit.ask("jobs", query=_query(words, cursor, chosen))
    exact = found.jobs if found is not None else []
    known = {job.id for job in exact}
    return {
        "words": words,
        "chosen": chosen,
        "is_first": not cursor,
        "exact": exact if not cursor else [],
        "in_input": found.in_input if found is not None and not cursor else [],
        "jobs": [job for job in page.jobs if job.id not in known],
        "following": _address({"q": words, **chosen, "cursor": page.next})
        if page.next
        else "",
        "cleared": _address({"q": words, **chosen}),
        **_choices(visit.ask("filters"), chosen),
        "inputs": [f"{zone.path}/input" for zone in visit.ask("overview").zones],
        "states": STATES,
        "spans": WITHIN,
    }


def _looked_up(visit: Visit, words: str) -> models.Found:
    found: models.Found = visit.ask("lookup", query={"q": words})
    return found


def _the_one(found: models.Found, words: str) -> models.Job | None:
    """Return the only file that the words name exactly: an id, a hash, a whole path."""
    if len(found.jobs) != 1 or found.in_input:
        return None
    (job,) = found.jobs
    lower = words.lower()
    is_its_end = len(lower) >= _LEAST_OF_ID and job.id.endswith(lower)
    if lower in {job.id, job.sha256} or is_its_end or words == job.path:
        return job
    return job if words.startswith("/") else None


def _query(words: str, cursor: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return what is asked of the operation; it checks all but the time."""
    given = {**chosen, "text": words or chosen["text"], "cursor": cursor}
    within = given.pop("within")
    query: dict[str, Any] = {name: value for name, value in given.items() if value}
    for name, known in (("state", STATES), ("within", WITHIN)):
        if chosen[name] not in dict(known):
            raise Problem(
                422,
                f"Files are not listed by the {name} {chosen[name][:100]!r}.",
                "Choose one that is offered.",
            )
    if within:
        query["since"] = time.time() - int(within)
    return {**query, "limit": _PAGE}


def _choices(
    known: models.Filters, chosen: Mapping[str, str]
) -> dict[str, list[tuple[str, str]]]:
    """Return what can be chosen: what occurs, and what was asked for."""

    def offered(every: str, found: list[str], asked: str) -> list[tuple[str, str]]:
        names = sorted({*found, asked} - {""})
        return [("", every), *((name, name) for name in names)]

    return {
        "zones": offered("all zones", known.zones, chosen["zone"]),
        "collections": offered(
            "all collections", known.collections, chosen["collection"]
        ),
        "types": offered("all types", known.types, chosen["type"]),
    }


def _address(given: Mapping[str, str]) -> str:
    query = urlencode({name: value for name, value in given.items() if value})
    return f"/files?{query}" if query else "/files"


VIEWS = (View("/files", "files.html", _files, "files"),)
