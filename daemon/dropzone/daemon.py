"""The composition root: builds everything, starts it in order, stops it in order."""

import contextlib
import json
import math
import os
import queue
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from dropzone import __version__, building, heartbeats, log
from dropzone.errors import DropzoneError, ServiceUnavailable, Stopping, ZoneHeld
from dropzone.executor.parsers import ParserPool
from dropzone.executor.turns import Turns
from dropzone.heartbeats import Heartbeats
from dropzone.models import UNDER_WAY, Outcome
from dropzone.services import Services, without_own_addresses
from dropzone.sessions import SessionPool
from dropzone.sessions.settings import MlflowSettings, mlflow_settings
from dropzone.settings import Settings
from dropzone.track_process import TrackProcess
from dropzone.web.server import WebServer
from dropzone.zone_service import ZoneService

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_TICK_SECONDS = 0.2
_REPORT_SECONDS = 1.0
# How soon a zone is taken over whose daemon died, or whose disk has room again.
_HELD_SECONDS = 0.5
# `run --once` gives up on a service that has been away for this long.
_ONCE_PATIENCE_SECONDS = 60.0
# Longer than one run takes, the import of MLflow included.
_TRACK_SECONDS = 60.0


class Daemon:
    """All zones of one configuration. ``run`` returns the exit code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = without_own_addresses(settings)
        self._stop = threading.Event()
        self._errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._log = log.get("daemon")
        self._started = time.time()
        #: Every loop of the daemon, its main loop included; who is overdue hangs.
        self.hearts = Heartbeats()
        extract, mlflow = self._settings.extract, self._settings.mlflow
        self._parsers = ParserPool(
            building.processes(self._settings),
            memory_mb=extract.memory_mb,
            timeout_seconds=extract.timeout_seconds,
            stop=self._stop,
        )
        self._tracking = TrackProcess(
            _for_tracking(mlflow_settings(self._settings)),
            timeout=_TRACK_SECONDS + mlflow.timeout_seconds,
            stop=self._stop,
        )
        turns = Turns(self._stop)
        self._zones = [
            ZoneService(
                zone,
                self._settings,
                tracking=self._tracking,
                parsers=self._parsers,
                turns=turns,
                stop=self._stop,
                broken=self._errors.put,
                hearts=self.hearts,
            )
            for zone in self._settings.zones
        ]
        self._services = Services(
            self._settings, self._stop, self._connect, self._errors.put, self.hearts
        )
        self._web = WebServer(self._settings.web, self._make_app, self._stop)

    def run(
        self, *, once: bool = False, ready: Callable[[], None] | None = None
    ) -> int:
        """Serve until a signal comes, or with ``once`` until everything has ended.

        ``ready`` is called when files are being watched. Returns 0, or 1 when a file
        failed (``once``) or a step broke.

        Raises:
            ZoneError: a zone cannot be served.

        """
        # A dump of our memory would hold every secret, and every file under way. The
        # process stays open to debuggers: its own user can read the secrets anyway.
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
        opened: list[ZoneService] = []
        with self._signals():
            try:
                if not once:
                    self._web.start()
                for zone in self._zones:
                    self._open(zone, once=once)
                    opened.append(zone)
                failed_before = self._failed()
                for zone in self._zones:
                    zone.watch()
                self._services.start()
                self._log.info("started", version=__version__, pid=os.getpid())
                if ready is not None:
                    ready()
                with self.hearts.loop("main"):
                    code = self._serve(once=once)
                if once and self._failed() > failed_before:
                    code = 1
            except Stopping:
                code = 0
            finally:
                self._shut_down(opened)
        return code

    def _open(self, zone: ZoneService, *, once: bool) -> None:
        """Open a zone; wait while its disk is full, or (a setting) another holds it.

        Raises:
            Stopping: a signal came while it waited.

        """
        until = time.monotonic() + (_ONCE_PATIENCE_SECONDS if once else math.inf)
        told = ""
        while reason := _held_up(zone, until):
            if reason != told:
                self._log.warning("waiting for the zone", reason=reason)
                told = reason
            if self._stop.wait(_HELD_SECONDS):
                raise Stopping("The daemon is stopping.")

    def _connect(self, pool: SessionPool) -> None:
        for zone in self._zones:
            zone.connect(pool)

    def _make_app(self) -> "ASGIApp":
        from dropzone.web import app, health

        sources = app.Sources(
            stale=dict[str, float],
            not_ready=lambda: health.not_ready(self._settings),
        )
        return app.make(self._settings.web, sources)

    def _serve(self, *, once: bool) -> int:
        reported = 0.0
        while not self._stop.wait(_TICK_SECONDS):
            heartbeats.beat()
            try:
                error = self._errors.get_nowait()
            except queue.Empty:
                pass
            else:
                told = (
                    error.message if isinstance(error, DropzoneError) else repr(error)
                )
                self._log.critical("stopping because a step broke", reason=told)
                return 1
            self._tick()
            if time.monotonic() - reported >= _REPORT_SECONDS:
                self._report(running=True)
                reported = time.monotonic()
            if once and (code := self._once()) is not None:
                return code
        return 0

    def _tick(self) -> None:
        if self._services.pool is None:
            return
        for zone in self._zones:
            zone.pipeline.check()
            zone.pipeline.resume_due()

    def _once(self) -> int | None:
        """Return the exit code when a run with ``once`` is over."""
        pauses = [gate.pause for zone in self._zones for gate in zone.gates]
        pauses.append(self._services.pause)
        for pause in pauses:
            if pause is None or pause.trying:
                continue
            if time.time() - pause.since > _ONCE_PATIENCE_SECONDS:
                self._log.error(
                    "not finished",
                    step=pause.step,
                    reason=pause.reason,
                    hint=pause.hint,
                )
                return 1
        if self._services.pool and all(zone.finished for zone in self._zones):
            return 0
        return None

    def _failed(self) -> int:
        return sum(
            zone.journal.counts().outcomes.get(Outcome.FAILED, 0)
            for zone in self._zones
        )

    def _shut_down(self, opened: list[ZoneService]) -> None:
        """Stop in order: intake, steps, parsers, sessions, servers, journals."""
        begun = time.monotonic()
        until = begun + self._settings.limits.stop_seconds
        self._stop.set()
        self._log.info("stopping", within_seconds=self._settings.limits.stop_seconds)
        late: list[str] = []
        self._tracking.close()
        for zone in opened:
            late += zone.join(until)
        self._parsers.close()
        if not self._services.join(max(1.0, until - time.monotonic())):
            late.append("services")
        self._services.close()
        if not self._web.join(max(1.0, until - time.monotonic())):
            late.append("web")
        self._report(running=False, zones=opened)
        left = _left(opened)
        if not late:
            for zone in opened:
                zone.close()
        if late:
            left["still_working"] = late
        self._log.info("stopped", seconds=round(time.monotonic() - begun, 2), **left)

    def _report(self, *, running: bool, zones: list[ZoneService] | None = None) -> None:
        for zone in self._zones if zones is None else zones:
            report = zone.report()
            if self._services.pause is not None:
                report["paused"].append(self._services.pause.told())
            report |= {
                "running": running,
                "pid": os.getpid(),
                "version": __version__,
                "started_at": self._started,
                "isolation": self._parsers.isolation,
                "web": self._web.report(),
            }
            zone.folders.write_report("daemon.json", json.dumps(report).encode())

    @contextlib.contextmanager
    def _signals(self) -> Any:
        def handle(number: int, _frame: FrameType | None) -> None:
            if self._stop.is_set():
                # The second one: everything on disk is safe as it is.
                os._exit(128 + number)
            self._stop.set()

        # A writer that opens a file while we probe it with a lease raises SIGIO.
        handlers: dict[int, Any] = {signal.SIGIO: signal.SIG_IGN}
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # What nohup or a shell's "&" made us ignore stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                handlers[number] = handle
        before = {which: signal.signal(which, to) for which, to in handlers.items()}
        try:
            yield
        finally:
            for which, to in before.items():
                signal.signal(which, to)


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


def _for_tracking(settings: MlflowSettings) -> dict[str, Any]:
    """Return what the process that logs runs needs, as JSON takes it."""
    login = settings.login.items()
    return {
        "directory": str(settings.directory),
        "tracking_uri": settings.tracking_uri,
        "artifact_root": settings.artifact_root,
        "experiment_name": settings.experiment_name,
        "timeout": settings.timeout,
        "login": {name: secret.get_secret_value() for name, secret in login},
        "files": {name: str(path) for name, path in settings.files.items()},
    }


def _left(zones: list[ZoneService]) -> dict[str, Any]:
    """Return what the next start goes on with: jobs by their state, and runs."""
    states: Counter[str] = Counter()
    for zone in zones:
        states.update(zone.journal.counts().states)
    under_way = {str(state): states[state] for state in UNDER_WAY if states[state]}
    return {
        "given_back": sum(under_way.values()),
        "under_way": under_way,
        "runs_given_back": sum(zone.journal.batches_waiting() for zone in zones),
    }
