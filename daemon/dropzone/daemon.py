"""The composition root: builds everything, starts it in order, stops it in order.

Longer than other files, so that this order is read in one place.
"""

import json
import math
import os
import queue
import resource
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dropzone import (
    __version__,
    building,
    figures,
    heartbeats,
    log,
    reloading,
    systemd,
    zone_rights,
)
from dropzone.config_source import ConfigSource
from dropzone.errors import (
    ConfigurationError,
    DropzoneError,
    Stopping,
    ZoneError,
    ZoneHeld,
)
from dropzone.executor.parsers import ParserPool
from dropzone.executor.turns import Turns
from dropzone.heartbeats import Heartbeats
from dropzone.measures import Measures
from dropzone.notifications.notifier import Notifier
from dropzone.notifications.zone import Told
from dropzone.reloading import Reload
from dropzone.services import Services, without_own_addresses
from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone
from dropzone.signals import Signals
from dropzone.traces.sender import Traces
from dropzone.track_process import TrackProcess
from dropzone.web.accounts import Accounts
from dropzone.web.server import WebServer
from dropzone.zone_service import ZoneService
from dropzone.zone_set import ZoneSet

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_TICK_SECONDS = 0.2
_REPORT_SECONDS = 1.0
# `run --once` gives up on a service that has been away for this long.
_ONCE_PATIENCE_SECONDS = 60.0
# Longer than one run takes, the import of MLflow included.
_TRACK_SECONDS = 60.0
# What the embedded servers and the last threads may take beyond limits.stop_seconds.
_SERVERS_STOP_SECONDS = 60.0
#: Exit code: the zone or the machine cannot be served as it is, a person must act.
UNFIT = 78


class Daemon:
    """All zones of one configuration. ``run`` returns the exit code."""

    def __init__(self, source: ConfigSource) -> None:
        """Take ``source``, read already, which is read again to reload.

        Raises:
            ZoneNotOurs: this user may not use a zone; nothing was made.

        """
        # Long on purpose: all parts and who knows whom are to be seen in one place.
        self._source = source
        for zone in source.last.settings.zones:
            zone_rights.check(zone.path)
        self._settings = without_own_addresses(source.last.settings)
        #: How the last reload went; None before the first.
        self.last_reload: Reload | None = None
        self._on_reload: list[Callable[[Settings], None]] = []
        self._reload_wanted = threading.Event()
        self._stop = threading.Event()
        self._signals = Signals(self._stop, self._reload_wanted)
        self._errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._log = log.get("daemon")
        self._started = time.time()
        self._unit = systemd.Notifier()
        #: Every loop of the daemon, its main loop included; who is overdue hangs.
        self.hearts = Heartbeats()
        #: What is counted since the start, for metrics and traces.
        self.measures = Measures()
        self._once_only = False
        extract, mlflow = self._settings.extract, self._settings.mlflow
        self._parsers = ParserPool(
            building.processes(self._settings),
            memory_mb=extract.memory_mb,
            timeout_seconds=extract.timeout_seconds,
            stop=self._stop,
        )
        self._tracking = TrackProcess(
            building.for_tracking(self._settings),
            timeout=_TRACK_SECONDS + mlflow.timeout_seconds,
            stop=self._stop,
        )
        self._turns = Turns(self._stop)
        self._zones = ZoneSet(
            self._settings,
            self._zone_service,
            hearts=self.hearts,
            unit=self._unit,
            stop=self._stop,
            broken=self._errors.put,
        )
        self._services = Services(
            self._settings, self._stop, self._connect, self._errors.put, self.hearts
        )
        self._notifier = Notifier(self._settings, self._stop, self.measures)
        self.on_reload(self._notifier.update)
        self._watchdog = systemd.Watchdog(self._unit, self.hearts)
        self._traces = Traces(self._settings.traces.endpoint, self._stop)
        self._accounts = Accounts(self._settings.web)
        self.on_reload(self._accounts.update)
        self._web = WebServer(self._settings.web, self._make_app, self._stop)

    def run(
        self, *, once: bool = False, ready: Callable[[], None] | None = None
    ) -> int:
        """Serve until a signal comes, or with ``once`` until everything has ended.

        ``ready`` is called when files are being watched. Returns 0, or 1 when a file
        failed (``once``), or what ``exit_code`` says of the error that broke a step.

        Raises:
            ZoneError: a zone cannot be served.

        """
        # A dump of our memory would hold every secret, and every file under way. The
        # process stays open to debuggers: its own user can read the secrets anyway.
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
        self._once_only = once
        with self._signals.handled():
            try:
                self._begin_to_tell()
                self._zones.open(patience=_ONCE_PATIENCE_SECONDS if once else math.inf)
                failed_before = self._zones.failed
                self._notifier.start([zone.source() for zone in self._zones.all])
                for zone in self._zones.all:
                    zone.watch()
                self._services.start()
                self._log.info("started", version=__version__, pid=os.getpid())
                self._unit.ready("watching; the services are being connected")
                if ready is not None:
                    ready()
                with self.hearts.loop("main"):
                    code = self._serve(once=once)
                if once and self._zones.failed > failed_before:
                    code = 1
                if once:
                    self._notifier.flush()
            except Stopping:
                code = 0
            finally:
                self._shut_down(self._zones.opened)
        return code

    def on_reload(self, update: Callable[[Settings], None]) -> None:
        """Have ``update`` called when settings changed; see dropzone.reloading."""
        self._on_reload.append(update)

    def reload(self) -> Reload:
        """Read the configuration again and put in force what can change now.

        Called in the main thread, while serving. When anything is wrong, everything
        stays as it is; the outcome, which is returned, says what.
        """
        with self._unit.reloading():
            outcome = self._reload()
        self.last_reload = outcome
        self.measures.reloaded(succeeded=outcome.ok)
        outcome.tell(self._log)
        self._report(running=True)
        return outcome

    def _reload(self) -> Reload:
        began = time.monotonic()
        try:
            plan = self._plan()
            added = self._zones.open_added(plan.added, plan.settings)
        except DropzoneError as error:
            return Reload.failed(began, error)
        self._put_in_force(plan)
        for zone in added:
            self._notifier.add(zone.source())
            self._zones.join(zone)
        return Reload.of(began, plan)

    def _plan(self) -> reloading.Plan:
        before = self._source.last
        loaded = self._source.read()
        new = without_own_addresses(loaded.settings)
        in_files = {
            key
            for key, origin in loaded.origins.items()
            if origin.startswith("secret file") and origin == before.origins.get(key)
        }
        return reloading.plan(self._settings, new, in_files)

    def _put_in_force(self, plan: reloading.Plan) -> None:
        before, self._settings = self._settings, plan.settings
        if before == plan.settings:
            return
        if before.log != plan.settings.log:
            log.set_up(plan.settings.log)
        extract = plan.settings.extract
        self._parsers.update(
            memory_mb=extract.memory_mb, timeout_seconds=extract.timeout_seconds
        )
        self._zones.update(plan.settings)
        for update in self._on_reload:
            update(plan.settings)

    def _zone_service(self, zone: Zone, settings: Settings) -> ZoneService:
        return ZoneService(
            zone,
            settings,
            tracking=self._tracking,
            parsers=self._parsers,
            turns=self._turns,
            stop=self._stop,
            broken=self._errors.put,
            hearts=self.hearts,
            measures=self.measures,
        )

    def _connect(self, pool: SessionPool) -> None:
        # A run that is to end soon leaves the cleaning to `dropzone clean`.
        self._zones.connect(pool, tended=not self._once_only)

    def _begin_to_tell(self) -> None:
        self.measures.listener = self._traces.start()
        # A run that ends by itself is not scraped.
        if not self._once_only:
            self._web.start()

    def _make_app(self) -> "ASGIApp":
        from dropzone.web import serving
        from dropzone.web.api.backend import Backend
        from dropzone.web.metrics import Parts

        parts = Parts(
            zones=lambda: self._zones.all,
            services=self._services,
            parsers=self._parsers,
            measures=self.measures,
            stale=self.hearts.stale,
            spans=self._traces.figures,
            floor=lambda: int(self._settings.limits.free_megabytes * 1_000_000),
        )
        backend = Backend(
            settings=lambda: self._settings,
            loaded=lambda: self._source.last,
            zones=lambda: self._zones.all,
            pool=lambda: self._services.pool,
            ask_reload=self._reload_wanted.set,
            last_reload=lambda: self.last_reload,
            stop=self._stop,
            mlflow=lambda: self._tracking.health,
        )
        return serving.app_of(parts, backend, self._accounts)

    def _serve(self, *, once: bool) -> int:
        reported = 0.0
        while not self._stop.wait(_TICK_SECONDS):
            heartbeats.beat()
            self._watchdog.look()
            try:
                error = self._errors.get_nowait()
            except queue.Empty:
                pass
            else:
                self._log.critical("stopping because a step broke", **_told(error))
                # What only a person can mend is not mended by another start.
                return exit_code(error)
            news = self._tick()
            if news or time.monotonic() - reported >= _REPORT_SECONDS:
                self._look_at_settings()
                self._report(running=True)
                reported = time.monotonic()
            if self._reload_wanted.is_set():
                self._reload_wanted.clear()
                if self._signals.is_hung_up():
                    break
                self.reload()
            if once and (code := self._once()) is not None:
                return code
        return 0

    def _look_at_settings(self) -> None:
        self._signals.look()
        if self._source.is_edited():
            self._reload_wanted.set()

    def _tick(self) -> bool:
        """Do what is due; return whether it is worth a report at once."""
        news = self._zones.hold()
        if self._services.pool is not None:
            for zone in self._zones.all:
                zone.pipeline.check()
                zone.pipeline.resume_due()
        return news

    def _once(self) -> int | None:
        """Return the exit code when a run with ``once`` is over."""
        pauses = self._zones.pauses
        if self._services.pause is not None:
            pauses.append(self._services.pause)
        for pause in pauses:
            if pause.trying:
                continue
            # What a person or a window holds is not waited for at all.
            patience = 0.0 if pause.wanted else _ONCE_PATIENCE_SECONDS
            if time.time() - pause.since > patience:
                self._log.error(
                    "not finished",
                    step=pause.step,
                    reason=pause.reason,
                    hint=pause.hint,
                )
                return 1
        if self._services.pool and self._zones.finished:
            return 0
        return None

    def _shut_down(self, opened: list[ZoneService]) -> None:
        """Stop in order: intake, steps, parsers, sessions, servers, journals."""
        begun = time.monotonic()
        until = begun + self._settings.limits.stop_seconds
        self._stop.set()
        self._unit.stopping(self._settings.limits.stop_seconds + _SERVERS_STOP_SECONDS)
        self._log.info("stopping", within_seconds=self._settings.limits.stop_seconds)
        late: list[str] = []
        self._tracking.close()
        for zone in opened:
            late += zone.join(until)
        self._parsers.close()
        if not self._services.join(max(1.0, until - time.monotonic())):
            late.append("services")
        self._services.close()
        if not self._notifier.join(max(1.0, until - time.monotonic())):
            late.append("notifications")
        if not self._web.join(max(1.0, until - time.monotonic())):
            late.append("web")
        # Spans that nobody takes are no reason to call the end untidy.
        self._traces.join(max(0.5, until - time.monotonic()))
        self._report(running=False, zones=opened)
        left = self._zones.left()
        if not late:
            for zone in opened:
                zone.close()
        if late:
            left["still_working"] = late
        self._log.info("stopped", seconds=round(time.monotonic() - begun, 2), **left)

    def _report(self, *, running: bool, zones: list[ZoneService] | None = None) -> None:
        reports = []
        for zone in self._zones.all if zones is None else zones:
            report = zone.report()
            reports.append(report)
            if self._services.pause is not None:
                report["paused"].append(self._services.pause.told())
            report |= {
                "running": running,
                "pid": os.getpid(),
                "version": __version__,
                "started_at": self._started,
                "isolation": self._parsers.isolation,
                "stale": self.hearts.stale(),
                "services": figures.services(self._services.pool),
                "web": self._web.report(),
                "reload": self.last_reload.told() if self.last_reload else None,
                "notifications": self._notify(zone.zone.name, report["paused"]),
            }
            zone.folders.write_report("daemon.json", json.dumps(report).encode())
        if running:
            connected = self._services.pool is not None
            self._unit.status(systemd.sentence(reports, connected=connected))

    def _notify(self, zone: str, paused: list[dict[str, Any]]) -> dict[str, Any]:
        connected = self._services.pool is not None
        told = Told(tuple(paused), connected, self._web.report()["url"])
        return self._notifier.note(zone, told)


def _told(error: BaseException) -> dict[str, str]:
    if isinstance(error, DropzoneError):
        return {"reason": error.message, "hint": error.hint}
    return {"reason": repr(error)}


def exit_code(error: BaseException) -> int:
    """Return with what ``dropzone run`` ends: docs/operations.md lists the codes."""
    if isinstance(error, ConfigurationError):
        return 2
    if isinstance(error, ZoneError) and not isinstance(error, ZoneHeld):
        return UNFIT
    return 1
