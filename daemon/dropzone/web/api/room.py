"""What each zone takes: how much fits, how large a file may be, which names it leaves.

Who uploads many files asks this before, and is not told for each of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from dropzone.readiness import IGNORED
from dropzone.room import Growth
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Operation
from dropzone.web_settings import Role
from dropzone.zone_service import ZoneService

#: What S3 takes as one object.
MOST_BYTES = 5 * (1 << 40)


class ZoneRoom(BaseModel):
    """``usable_bytes`` of the zone's disk are for new files and what is made of them.

    A file of ``largest_bytes`` would just fit; both are None before the zone is opened.
    Above ``text_bytes`` a file is stored, and its text not indexed. ``ignored`` are
    patterns (as of fnmatch, upper and lower case alike) of names that are left alone.
    """

    zone: str
    path: str
    usable_bytes: int | None
    largest_bytes: int | None
    text_bytes: int
    ignored: list[str]


class Room(BaseModel):
    """In the order of the configuration: the first zone is the usual one."""

    zones: list[ZoneRoom]


def room(backend: Backend, _ask: Ask) -> Mapping[str, Any]:
    """Return what each zone takes."""
    settings = backend.settings()
    opened = {one.zone.name: one for one in backend.zones() if one.opened}
    made = []
    for zone in settings.zones:
        usable, largest = _measured(opened.get(zone.name))
        made.append(
            {
                "zone": zone.name,
                "path": str(zone.path),
                "usable_bytes": usable,
                "largest_bytes": largest,
                "text_bytes": int(settings.limits.text_megabytes * 1_000_000),
                "ignored": [*IGNORED, *zone.ignore],
            }
        )
    return {"zones": made}


def _measured(service: ZoneService | None) -> tuple[int | None, int | None]:
    if service is None:
        return None, None
    growth, floor = service.room_rules
    status = service.folders.disk_status()
    usable = max(0, status.f_bavail * status.f_frsize - floor)
    return usable, largest(usable, growth)


def largest(usable: int, growth: Growth) -> int:
    """Return how large a file may be of which all is text that can be indexed."""
    small = usable // (1 + growth.of(1, 1))
    if small < growth.text_bytes:
        return small
    rest = usable - growth.of(0, growth.text_bytes)
    return min(rest // (1 + growth.of(1, 0)), MOST_BYTES)


OPERATIONS: Sequence[Operation] = (
    Operation(
        *("GET", "/api/v1/room", "room"),
        "How much each zone takes, how large a file, and which names it leaves alone.",
        room,
        Room,
        Role.DROP,
    ),
)
