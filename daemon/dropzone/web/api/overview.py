"""How everything is doing: the snapshot that status, metrics and messages share."""

import time
from collections.abc import Sequence
from typing import Any

from dropzone import __version__, plain, status
from dropzone.journal import Journal
from dropzone.sessions.health import Health
from dropzone.status import ZoneStatus
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Operation
from dropzone.web.problems import Problem
from dropzone.web.sparing import Sparing

_PARTS = 60
_STEP_SECONDS = 60
_LEAST_SECONDS = 1.0


class Snapshots:
    """The snapshot, made anew at most once a second, and rarely where it is dear."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._spared = Sparing(self._make, _LEAST_SECONDS)

    def __call__(self) -> models.Overview:
        return self._spared()

    def operations(self) -> Sequence[Operation]:
        return (
            Operation(
                *("GET", "/api/v1/overview", "overview"),
                "Whether all is well, what is paused and why, counts and throughput.",
                lambda _backend, _ask: self(),
                models.Overview,
            ),
            Operation(
                *("GET", "/api/v1/zones", "zones"),
                "How each zone is doing.",
                lambda _backend, _ask: {"zones": self().zones},
                models.Zones,
            ),
            Operation(
                *("GET", "/api/v1/zones/{zone}", "zone"),
                "How one zone is doing.",
                self._zone,
                models.Zone,
            ),
        )

    def _zone(self, _backend: Backend, ask: Ask) -> models.Zone:
        for zone in self().zones:
            if zone.zone == ask.path["zone"]:
                return zone
        raise Problem(404, "There is no such zone.", "GET /api/v1/zones lists them.")

    def _make(self) -> models.Overview:
        settings, reload = self._backend.settings(), self._backend.last_reload()
        zones = [self._told(zone) for zone in status.of_all(settings)]
        ill = [zone for zone in zones if not zone.well]
        sentence = ill[0].sentence if ill else _all_well(zones)
        return models.Overview(
            version=__version__,
            well=not ill,
            sentence=sentence,
            zones=zones,
            services=list(self._services()),
            reload=reload.told() if reload is not None else None,
        )

    def _told(self, zone: ZoneStatus) -> models.Zone:
        history = zone.history
        oldest, throughput = _from_journal(zone)
        return models.Zone.model_validate(
            {
                "zone": zone.zone,
                "path": str(zone.path),
                "well": zone.fine,
                "sentence": _sentence(zone),
                "pid": zone.pid,
                "since": zone.since,
                "states": history.states,
                "outcomes": history.outcomes,
                "under_way": history.under_way,
                "failed": history.failed,
                "put_back": history.put_back,
                "oldest_unfinished_at": oldest,
                "unlogged_batches": history.unlogged_batches,
                "queued": self._queued(zone.zone),
                "watcher": zone.watcher,
                "paused": list(zone.paused),
                "pauses_unknown": zone.pauses_unknown,
                "refused": plain.of(history.refused),
                "throughput": throughput,
            }
        )

    def _queued(self, name: str) -> dict[str, int]:
        for service in self._backend.zones():
            if service.zone.name == name and service.opened:
                return service.pipeline.queued()
        return {}

    def _services(self) -> Sequence[models.Service]:
        pool = self._backend.pool()
        known = {} if pool is None else pool.health(look=False)
        # MLflow is used by a process of its own, and shows as the step track.
        return [
            _service(name, known.get(name, Health())) for name in ("s3", "postgres")
        ]


def _service(name: str, health: Health) -> models.Service:
    return models.Service(
        service=name,
        healthy=health.healthy,
        error=health.error,
        checked_at=health.last_check,
        latency_seconds=health.latency_seconds,
    )


def _from_journal(zone: ZoneStatus) -> tuple[float | None, dict[str, Any]]:
    # Whole minutes: the same parts for every look.
    until = (int(time.time()) // _STEP_SECONDS + 1) * _STEP_SECONDS
    made: dict[str, Any] = {
        "until": until,
        "step_seconds": _STEP_SECONDS,
        **{name: [0] * _PARTS for name in ("files", "failed", "bytes")},
    }
    if not zone.served:
        return None, made
    journal = Journal(zone.path / "state" / "journal.sqlite", create=False)
    try:
        since = until - _PARTS * _STEP_SECONDS
        span = {"since": since, "until": until, "step": _STEP_SECONDS}
        for row in journal.rows("ended_by_time", **span):
            part = min(max(int(row["part"]), 0), _PARTS - 1)
            made["files"][part] += row["jobs"]
            made["bytes"][part] += row["bytes"]
            if row["status"] == "failed":
                made["failed"][part] += row["jobs"]
        oldest: float | None = journal.rows("oldest_unfinished")[0]["created_at"]
    finally:
        journal.close()
    return oldest, made


def _sentence(zone: ZoneStatus) -> str:
    if zone.pid is None:
        return f"No daemon serves the zone {zone.zone}."
    if zone.pauses_unknown:
        return zone.pauses_unknown
    if zone.faults:
        first = zone.faults[0]
        return f"{first['step']} stands still: {first['reason']}"
    return f"All is well in the zone {zone.zone}."


def _all_well(zones: Sequence[models.Zone]) -> str:
    waiting = sum(zone.under_way for zone in zones)
    failed = sum(zone.failed for zone in zones)
    told = f"{waiting} files are under way" if waiting else "Nothing waits"
    if failed:
        told += f", and {failed} files failed and wait for you"
    return f"All is well. {told}."
