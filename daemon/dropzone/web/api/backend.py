"""What the operations work with."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dropzone.config import Loaded
from dropzone.reloading import Reload
from dropzone.sessions import SessionPool
from dropzone.sessions.health import Health
from dropzone.settings import Settings, Zone
from dropzone.web.problems import Problem
from dropzone.zone_service import ZoneService


@dataclass(frozen=True, slots=True)
class Backend:
    """The parts of the daemon that are asked; each callable may be called any time.

    ``settings`` are those in force, ``loaded`` what was read last. ``pool`` is None
    before the services are connected. ``ask_reload`` lets the main loop reload soon.
    """

    settings: Callable[[], Settings]
    loaded: Callable[[], Loaded]
    zones: Callable[[], Sequence[ZoneService]]
    pool: Callable[[], SessionPool | None]
    ask_reload: Callable[[], None]
    last_reload: Callable[[], Reload | None]
    stop: threading.Event
    #: How MLflow did when it was last used.
    mlflow: Callable[[], Health]

    def connected(self) -> SessionPool:
        """Return the sessions.

        Raises:
            Problem: the services are not connected yet.

        """
        pool = self.pool()
        if pool is None:
            raise Problem(
                503,
                "The services are not connected yet.",
                "Wait a moment; GET /api/v1/overview tells what is paused and why.",
                headers={"retry-after": "2"},
            )
        return pool

    def zone_named(self, name: str) -> Zone:
        """Return a zone by its name.

        Raises:
            Problem: there is none.

        """
        for zone in self.settings().zones:
            if zone.name == name:
                return zone
        raise Problem(404, "There is no such zone.", "GET /api/v1/zones lists them.")

    def serving(self, name: str) -> ZoneService:
        """Return what serves a zone.

        Raises:
            Problem: it is not opened yet.

        """
        for service in self.zones():
            if service.zone.name == name and service.opened:
                return service
        raise Problem(503, f"The zone {name} is not opened yet.", "Wait a moment.")
