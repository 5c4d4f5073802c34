"""The collections, and the page of each."""

from collections.abc import Mapping
from typing import Any

from dropzone.web.page.desk import View, Visit

_FILES = 25
#: More than fit on a screen are worth a field to find one.
_MANY = 12


def _every(visit: Visit) -> Mapping[str, Any]:
    told, part = visit.ask("collections"), visit.given("q")
    wanted = part.casefold()
    shown = [one for one in told.collections if wanted in one.collection.casefold()]
    return {
        "part": part,
        "shown": shown,
        "count": len(told.collections),
        "findable": len(told.collections) > _MANY or part,
        "several": len({one.zone for one in told.collections}) > 1,
        "unknown": told.documents_unknown,
    }


def _one(visit: Visit) -> Mapping[str, Any]:
    path = visit.request.path_params
    told = visit.ask("collection", path=path)
    query = {"zone": told.zone, "collection": told.collection, "limit": _FILES}
    if cursor := visit.given("cursor"):
        query["cursor"] = cursor
    page = visit.ask("jobs", query=query)
    return {
        "one": told,
        "jobs": page.jobs,
        "older": page.next,
        "first": not visit.given("cursor"),
    }


VIEWS = (
    View("/collections", "collections.html", _every, "search"),
    View("/collections/{zone}/{collection}", "collection.html", _one, "search"),
)
