"""The gates of one zone: what pauses each step, and what is asked until it goes on."""

import threading
from collections.abc import Callable

from dropzone.errors import ServiceUnavailable
from dropzone.gate import Gate
from dropzone.pipeline import Gates
from dropzone.sessions import SessionPool
from dropzone.sessions.health import Health
from dropzone.zones import ZoneFolders

# A slow line, or a change of the schema over millions of rows; the drivers have their
# own, shorter limits on what should be quick.
_SERVICE_SECONDS = 3600.0
_DISK_SECONDS = 300.0
_OF_SERVICES = frozenset({"store", "index", "care"})


class ZoneGates:
    """The gate of each step; that of ``care`` is there once somebody asked for it."""

    def __init__(
        self,
        folders: ZoneFolders,
        ask_mlflow: Callable[[], object],
        *,
        first_pause: float,
        stop: threading.Event,
    ) -> None:
        #: Of the services, once they are connected.
        self.pool: SessionPool | None = None
        self._folders = folders
        self._ask_mlflow = ask_mlflow
        self._first_pause = first_pause
        self._stop = stop
        self.claim = self._gate("claim")
        self.steps = Gates(
            store=self._gate("store"),
            index=self._gate("index"),
            release=self._gate("release"),
        )
        self.track = self._gate("track")
        self._care: Gate | None = None

    def care(self) -> Gate:
        """Make the gate of what removes files; called once."""
        self._care = self._gate("care")
        return self._care

    @property
    def all(self) -> list[Gate]:
        steps = self.steps
        return [
            self.claim,
            steps.store,
            steps.index,
            steps.release,
            self.track,
            *([self._care] if self._care else []),
        ]

    def update(self, first_pause: float) -> None:
        """Begin the next pause of each step with so many seconds."""
        self._first_pause = first_pause
        for gate in self.all:
            gate.update(first_pause)

    def _gate(self, step: str) -> Gate:
        probes: dict[str, Callable[[], object]] = {
            "s3": lambda: self._ask("s3"),
            "postgres": lambda: self._ask("postgres"),
            "mlflow": self._ask_mlflow,
            "disk": self._folders.try_to_write,
            # Starting a parser is its own probe: the work is simply tried again.
            "parser": lambda: None,
        }
        return Gate(
            step,
            self._stop,
            probes,
            first_pause=self._first_pause,
            call_seconds=_SERVICE_SECONDS if step in _OF_SERVICES else _DISK_SECONDS,
            ready=self._folders.check_present,
        )

    def _ask(self, service: str) -> None:
        if self.pool is None:
            raise ServiceUnavailable(service, f"{service} is not started yet.")
        health: Health = getattr(self.pool, service).check()
        if not health.healthy:
            raise ServiceUnavailable(service, health.error or f"{service} is down.")
