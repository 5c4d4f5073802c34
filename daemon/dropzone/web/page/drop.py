"""The page that takes files: what its script must know, and the ways without it."""

import json
from collections.abc import Mapping
from typing import Any

from dropzone.web.page.desk import View, Visit


def _drop(visit: Visit) -> Mapping[str, Any]:
    """Return what the page needs; who may not drop files may not see the room."""
    room = visit.ask("room").zones
    origin = visit.request.scope["origin"]
    known = visit.ask("collections").collections
    return {
        "room": room,
        "several": len(room) > 1,
        "collections": sorted({one.collection for one in known}),
        "collection": visit.given("collection"),
        "ignored": json.dumps({one.zone: one.ignored for one in room}),
        "url": f"{origin.scheme}://{origin.host}{visit.request.scope['prefix']}",
    }


VIEWS = (View("/drop", "drop.html", _drop, "drop"),)
