"""Whether the services answer, since when, and what they hold up."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dropzone.sessions import SessionPool
from dropzone.sessions.health import Health
from dropzone.settings import Settings
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.looking import Looking
from dropzone.web.api.operation import Ask, Operation


class Services:
    """Tells of S3 and Postgres what a look finds; of MLflow its own process tells."""

    def __init__(
        self, snapshot: Callable[[], models.Overview], looking: Looking
    ) -> None:
        self._snapshot = snapshot
        self._looking = looking
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[bool | None, float | None]] = {}

    def operations(self) -> Sequence[Operation]:
        return (
            Operation(
                *("GET", "/api/v1/services", "services"),
                "Whether each service answers now, how fast, and since when.",
                self._told,
                models.Services,
            ),
        )

    def _told(self, backend: Backend, _ask: Ask) -> Mapping[str, Any]:
        overview, pool = self._snapshot(), backend.pool()
        known = self._looking.fresh()
        holds_up = _holds_up(overview.zones)
        told = []
        for one in overview.services:
            health = known.get(one.service, Health())
            fresh = {**one.model_dump(), **_fresh(health)}
            told.append(
                {
                    **fresh,
                    "since": self._since(one.service, fresh),
                    "address": _address(pool, one.service),
                    "embedded": _embedded(backend.settings(), one.service),
                    "holds_up": holds_up.get(one.service, []),
                }
            )
        return {"services": told}

    def _since(self, name: str, fresh: Mapping[str, Any]) -> float | None:
        healthy, at = fresh["healthy"], fresh["checked_at"]
        with self._lock:
            if healthy is not None and self._seen.get(name, (None,))[0] != healthy:
                self._seen[name] = (healthy, at)
            return self._seen.get(name, (None, None))[1]


def _fresh(health: Health) -> dict[str, Any]:
    if health.healthy is None:
        return {}
    return {
        "healthy": health.healthy,
        "error": health.error,
        "checked_at": health.last_check,
        "latency_seconds": health.latency_seconds,
        "note": "",
    }


def _holds_up(zones: Sequence[models.Zone]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for zone in zones:
        for pause in zone.paused:
            steps = found.setdefault(pause.service, [])
            if pause.step not in steps:
                steps.append(pause.step)
    return found


def _address(pool: SessionPool | None, name: str) -> str:
    if pool is None or name not in {"s3", "postgres"}:
        return ""
    session = pool.s3 if name == "s3" else pool.postgres
    return session.address


def _embedded(settings: Settings, name: str) -> bool:
    embedded = {"s3": settings.embeds_s3, "postgres": settings.embeds_postgres}
    return embedded.get(name, settings.mlflow.tracking_uri is None)
