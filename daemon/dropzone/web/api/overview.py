"""How everything is doing: the snapshot that status, metrics and messages share."""

from collections.abc import Sequence

from dropzone import __version__, plain, status, steps
from dropzone.sessions.health import Health
from dropzone.status import ZoneStatus
from dropzone.web.api import headline, models
from dropzone.web.api.backend import Backend
from dropzone.web.api.looking import Looking
from dropzone.web.api.operation import Ask, Operation
from dropzone.web.api.throughput import Throughputs
from dropzone.web.problems import Problem
from dropzone.web.sparing import Sparing

_LEAST_SECONDS = 1.0
# Of a service that was not asked yet, by its name.
_NOTES = {"mlflow": "Not asked yet: it is asked with the first run."}
_NOTE = "Not asked yet: it is asked as soon as the daemon is connected."


class Snapshots:
    """The snapshot, made anew at most once a second, and rarely where it is dear."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.looking = Looking(backend.pool)
        self._spared = Sparing(self._make, _LEAST_SECONDS)
        self._throughputs = Throughputs()

    def __call__(self) -> models.Overview:
        return self._spared()

    def forget(self) -> None:
        """Let the next one tell what was changed just now."""
        self._spared.forget()

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
            self._throughputs.operation,
        )

    def _zone(self, _backend: Backend, ask: Ask) -> models.Zone:
        for zone in self().zones:
            if zone.zone == ask.path["zone"]:
                return zone
        raise Problem(404, "There is no such zone.", "GET /api/v1/zones lists them.")

    def _make(self) -> models.Overview:
        settings, reload = self._backend.settings(), self._backend.last_reload()
        zones = [self._told(zone) for zone in status.of_all(settings, totals=False)]
        ill = [zone for zone in zones if not zone.well]
        sentence = ill[0].sentence if ill else _all_well(zones)
        services = list(self._services())
        worst = headline.of(zones, services)
        return models.Overview(
            version=__version__,
            well=not ill,
            tone=worst.tone,
            word=worst.word,
            headline=worst.text,
            sentence=sentence,
            zones=zones,
            services=services,
            reload=reload.told() if reload is not None else None,
        )

    def _told(self, zone: ZoneStatus) -> models.Zone:
        history = zone.history
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
                "gone": history.gone,
                "oldest_unfinished_at": history.oldest_unfinished_at,
                "oldest_waiting_at": zone.oldest_waiting_at,
                "in_input": plain.of(zone.in_input),
                "steps": plain.of(steps.of(zone)),
                "unlogged_batches": history.unlogged_batches,
                "queued": self._queued(zone.zone),
                # What is told beside it is not told twice.
                "watcher": {k: v for k, v in zone.watcher.items() if k != "in_input"},
                "paused": list(zone.paused),
                "pauses_unknown": zone.pauses_unknown,
                "refused": plain.of(history.refused),
                "throughput": self._throughputs.of_zone(zone),
            }
        )

    def _queued(self, name: str) -> dict[str, int]:
        for service in self._backend.zones():
            if service.zone.name == name and service.opened:
                return service.pipeline.queued()
        return {}

    def _services(self) -> Sequence[models.Service]:
        # MLflow is used by a process of its own.
        known = {**self.looking.known(), "mlflow": self._backend.mlflow()}
        return [
            _service(name, known.get(name, Health()))
            for name in ("s3", "postgres", "mlflow")
        ]


def _service(name: str, health: Health) -> models.Service:
    return models.Service(
        service=name,
        healthy=health.healthy,
        error=health.error,
        checked_at=health.last_check,
        latency_seconds=health.latency_seconds,
        note=_NOTES.get(name, _NOTE) if health.healthy is None else "",
    )


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
    waiting = sum(zone.under_way + zone.in_input.files for zone in zones)
    failed = sum(zone.failed for zone in zones)
    told = "Nothing waits"
    if waiting:
        told = f"{_files(waiting)} {_are(waiting)} under way"
    if failed:
        told += f", and {_files(failed)} failed and {_are(failed)} waiting for you"
    return f"All is well. {told}."


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
