"""How a zone is doing: from its lock, its journal, and what its daemon reports."""

import json
import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropzone import pauses, zone_opening
from dropzone.errors import ZoneError
from dropzone.journal import Finding, Journal
from dropzone.models import UNDER_WAY
from dropzone.pauses import PERSON, WINDOW
from dropzone.readiness import NameFilter
from dropzone.settings import Settings, Zone

_RATE_SECONDS = 60.0
# Jobs that took longer than this from drop to end are left out of the rate.
_LONGEST_COUNTED = 3600.0
_MOST_FINDINGS = 100
# Nobody reads a higher count, and counting takes time.
MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """What ended within the last ``seconds``."""

    seconds: float = _RATE_SECONDS
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class CollectionCount:
    """The ended jobs of one collection, by outcome, and their bytes."""

    collection: str
    files: int
    bytes: int
    outcomes: dict[str, int]


@dataclass(frozen=True, slots=True)
class History:
    """What the journal knows.

    ``failed`` counts what waits for a person in ``failed/``; of the others that failed,
    ``put_back`` are tried anew, and the files of ``gone`` were set aside or removed.
    """

    states: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    under_way: int = 0
    failed: int = 0
    put_back: int = 0
    gone: int = 0
    oldest_unfinished_seconds: float | None = None
    oldest_unfinished_at: float | None = None
    last_minute: Rate = field(default_factory=Rate)
    unlogged_batches: int = 0
    refused: tuple[Finding, ...] = ()
    collections: tuple[CollectionCount, ...] = ()


@dataclass(frozen=True, slots=True)
class InInput:
    """What lies in ``input/`` and was not taken; see Tally in dropzone.tally."""

    files: int = 0
    bytes: int | None = None
    oldest_at: float | None = None
    counted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is not done yet. The oldest are in epoch seconds, None if there is none.

    ``files`` and ``bytes`` are of the jobs under way, by state. ``failed`` counts what
    waits for a person, ``refused`` what cannot be taken out of ``input/``, and
    ``unlogged`` the closed batches without a run.
    """

    files: dict[str, int]
    bytes: dict[str, int]
    oldest: float | None
    failed: int
    refused: int
    unlogged: int
    oldest_unlogged: float | None


@dataclass(frozen=True, slots=True)
class ZoneStatus:
    """``pid`` is the daemon's, or None; ``served`` tells whether one ever ran here.

    ``notifications`` and ``watcher`` are what the running daemon reports, and
    ``paused`` too, but for what a person paused, which lasts while none runs;
    ``pauses_unknown`` says why nobody can tell that, if so.
    ``steps`` and ``services`` are the figures of the daemon (dropzone.figures).
    ``reload`` is how the daemon's last reload went (see Reload in dropzone.reloading).
    ``waiting_in_input`` is counted, up to ``MOST_WAITING``, only while none runs.
    """

    zone: str
    path: Path
    served: bool
    pid: int | None
    since: float | None
    paused: tuple[dict[str, Any], ...]
    watcher: dict[str, Any]
    waiting_in_input: int | None
    history: History
    reload: dict[str, Any] | None = None
    notifications: dict[str, Any] = field(default_factory=dict)
    pauses_unknown: str = ""
    steps: dict[str, Any] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)

    @property
    def in_input(self) -> InInput:
        """What was dropped and not taken, as the daemon last saw it."""
        if self.pid is None:
            return InInput(files=self.waiting_in_input or 0)
        return InInput(**self.watcher.get("in_input", {}))

    @property
    def oldest_waiting_at(self) -> float | None:
        """Since when the oldest file waits that was dropped and has not ended."""
        moments = (self.history.oldest_unfinished_at, self.in_input.oldest_at)
        return min((at for at in moments if at is not None), default=None)

    @property
    def faults(self) -> tuple[dict[str, Any], ...]:
        """What is paused, but for windows of time: those are everyday life."""
        return tuple(pause for pause in self.paused if pause["service"] != WINDOW)

    @property
    def fine(self) -> bool:
        """True while a daemon serves the zone and no step is paused beyond a window."""
        return self.pid is not None and not self.faults and not self.pauses_unknown


def of_all(
    settings: Settings, *, history: bool = True, totals: bool = True
) -> list[ZoneStatus]:
    """Return the status of each zone; its journal is not read without ``history``.

    Without ``totals`` it is read for less: no rate, and no counts of collections,
    which take half a second for a million jobs.

    Raises:
        ZoneError: this user may not look into one.

    """
    return [of(zone, history=history, totals=totals) for zone in settings.zones]


def web_of(settings: Settings) -> dict[str, Any]:
    """Return the ``url`` of the running daemon's page, or the ``problem`` with it."""
    for zone in settings.zones:
        report = report_of(zone.path)
        if report and server_of(zone.path) == report.get("pid"):
            told: dict[str, Any] = report.get("web", {})
            return told
    return {"url": None}


def server_of(root: Path) -> int | None:
    """Return the process that serves the zone now, or None.

    Raises:
        ZoneError: this user may not look.

    """
    try:
        return zone_opening.holder_of(root)
    except PermissionError as error:
        raise ZoneError(
            f"The state of the zone {root} belongs to another user.",
            hint="Run this as the daemon's user, or as root.",
        ) from error


def report_of(root: Path) -> dict[str, Any]:
    """Return what the daemon of the zone last said about itself; {} if nothing."""
    try:
        text = (root / "state" / "daemon.json").read_text(encoding="utf-8")
        report: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return {}
    return report


def backlog_of(zone: Path) -> Backlog:
    """Return what a zone's journal knows to be unfinished; cheap while that is few.

    Raises:
        ZoneError: there is no journal.

    """
    journal = Journal(zone / "state" / "journal.sqlite", create=False)
    try:
        return _backlog(journal)
    finally:
        journal.close()


def _backlog(journal: Journal) -> Backlog:
    rows = journal.rows("backlog")
    states = [str(state) for state in UNDER_WAY]
    behind = journal.rows("batches_behind")[0]
    return Backlog(
        files=dict.fromkeys(states, 0) | {row["status"]: row["jobs"] for row in rows},
        bytes=dict.fromkeys(states, 0) | {row["status"]: row["bytes"] for row in rows},
        oldest=min((row["oldest"] for row in rows), default=None),
        failed=journal.rows("failed_open")[0]["jobs"],
        refused=journal.rows("findings_count")[0]["findings"],
        unlogged=behind["batches"],
        oldest_unlogged=behind["oldest"],
    )


def of(zone: Zone, *, history: bool = True, totals: bool = True) -> ZoneStatus:
    """Return the status of one zone; the same errors."""
    pid = server_of(zone.path)
    report = report_of(zone.path)
    # A report of a former process says nothing about this one.
    live = report if pid is not None and report.get("pid") == pid else {}
    paused, unknown = _paused(zone, live.get("paused", ()))
    journal = zone.path / "state" / "journal.sqlite"
    return ZoneStatus(
        zone=zone.name,
        path=zone.path,
        served=journal.exists(),
        pid=pid,
        since=live.get("started_at"),
        paused=paused,
        watcher=live.get("watcher", {}),
        waiting_in_input=_waiting(zone) if pid is None else None,
        history=_history(journal, totals)
        if history and journal.exists()
        else History(),
        reload=live.get("reload"),
        notifications=live.get("notifications", {}),
        pauses_unknown=unknown,
        steps=live.get("steps", {}),
        services=live.get("services", {}),
    )


def _paused(
    zone: Zone, reported: Iterable[dict[str, Any]]
) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return what is paused, and why nobody can tell what persons paused, if so."""
    try:
        held = pauses.read(zone.path)
    except pauses.PausesDamaged as error:
        return tuple(reported), f"{error.message} {error.hint}"
    wanted = (one.pause().told() for one in held.values())
    return (*wanted, *(p for p in reported if p["service"] != PERSON)), ""


def _waiting(zone: Zone) -> int:
    names = NameFilter(zone.ignore)
    count = 0
    for folder, folders, files in os.walk(os.fsencode(zone.path / "input")):
        folders[:] = [name for name in folders if not names.ignores(name)]
        plain = (name for name in files if not names.ignores(name))
        count += sum(_is_plain(os.path.join(folder, name)) for name in plain)
        if count >= MOST_WAITING:
            return MOST_WAITING
    return count


def _is_plain(file: bytes) -> bool:
    try:
        return stat.S_ISREG(os.lstat(file).st_mode)
    except OSError:
        return False


def _history(path: Path, totals: bool) -> History:
    journal = Journal(path, create=False)
    now = time.time()
    try:
        counts = journal.counts()
        oldest = journal.rows("oldest_unfinished")[0]["created_at"]
        return History(
            states={str(state): n for state, n in counts.states.items() if n},
            outcomes={str(name): n for name, n in counts.outcomes.items() if n},
            under_way=counts.under_way,
            failed=counts.failed,
            put_back=counts.retried,
            gone=counts.gone,
            oldest_unfinished_seconds=None if oldest is None else now - oldest,
            oldest_unfinished_at=oldest,
            last_minute=_rate(journal, now) if totals else Rate(),
            unlogged_batches=journal.batches_waiting(),
            refused=tuple(journal.findings(_MOST_FINDINGS)),
            collections=collections_of(journal) if totals else (),
        )
    finally:
        journal.close()


def _rate(journal: Journal, now: float) -> Rate:
    # The ids begin with the time of the drop, so this reads the youngest jobs only.
    first = f"{int((now - _LONGEST_COUNTED) * 1000):012x}"
    after = f"{first[:8]}-{first[8:]}"
    row = journal.rows("ended_since", after=after, since=now - _RATE_SECONDS)[0]
    return Rate(files=row["jobs"], bytes=row["bytes"])


def collections_of(journal: Journal) -> tuple[CollectionCount, ...]:
    """Return the collections in which a job ended, by name."""
    found: dict[str, dict[str, int]] = {}
    sizes: dict[str, int] = {}
    for row in journal.rows("collections"):
        name = row["collection"]
        found.setdefault(name, {})[row["outcome"]] = row["jobs"]
        sizes[name] = sizes.get(name, 0) + row["bytes"]
    return tuple(
        CollectionCount(name, sum(outcomes.values()), sizes[name], outcomes)
        for name, outcomes in found.items()
    )
