"""What ``/metrics`` tells of each zone."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from dropzone import inotify, status
from dropzone.errors import DropzoneError
from dropzone.measures import STEPS
from dropzone.services import Services
from dropzone.status import Backlog
from dropzone.web.families import Rows, counter, gauge, histogram
from dropzone.web.sparing import Sparing
from dropzone.zone_service import ZoneService

T = TypeVar("T")
#: Name, help and value of each gauge.
Table = tuple[tuple[str, str, Callable[[T], float]], ...]

_ZONE = ("zone",)
_STEP = ("zone", "step")
# Every process of this user is looked at for it.
_INOTIFY_SECONDS = 30.0


def _age(moment: float | None) -> float:
    return 0.0 if moment is None else max(0.0, time.time() - moment)


_BACKLOG: Table[Backlog] = (
    (
        "dropzone_oldest_waiting_seconds",
        "Age of the oldest file that was dropped and has not ended; 0 for none.",
        lambda b: _age(b.oldest),
    ),
    (
        "dropzone_failed_files",
        "Files in failed/ that wait for a person.",
        lambda b: b.failed,
    ),
    (
        "dropzone_refused_files",
        "Files in input/ that cannot be taken as they are.",
        lambda b: b.refused,
    ),
    (
        "dropzone_unlogged_batches",
        "Closed batches without a run in MLflow.",
        lambda b: b.unlogged,
    ),
    (
        "dropzone_oldest_unlogged_batch_seconds",
        "Time since the oldest batch without a run was closed; 0 for none.",
        lambda b: _age(b.oldest_unlogged),
    ),
)
_DISK: Table[os.statvfs_result] = (
    (
        "dropzone_disk_free_bytes",
        "Free on the zone's disk for the daemon's user.",
        lambda disk: disk.f_bavail * disk.f_frsize,
    ),
    (
        "dropzone_disk_size_bytes",
        "Size of the zone's disk.",
        lambda disk: disk.f_blocks * disk.f_frsize,
    ),
    (
        "dropzone_disk_free_files",
        "Files that still fit on the zone's disk; 0 where there is no limit.",
        lambda disk: disk.f_favail,
    ),
)
# A counter or a gauge each.
_WATCHER: tuple[tuple[Any, str, str, Callable[[Any], float]], ...] = (
    (
        counter,
        "dropzone_watcher_scans",
        "Scans of input/ since the start.",
        lambda told: told["scans"],
    ),
    (
        counter,
        "dropzone_watcher_overflows",
        "Times the kernel lost file events since the start; a scan found all.",
        lambda told: told["event_losses"],
    ),
    (
        gauge,
        "dropzone_watcher_last_scan_seconds",
        "How long the last scan took, claims not included.",
        lambda told: told["last_scan_seconds"],
    ),
    (
        gauge,
        "dropzone_watcher_events_complete",
        "Whether file events tell everything; else scans find what they miss.",
        lambda told: told["mode"] == "events",
    ),
    (
        gauge,
        "dropzone_watcher_unwatched_folders",
        "Folders below input/ that the kernel gave no watch for.",
        lambda told: told["unwatched_folders"],
    ),
    (
        gauge,
        "dropzone_input_settling_files",
        "Files in input/ that were seen and are not complete or quiet yet.",
        lambda told: told["settling"],
    ),
    (
        gauge,
        "dropzone_input_being_written_files",
        "Files in input/ that somebody writes to, out of those that settle.",
        lambda told: told["being_written"],
    ),
    (
        gauge,
        "dropzone_input_files",
        "Files in input/ that were not taken yet.",
        lambda told: told["in_input"]["files"],
    ),
    (
        gauge,
        "dropzone_input_bytes",
        "Bytes of the files in input/ that were not taken yet.",
        lambda told: told["in_input"]["bytes"],
    ),
)


class ZoneMetrics(Collector):
    """Of all zones that are opened; the others have nothing to tell yet."""

    def __init__(
        self,
        zones: Callable[[], Sequence[ZoneService]],
        services: Services,
        floor: Callable[[], int],
    ) -> None:
        self._every = zones
        self._services = services
        self._floor = floor
        self._backlogs: dict[str, Sparing[Backlog]] = {}
        self._inotify = Sparing(inotify.in_use, _INOTIFY_SECONDS)

    def describe(self) -> list[Metric]:
        """Name nothing: registering must not ask everybody for figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        zones = [zone for zone in self._every() if zone.opened]
        yield from _work(zones)
        yield from self._pauses(zones)
        yield from self._backlog(zones)
        yield from self._disk(zones)
        yield from _watchers(zones)
        yield from self._kernel()

    def _pauses(self, zones: Sequence[ZoneService]) -> Iterator[Metric]:
        paused: list[tuple[tuple[str, str], float]] = []
        since: list[tuple[tuple[str, str, str], float]] = []
        for zone in zones:
            pauses = {g.step: next(iter(g.current_pauses), None) for g in zone.gates}
            pauses["services"] = self._services.pause
            for step, pause in pauses.items():
                paused.append(((zone.zone.name, step), pause is not None))
                if pause is not None:
                    labels = (zone.zone.name, step, pause.service)
                    since.append((labels, pause.since))
        yield gauge(
            "dropzone_step_paused", "Whether the step stands still.", _STEP, paused
        )
        yield gauge(
            "dropzone_step_paused_since_timestamp_seconds",
            "Since when the step stands still, and because of which service.",
            (*_STEP, "service"),
            since,
        )
        yield counter(
            "dropzone_step_pauses",
            "Pauses of the step since the start, by the service at fault.",
            (*_STEP, "service"),
            [
                ((zone.zone.name, gate.step, service), count)
                for zone in zones
                for gate in zone.gates
                for service, count in dict(gate.pauses).items()
            ],
        )

    def _backlog(self, zones: Sequence[ZoneService]) -> Iterator[Metric]:
        told = {
            zone.zone.name: _with_input(found, zone)
            for zone in zones
            if (found := self._backlog_of(zone)) is not None
        }
        yield gauge(
            "dropzone_journal_readable",
            "Whether the zone's journal could be read; else its figures are missing.",
            _ZONE,
            [((zone.zone.name,), zone.zone.name in told) for zone in zones],
        )
        yield gauge(
            "dropzone_backlog_files",
            "Files that were taken and have not ended, by state.",
            ("zone", "state"),
            [
                ((name, state), count)
                for name, backlog in told.items()
                for state, count in backlog.files.items()
            ],
        )
        yield gauge(
            "dropzone_backlog_bytes",
            "Bytes of the files that were taken and have not ended, by state.",
            ("zone", "state"),
            [
                ((name, state), count)
                for name, backlog in told.items()
                for state, count in backlog.bytes.items()
            ],
        )
        for name, help_, value in _BACKLOG:
            yield gauge(name, help_, _ZONE, [((z,), value(b)) for z, b in told.items()])

    def _backlog_of(self, zone: ZoneService) -> Backlog | None:
        asked = self._backlogs.setdefault(
            zone.zone.name, Sparing(lambda: status.backlog_of(zone.zone.path))
        )
        try:
            return asked()
        except DropzoneError:
            # The disk is at fault: that is what somebody looks here for.
            return None

    def _disk(self, zones: Sequence[ZoneService]) -> Iterator[Metric]:
        disks = {}
        for zone in zones:
            # A disk that is gone has no figures; its steps are paused.
            with contextlib.suppress(DropzoneError):
                disks[zone.zone.name] = zone.folders.disk_status()
        for name, help_, value in _DISK:
            yield gauge(
                name, help_, _ZONE, [((z,), value(d)) for z, d in disks.items()]
            )
        yield gauge(
            "dropzone_disk_floor_bytes",
            "Below so much free no file is taken (limits.free_megabytes).",
            _ZONE,
            [((zone.zone.name,), self._floor()) for zone in zones],
        )
        yield gauge(
            "dropzone_journal_bytes",
            "Size of the zone's journal, its write-ahead log included.",
            _ZONE,
            [((z.zone.name,), _journal_bytes(z.zone.path / "state")) for z in zones],
        )

    def _kernel(self) -> Iterator[Metric]:
        watches, instances = self._inotify()
        for what, used, limit in (
            ("watches", watches, inotify.limit("max_user_watches")),
            ("instances", instances, inotify.limit("max_user_instances")),
        ):
            yield gauge(
                f"dropzone_inotify_{what}",
                f"Inotify {what} that this user's processes hold.",
                (),
                [((), used)],
            )
            rows: Rows = [] if limit is None else [((), limit)]
            yield gauge(
                f"dropzone_inotify_{what}_limit",
                f"Inotify {what} that a user may hold.",
                (),
                rows,
            )


def _with_input(backlog: Backlog, zone: ZoneService) -> Backlog:
    """Return the backlog with what was not taken yet, in the age of its oldest."""
    moments = (backlog.oldest, zone.watcher.tally().oldest_at)
    oldest = min((at for at in moments if at is not None), default=None)
    return dataclasses.replace(backlog, oldest=oldest)


def _work(zones: Sequence[ZoneService]) -> Iterator[Metric]:
    """Tell what was counted since the start."""
    measured = [(zone.zone.name, zone.measures) for zone in zones]
    yield counter(
        "dropzone_files",
        "Files that ended since the start, by outcome.",
        ("zone", "outcome"),
        [((z, name), n) for z, m in measured for name, n in m.files.items()],
    )
    yield counter(
        "dropzone_file_bytes",
        "Bytes of the files that ended since the start, by outcome.",
        ("zone", "outcome"),
        [((z, name), n) for z, m in measured for name, n in m.bytes.items()],
    )
    yield counter(
        "dropzone_retries",
        "Tries that failed and will be repeated, by the class of the error.",
        (*_STEP, "error"),
        [((z, *of), n) for z, m in measured for of, n in dict(m.retries).items()],
    )
    yield histogram(
        "dropzone_step_duration_seconds",
        "How long a step took for a file, its pauses included; track: for a batch.",
        _STEP,
        [((z, step), m.durations[step]) for z, m in measured for step in STEPS],
    )
    yield gauge(
        "dropzone_step_last_success_timestamp_seconds",
        "When the step last went well.",
        _STEP,
        [((z, of), at) for z, m in measured for of, at in dict(m.succeeded_at).items()],
    )


def _watchers(zones: Sequence[ZoneService]) -> Iterator[Metric]:
    reports = {zone.zone.name: zone.watcher.report() for zone in zones}
    for kind, name, help_, value in _WATCHER:
        yield kind(name, help_, _ZONE, [((z,), value(r)) for z, r in reports.items()])


def _journal_bytes(state: Path) -> int:
    sizes = 0
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        try:
            sizes += (state / name).stat().st_size
        except OSError:
            continue
    return sizes
