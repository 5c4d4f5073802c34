"""Everything that serves one zone, built and stopped together."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropzone import building, care, disk, figures, suspects
from dropzone import pauses as held_pauses
from dropzone.executor.local import LocalExecutor
from dropzone.executor.parsers import ParserPool
from dropzone.executor.requests import Note, Requests
from dropzone.executor.turns import Turns
from dropzone.gate import Gate, Preparation
from dropzone.heartbeats import Heartbeats
from dropzone.holds import Holds
from dropzone.index import Indexer
from dropzone.intake import Intake
from dropzone.journal_opening import open_journal
from dropzone.measures import Measures
from dropzone.notifications.zone import Source
from dropzone.pipeline import Pipeline
from dropzone.readiness import Rules
from dropzone.receipts import Receipts
from dropzone.release import Release
from dropzone.rescuer import Rescued, Rescuer
from dropzone.room import Growth, Room
from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone
from dropzone.store import KeyRule, Store
from dropzone.track import Batches, Tracker, TrackRules
from dropzone.track_process import TrackProcess
from dropzone.uploads import tidying
from dropzone.verdict import Limits
from dropzone.watcher import Timing, Watcher
from dropzone.zone_gates import ZoneGates
from dropzone.zones import ZoneFolders

_STALE_UPLOAD_SECONDS = 86_400
_MEGABYTE = 1_000_000
_HOUR = 3600.0


class ZoneService:
    """One zone. ``open`` it, ``watch``, ``connect`` the services, later ``join``."""

    def __init__(  # noqa: PLR0913 what all zones share comes part by part
        self,
        zone: Zone,
        settings: Settings,
        *,
        tracking: TrackProcess,
        parsers: ParserPool,
        turns: Turns,
        stop: threading.Event,
        broken: Callable[[BaseException], None],
        hearts: Heartbeats | None = None,
        measures: Measures | None = None,
    ) -> None:
        self.measures = (measures or Measures()).zone(zone.name)
        self._figures = figures.Steps(self.measures)
        self._hearts = (hearts or Heartbeats()).below(zone.name)
        self.zone = zone
        self._settings = settings
        self._tracking = tracking
        self._parsers = parsers
        self._turns = turns
        self._stop = stop
        self._broken = broken
        self._indexer: Indexer | None = None
        #: New settings may come while the parts that need the services are made.
        self._updating = threading.Lock()
        self._rescued = Rescued()
        self._caretaker: care.Caretaker | None = None
        self.folders = ZoneFolders(zone.path)
        self._holds = Holds(zone.name, zone.path)

    def open(self) -> None:
        """Hold the zone, open its journal and receipts, and rescue what was left.

        Raises:
            ZoneError: the zone cannot be served.
            ServiceUnavailable: its disk is full or failing (``disk``).

        """
        with contextlib.ExitStack() as opened:
            self.folders.open()
            opened.callback(self.folders.close)
            state = self.zone.path / "state"
            self.journal = open_journal(state / "journal.sqlite")
            opened.callback(self.journal.close)
            with disk.faults():
                self._receipts = Receipts(state / "receipts")
            opened.callback(self._receipts.close)
            self._prepare()
            # From here on ``close`` does it.
            opened.pop_all()

    def _prepare(self) -> None:
        mlflow, limits = self._settings.mlflow, self._settings.limits
        directory = self._settings.services_directory
        self._holds_services = _same_disk(directory, self.zone.path)
        self._batches = Batches(
            self.journal, seconds=mlflow.batch_seconds, files=mlflow.batch_files
        )
        release = Release(
            self.folders, self._receipts, self.journal, self._batches, self.measures
        )
        rescuer = Rescuer(
            self.zone.name, self.folders, self.journal, self._receipts, release
        )
        self._rescued = rescuer.run()
        self._suspects = suspects.examine(self.journal, self._rescued, self._limits())
        self._gates = ZoneGates(
            self.folders,
            self._tracking.check,
            first_pause=self._settings.retry.first_pause_seconds,
            stop=self._stop,
        )
        self.pipeline = Pipeline(
            self.folders,
            self.journal,
            release,
            self._gates.steps,
            self._limits(),
            capacity=limits.jobs_in_memory,
            stop=self._stop,
            hearts=self._hearts,
        )
        self.watcher = self._make_watcher()
        self.tracker = self._make_tracker()
        # Before anything is taken.
        self.hold()

    def source(self) -> Source:
        """Return what messages about this zone are made of."""
        return Source(self.zone, self.journal, lambda: self._receipts.end)

    def watch(self) -> None:
        """Begin to claim files and to log finished batches; needs no service."""
        self.watcher.start(self._hearts)
        self.tracker.start(self._hearts, self.measures)

    def connect(self, pool: SessionPool) -> None:
        """Begin to store, index and release."""
        self._gates.pool = pool
        with self._updating:
            self._connect(pool)
        self.pipeline.resume(self._rescued.resume)
        self.pipeline.start(self._rescued)

    def _connect(self, pool: SessionPool) -> None:
        documents = building.documents(pool, self._settings)
        indexer = self._indexer = Indexer(
            self._parsers,
            documents,
            pool.s3.get,
            building.index_rules(self._settings),
            Preparation(pool.postgres.migrate),
            open_local=lambda one: self.folders.open_payload(one.job_id, one.path),
            measures=self.measures,
        )
        local = LocalExecutor(
            indexer,
            self._requests(),
            self._gates.steps.index,
            self.pipeline.indexed,
            workers=building.processes(self._settings),
            stop=self._stop,
            broken=self._broken,
            hearts=self._hearts,
        )
        self.pipeline.connect(
            self._make_store(pool),
            local,
            lambda job: documents.record_failures([job]),
            uploads=self._settings.executor.uploads,
            measures=self.measures,
        )

    def _make_store(self, pool: SessionPool) -> Store:
        aws = self._settings.aws

        def prepare_bucket() -> None:
            pool.s3.ensure_bucket()
            pool.s3.abort_stale_uploads(aws.prefix, _STALE_UPLOAD_SECONDS)

        return Store(
            self.folders,
            pool.s3,
            KeyRule(aws.key_template, aws.prefix),
            Preparation(prepare_bucket),
        )

    def update(self, zone: Zone, settings: Settings) -> None:
        """Take what changed among the settings that can change while running."""
        before = (self.zone, self.room_rules)
        with self._updating:
            self.zone, self._settings = zone, settings
            limits, mlflow = settings.limits, settings.mlflow
            self.pipeline.update(
                self._limits(),
                capacity=limits.jobs_in_memory,
                uploads=settings.executor.uploads,
            )
            self._batches.update(seconds=mlflow.batch_seconds, files=mlflow.batch_files)
            self._gates.update(settings.retry.first_pause_seconds)
            if self._indexer is not None:
                self._indexer.update(building.index_rules(settings))
        rules = self.room_rules
        self._room.update(*rules)
        # A scan of a large folder is not for nothing.
        if (zone, rules) != before:
            self.watcher.update(*self._watch_rules())

    def tend(self, pool: SessionPool) -> None:
        """Begin to remove what the settings of the moment say, if anything."""

        def clean() -> care.Report | None:
            with disk.faults():
                lasting = self._settings.web.uploads_expire_hours * _HOUR
                tidying.tidy(self.zone, lasting)
            # Who pauses something wants to look at it, or to mend it.
            if held_pauses.read(self.zone.path):
                return None
            if not care.Rules.of(self._settings.retention).any:
                return None
            return building.cleaning(
                self.zone, self._settings, self.journal, pool, self._stop
            ).run()

        self._caretaker = care.Caretaker(
            clean,
            self._gates.care(),
            every=lambda: self._settings.retention.every_seconds,
            stop=self._stop,
            broken=self._broken,
        )
        self._caretaker.start(self._hearts)

    def hold(self) -> bool:
        """Hold what a person or the time pauses; return whether that is news."""
        return self._holds.look(self.gates, self._settings.limits.upload_windows)

    def join(self, until: float) -> list[str]:
        """Wait for all threads until the monotonic time; name those that go on."""
        late = self.pipeline.join(until)
        parts: list[tuple[str, Watcher | Tracker | care.Caretaker]]
        parts = [("watcher", self.watcher), ("track", self.tracker)]
        if self._caretaker is not None:
            parts.append(("caretaker", self._caretaker))
        for name, part in parts:
            if not part.join(max(0.1, until - time.monotonic())):
                late.append(name)
        return late

    def close(self) -> None:
        """Close journal, receipts and folders; every thread must have ended."""
        self.journal.close()
        self._receipts.close()
        self.folders.close()

    @property
    def opened(self) -> bool:
        return hasattr(self, "tracker")

    @property
    def gates(self) -> list[Gate]:
        return self._gates.all

    @property
    def finished(self) -> bool:
        """True when everything that was in ``input/`` has ended and is tracked."""
        return (
            self.watcher.settled
            and self.pipeline.idle
            and not self.journal.counts().under_way
            and not self.journal.batches_waiting()
        )

    def report(self) -> dict[str, Any]:
        """Return what ``status`` shows beside the journal's counts."""
        pauses = [pause for gate in self.gates for pause in gate.current_pauses]
        return {
            "zone": self.zone.name,
            "watcher": self.watcher.report(),
            "queued": self.pipeline.queued(),
            "paused": [pause.told() for pause in pauses],
            "steps": self._figures.told(),
        }

    def _requests(self) -> Requests:
        def write(note: Note) -> None:
            self.journal.mark(suspects.MARK, note.dump())

        return Requests(
            self._turns, self._gates.steps.index, write, self._suspects, self._stop
        )

    def _limits(self) -> Limits:
        retry = self._settings.retry
        return Limits(
            unknown_attempts=retry.unknown_error_attempts,
            parser_deaths=retry.parser_death_attempts,
            first_pause=retry.first_pause_seconds,
            longest_pause=retry.longest_pause_seconds,
        )

    def _make_watcher(self) -> Watcher:
        zone = self.zone
        rules, timing = self._watch_rules()
        self._room = Room(
            self.folders.disk_status,
            self.journal,
            *self.room_rules,
            servers_disk=self._servers_disk(),
        )
        intake = Intake(
            zone.name,
            self.folders,
            self.journal,
            self.pipeline.to_store,
            self._room,
            self.measures,
        )
        return Watcher(
            self.folders,
            self.journal,
            intake,
            self._gates.claim,
            rules=rules,
            timing=timing,
            stop=self._stop,
            broken=self._broken,
        )

    def _watch_rules(self) -> tuple[Rules, Timing]:
        zone = self.zone
        return (
            Rules(zone.quiet_seconds, zone.quiet_seconds_without_lease, zone.ignore),
            Timing(zone.events, zone.scan_seconds, zone.poll_seconds),
        )

    def _servers_disk(self) -> Callable[[], os.statvfs_result] | None:
        """Return what is asked for the room of our servers, if they are elsewhere."""
        settings = self._settings
        ours = settings.embeds_s3 or settings.embeds_postgres
        if self._holds_services or not ours:
            return None
        return lambda: disk.status_above(settings.services_directory)

    @property
    def room_rules(self) -> tuple[Growth, int]:
        """What a file adds to the zone's disk, and how many bytes stay free there."""
        limits = self._settings.limits
        inside = self._holds_services
        growth = Growth(
            copied=inside and self._settings.embeds_s3,
            indexed=inside and self._settings.embeds_postgres,
            text_bytes=int(limits.text_megabytes * _MEGABYTE),
        )
        return growth, int(limits.free_megabytes * _MEGABYTE)

    def _make_tracker(self) -> Tracker:
        mlflow = self._settings.mlflow
        uri = mlflow.tracking_uri or ""
        params = building.run_params(self.zone, self._settings)
        rules = TrackRules(params, mlflow.timeout_seconds, uri.startswith("http"))
        return Tracker(
            self.journal,
            self._batches,
            self._tracking,
            self._gates.track,
            rules,
            idle=lambda: self.pipeline.idle,
            stop=self._stop,
            broken=self._broken,
        )


def _same_disk(path: Path, zone: Path) -> bool:
    """Return whether ``path``, which may not be made yet, is on the zone's disk."""
    above = next(folder for folder in (path, *path.parents) if folder.exists())
    return above.stat().st_dev == zone.stat().st_dev
