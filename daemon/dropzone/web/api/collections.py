"""The collections: what each holds, when something came last, where its folder is."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dropzone.journal import Journal
from dropzone.lookup import Zones
from dropzone.places import collection_of
from dropzone.readiness import NameFilter
from dropzone.settings import Zone
from dropzone.text import display
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.documents import Counts, Documents
from dropzone.web.api.operation import Ask, Operation
from dropzone.web.problems import Problem
from dropzone.web.sparing import Sparing

# A look into input/ takes a few milliseconds at most.
_MOST_ENTRIES = 5_000


class Collected:
    """All collections with what they hold, counted rarely where that is dear.

    Every page with a list of them asks, and the whole journal is counted. Postgres is
    asked apart from it: while that takes long, new collections are told all the same.
    """

    def __init__(self, backend: Backend) -> None:
        self._counted = Sparing(lambda: _all_counted(backend))
        self._documents = Documents(backend)

    def operations(self) -> Sequence[Operation]:
        return (
            Operation(
                *("GET", "/api/v1/collections", "collections"),
                "The collections, their files and how these ended, the last drop.",
                self._every,
                models.Collections,
            ),
            Operation(
                *("GET", "/api/v1/collections/{zone}/{collection}", "collection"),
                "One collection: what it holds, and where its folder is.",
                self._one,
                models.CollectionTold,
            ),
        )

    def _every(self, _backend: Backend, _ask: Ask) -> Mapping[str, Any]:
        documents, unknown = self._documents()
        found = [
            _told(zone, one, documents)
            for zone, counted in self._counted().items()
            for one in counted.values()
        ]
        return {"collections": found, "documents_unknown": unknown}

    def _one(self, backend: Backend, ask: Ask) -> Mapping[str, Any]:
        zone, name = backend.zone_named(ask.path["zone"]), ask.path["collection"]
        counted = self._counted().get(zone.name, {}).get(name)
        if counted is None:
            # It may be newer than what was counted last.
            counted = _all_counted(backend).get(zone.name, {}).get(name)
        if counted is None:
            raise Problem(
                404,
                "There is no such collection.",
                "It begins with its first file. GET /api/v1/collections lists them.",
            )
        documents, unknown = self._documents()
        folder = zone.path / "input"
        return {
            **_told(zone.name, counted, documents),
            # The name is what people read: a folder of other bytes is shown by it too.
            "folder": display(bytes(folder if name == "default" else folder / name)),
            "types": dict((documents or {}).get((zone.name, name), ())),
            "documents_unknown": unknown,
        }


def _all_counted(backend: Backend) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what is known of each collection, by zone and name."""
    with Zones(backend.settings()) as zones:
        return {
            zone.name: {one["collection"]: one for one in _counted(zone, journal)}
            for zone, journal in zones.journals
        }


def _counted(zone: Zone, journal: Journal) -> Sequence[dict[str, Any]]:
    """Return what is known of each collection, by name: also of empty folders."""
    folders = set(_folders(zone))
    found = {name: _nothing(name) for name in folders}
    for row in journal.rows("drops"):
        name = row["collection"]
        _add(found.setdefault(name, _nothing(name)), row)
    return [{**found[name], "has_folder": name in folders} for name in sorted(found)]


def _nothing(name: str) -> dict[str, Any]:
    counts = dict.fromkeys(("files", "bytes", "failed", "under_way"), 0)
    return {"collection": name, **counts, "outcomes": {}, "last_drop_at": None}


def _add(one: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Add what is known of the jobs of one outcome."""
    if jobs := row["jobs"] or 0:
        outcomes = one["outcomes"]
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + jobs
        one["files"] += jobs
        one["bytes"] += row["bytes"]
    one["failed"] += row["failed"] or 0
    one["under_way"] += row["under_way"]
    times = [at for at in (one["last_drop_at"], row["last_at"]) if at is not None]
    one["last_drop_at"] = max(times, default=None)


def _folders(zone: Zone) -> Iterator[str]:
    """Yield the collections that have a folder in ``input/``, up to a limit."""
    names = NameFilter(zone.ignore)
    try:
        with os.scandir(os.fsencode(zone.path / "input")) as entries:
            for entry in itertools.islice(entries, _MOST_ENTRIES):
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and not names.ignores(entry.name):
                    yield collection_of(entry.name + b"/")
    except OSError:
        # It may be away with its disk: the journal knows what was dropped.
        return


def _told(
    zone: str, counted: dict[str, Any], documents: Counts | None
) -> dict[str, Any]:
    where = zone, counted["collection"]
    count = None if documents is None else documents.get(where, Counter()).total()
    return {**counted, "zone": zone, "documents": count}
