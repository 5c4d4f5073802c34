"""One file: its whole way, what belongs to it, and what can be done with it."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from dropzone.models import ENDED, Status
from dropzone.web.api import models
from dropzone.web.page import links, way
from dropzone.web.page.desk import View, Visit
from dropzone.web.page.forms import Fields, Form
from dropzone.web.page.messages import Message
from dropzone.web.problems import Problem
from dropzone.web_settings import Role

_CHUNKS = 50
_LINK_SECONDS = 3600


def _journey(visit: Visit) -> Mapping[str, Any]:
    journey: models.Journey = visit.ask("job", path=_path(visit))
    stops = way.stops(journey, _zone(visit, journey.job.zone))
    tone, sentence, hint = way.lead(journey, stops)
    job = journey.job
    waits = job.status is Status.FAILED and not job.retried_as and not job.removed_at
    return {
        "journey": journey,
        "job": job,
        "stops": stops,
        "tone": tone,
        "sentence": sentence,
        "hint": hint,
        "is_open": waits and journey.lies_in is not None,
        "is_gone": waits and journey.lies_in is None,
        "has_ended": job.status in ENDED,
        "goes_on": job.status not in ENDED or waits or stops[-1].tone != "done",
        "receipt": _dumped(journey.receipt),
    }


def _path(visit: Visit) -> Mapping[str, str]:
    return {"job": visit.request.path_params["job"]}


def _zone(visit: Visit, name: str) -> models.Zone | None:
    zones: list[models.Zone] = visit.ask("overview").zones
    return next((zone for zone in zones if zone.zone == name), None)


def _dumped(receipt: Mapping[str, Any] | None) -> str:
    return "" if receipt is None else json.dumps(receipt, indent=2)


def _text(visit: Visit) -> Mapping[str, Any]:
    cursor = visit.given("cursor")
    journey: models.Journey = visit.ask("job", path=_path(visit))
    query = {"limit": _CHUNKS, **({"cursor": cursor} if cursor else {})}
    chunks: models.Chunks = visit.ask("chunks", path=_path(visit), query=query)
    return {
        "job": journey.job,
        "document": journey.document,
        "chunks": chunks.chunks,
        "next": chunks.next,
        "is_first": not cursor,
    }


def _file(visit: Visit) -> Response:
    answer: Response = visit.ask("file", path=_path(visit))
    return answer


def _ask_aside(visit: Visit) -> Mapping[str, Any]:
    """Return what the question needs before files are set aside."""
    jobs = visit.request.query_params.getlist("job")
    if not visit.caller.may(Role.OPERATE):
        raise Problem(
            403,
            f"The token {visit.caller.name} may not do that.",
            "Ask for a token with the role operate (web.tokens).",
        )
    if not jobs:
        raise Problem(422, "No file was chosen.", "Go back and tick the files first.")
    shown = [visit.ask("job", path={"job": one}).job for one in jobs[:1]]
    after = links.own_path(visit.given("next", "/failures"))
    return {"jobs": jobs, "shown": shown, "next": after}


VIEWS = (
    View("/files/{job}", "file.html", _journey, "files", asks_servers=True),
    View("/files/{job}/text", "text.html", _text, "files", asks_servers=True),
    View("/files/{job}/file", "", _file, "files"),
    View("/ask/set_aside", "ask_aside.html", _ask_aside, "failures", asks_servers=True),
)


def _job(fields: Fields) -> dict[str, Any]:
    return {"path": {"job": fields.one("job")}}


def _tried_again(told: models.PutBack) -> Message:
    return Message(
        "good",
        "It is back in input/ and is tried from the start.",
        f"There it is called {told.path}." if told.path != told.file else "",
        url=f"/files/{told.job}",
        label="See how it goes",
    )


def _linked(told: models.Link) -> Message:
    return Message(
        "warn" if told.problem else "good",
        "Whoever has this link can read the object for an hour.",
        told.problem,
        url=told.url,
        label="Open the object in S3",
    )


FORMS = (
    Form("retry_one", _job, _tried_again),
    Form(
        "link",
        lambda fields: {**_job(fields), "body": {"expires_seconds": _LINK_SECONDS}},
        _linked,
    ),
)
