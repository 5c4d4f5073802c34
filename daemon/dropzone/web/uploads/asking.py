"""What a request for a new upload asks for, made of its headers."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers

from dropzone import given
from dropzone.errors import UsageError
from dropzone.readiness import NameFilter
from dropzone.settings import Zone
from dropzone.uploads.naming import path_of
from dropzone.uploads.record import Wanted
from dropzone.web.uploads import protocol

#: Keys of Upload-Metadata that say where and how; every other goes with the file.
OWN = ("filename", "relativePath", "zone", "collection", "mtime", "metadata")
_MTIME = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
# The last second of the year 2261: what a file system can keep.
_LATEST = 9_214_646_399


def wanted_of(
    headers: Headers, owner: str, zones: Sequence[Zone]
) -> tuple[Zone, Wanted]:
    """Return the zone and what is wanted there.

    Raises:
        Problem: the headers cannot be read.
        UsageError: no such file can be dropped.

    """
    text = headers.get("upload-metadata", "").strip()
    told = protocol.metadata_of(text)
    zone = _zone(told.get("zone", ""), zones)
    path = path_of(
        told.get("filename", ""),
        told.get("relativePath", ""),
        told.get("collection", ""),
        NameFilter(zone.ignore).ignores,
    )
    free = {key: value for key, value in told.items() if key not in OWN and value}
    free |= _metadata(told.get("metadata", ""))
    return zone, Wanted(
        owner=owner,
        path=path,
        length=protocol.length_of(headers),
        metadata=text,
        given=given.checked(free),
        mtime_ns=_mtime(told.get("mtime", "")),
    )


def _metadata(text: str) -> Mapping[Any, Any]:
    """Return what is said in JSON: its names may be such as no key can be."""
    try:
        said = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise UsageError(
            "The metadata is no JSON object.",
            hint='It is text by name, such as {"author": "Ada"}.',
        )
    return said


def _zone(name: str, zones: Sequence[Zone]) -> Zone:
    if not name:
        return zones[0]
    for zone in zones:
        if zone.name == name:
            return zone
    raise UsageError(
        "There is no such zone.", hint=f"Known: {', '.join(one.name for one in zones)}."
    )


def _mtime(text: str) -> int | None:
    if not text:
        return None
    if not _MTIME.fullmatch(text) or float(text) > _LATEST:
        raise UsageError(
            "The mtime is no time that a file can have.",
            hint="Give seconds since 1970, such as 1767225600.",
        )
    seconds, _, rest = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(rest.ljust(9, "0"))
