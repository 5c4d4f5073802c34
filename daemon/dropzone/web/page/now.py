"""The first page: whether all is well, and what is going on."""

from collections.abc import Mapping
from typing import Any

from dropzone.web.page.desk import View, Visit

_LATEST = 8


def _now(visit: Visit) -> Mapping[str, Any]:
    overview = visit.ask("overview")
    return {
        "now": overview,
        "latest": visit.ask("jobs", query={"limit": _LATEST}).jobs,
    }


VIEWS = (View("/", "now.html", _now, "now"),)
