"""The zones of one daemon: opened, connected to the services, added while it runs."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from dropzone import heartbeats, log, systemd
from dropzone.errors import ServiceUnavailable, Stopping, ZoneHeld
from dropzone.heartbeats import Heartbeats
from dropzone.models import UNDER_WAY, Outcome
from dropzone.pauses import Pause
from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone
from dropzone.zone_service import ZoneService

# How soon a zone is taken over whose daemon died, or whose disk has room again.
_HELD_SECONDS = 0.5
# Rescuing what a large zone holds may honestly take so long.
_OPEN_SECONDS = 3600.0


class ZoneSet:
    """All zones, in their order. Used by the main thread, but for ``connect``."""

    def __init__(
        self,
        settings: Settings,
        make: Callable[[Zone, Settings], ZoneService],
        *,
        hearts: Heartbeats,
        unit: systemd.Notifier,
        stop: threading.Event,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._make = make
        self._hearts = hearts
        self._unit = unit
        self._stop = stop
        self._broken = broken
        self._log = log.get("daemon")
        #: Replaced when one is added, never changed: other threads go through it.
        self.all = [make(zone, settings) for zone in settings.zones]
        #: Those that are open, and have to be closed.
        self.opened: list[ZoneService] = []
        #: Guards who connects a zone that is added when the services become ready.
        self._joining = threading.Lock()
        self._pool: SessionPool | None = None
        self._tended = True

    def open(self, *, patience: float = math.inf) -> None:
        """Open all; wait while a disk is full, or (a setting) another holds the zone.

        For a disk it waits for ``patience`` seconds.

        Raises:
            Stopping: a signal came while it waited.
            ZoneError: a zone cannot be served.

        """
        with self._unit.starting(self._hearts):
            for zone in self.all:
                self._open(zone, time.monotonic() + patience)
                self.opened.append(zone)

    def connect(self, pool: SessionPool, *, tended: bool) -> None:
        """Let all store, index and release; called once, by the services' thread.

        Those that are ``tended`` remove what the settings say by themselves.
        """
        with self._joining:
            self._pool, self._tended = pool, tended
            zones = self.all
        for zone in zones:
            self._connect(zone, pool)

    def open_added(
        self, zones: Iterable[Zone], settings: Settings
    ) -> list[ZoneService]:
        """Open new zones, all or none; ``join`` them afterwards.

        Raises:
            DropzoneError: one cannot be served; none is open then.

        """
        opened: list[ZoneService] = []
        try:
            for zone in zones:
                service = self._make(zone, settings)
                with (
                    self._hearts.within("main", _OPEN_SECONDS),
                    self._unit.patience(_OPEN_SECONDS),
                ):
                    service.open()
                opened.append(service)
        except BaseException:
            for service in opened:
                service.close()
            raise
        return opened

    def join(self, zone: ZoneService) -> None:
        """Serve a zone that was opened while the others were served already."""
        self.opened.append(zone)
        with self._joining:
            self.all = [*self.all, zone]
            pool = self._pool
        zone.watch()
        if pool is not None:
            # It may have to wait for a service, which nobody else should wait for.
            threading.Thread(
                target=self._connect_later, args=(zone, pool), name="join", daemon=True
            ).start()

    def update(self, settings: Settings) -> None:
        """Give each zone its settings."""
        named = {zone.name: zone for zone in settings.zones}
        for service in self.all:
            service.update(named[service.zone.name], settings)
        if self._pool is not None:
            self._pool.update(settings)

    def hold(self) -> bool:
        """Hold what is to be held in each; return whether that is news."""
        news = [zone.hold() for zone in self.all]
        return any(news)

    @property
    def pauses(self) -> list[Pause]:
        """Everything that stands still in any zone."""
        gates = (gate for zone in self.all for gate in zone.gates)
        return [pause for gate in gates for pause in gate.current_pauses]

    @property
    def failed(self) -> int:
        """How many files failed, ever."""
        counts = (zone.journal.counts() for zone in self.all)
        return sum(count.outcomes.get(Outcome.FAILED, 0) for count in counts)

    @property
    def finished(self) -> bool:
        return all(zone.finished for zone in self.all)

    def left(self) -> dict[str, Any]:
        """Return what the next start goes on with: jobs by their state, and runs."""
        states: Counter[str] = Counter()
        for zone in self.opened:
            states.update(zone.journal.counts().states)
        under_way = {str(state): states[state] for state in UNDER_WAY if states[state]}
        runs = (zone.journal.batches_waiting() for zone in self.opened)
        return {
            "given_back": sum(under_way.values()),
            "under_way": under_way,
            "runs_given_back": sum(runs),
        }

    def _open(self, zone: ZoneService, until: float) -> None:
        told = ""
        while reason := _held_up(zone, until):
            if reason != told:
                self._log.warning("waiting for the zone", reason=reason)
                self._unit.status(f"waiting for the zone: {reason}")
                told = reason
            heartbeats.beat()
            if self._stop.wait(_HELD_SECONDS):
                raise Stopping("The daemon is stopping.")

    def _connect(self, zone: ZoneService, pool: SessionPool) -> None:
        zone.connect(pool)
        if self._tended:
            zone.tend(pool)

    def _connect_later(self, zone: ZoneService, pool: SessionPool) -> None:
        try:
            self._connect(zone, pool)
        except Stopping:
            return
        except Exception as error:  # noqa: BLE001 told to the main loop, which ends
            self._broken(error)


def _held_up(zone: ZoneService, until: float) -> str:
    """Open a zone, or return why that must wait; raise what is not waited for."""
    try:
        zone.open()
    except ZoneHeld as error:
        if zone.zone.when_held == "exit":
            raise
        return error.message
    except ServiceUnavailable as error:
        if time.monotonic() > until:
            raise
        return f"{error.message} {error.hint}"
    return ""
