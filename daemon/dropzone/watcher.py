"""Finds files in ``input/`` and claims those that are complete.

The scan is the truth; events only tell where to look before the next one.
"""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from dropzone import heartbeats, inotify, log, threads
from dropzone.errors import ServiceUnavailable, Stopping
from dropzone.event_watch import EventWatch
from dropzone.events import Listener
from dropzone.gate import Gate
from dropzone.heartbeats import Heartbeats
from dropzone.hints import Hints
from dropzone.intake import CLAIM_TOGETHER, Intake, Taken, obstacle, unseen
from dropzone.journal import Finding, Journal
from dropzone.listing import Entry, Unreadable
from dropzone.readiness import (
    Lease,
    NameFilter,
    Ready,
    Rules,
    Sighting,
    decide,
    refusal,
    sight,
)
from dropzone.tally import InputTally, Tally
from dropzone.text import display
from dropzone.zones import ZoneFolders

T = TypeVar("T")

# After this long a scan has more to take than it has seen.
_LONG_SCAN_SECONDS = 5.0
# A scan may take this share of the time.
_SCAN_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Timing:
    """Whether to use file events, and the seconds between scans with and without."""

    events: bool = True
    scan: float = 30.0
    poll: float = 5.0


@dataclass(slots=True)
class _Waiting:
    sighting: Sighting
    until: float
    busy: bool


class Watcher:
    """One thread for one zone."""

    def __init__(
        self,
        folders: ZoneFolders,
        journal: Journal,
        intake: Intake,
        gate: Gate,
        *,
        rules: Rules,
        timing: Timing,
        stop: threading.Event,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._folders = folders
        self._journal = journal
        self._intake = intake
        self._gate = gate
        self._rules = rules
        self._timing = timing
        self._stop = stop
        self._broken = broken
        self._filter = NameFilter(rules.ignore)
        #: The rules and times that hold from the next round on.
        self._told = rules, timing
        self._hints = Hints()
        self._waiting: dict[bytes, _Waiting] = {}
        self._findings = {found.path: found for found in journal.findings(limit=-1)}
        #: What was refused since the last scan began, known or not.
        self._refused: set[bytes] = set()
        self._events = EventWatch(
            folders.root / "input",
            Listener(self._hints.file, self._hints.folder, self._on_loss),
            wanted=timing.events,
            remote=folders.remote,
        )
        self._tally = InputTally(
            lambda: folders.walk(self._filter.ignores),
            lambda path: path in self._findings,
            stop,
        )
        self._next_scan = self._next_check = 0.0
        #: Of the scan that goes on; between two never.
        self._scan_begun = math.inf
        self.scans = 0
        self.losses = 0
        self.scan_seconds = 0.0
        #: Seconds of a scan that went into claims, or into waiting for a disk.
        self._elsewhere = 0.0
        self._log = log.get("watcher")
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self, hearts: Heartbeats | None = None) -> None:
        self._hearts = hearts or Heartbeats()
        self._events.restart()
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Stop events and wait for the thread; the stop event must be set."""
        self._hints.wake()
        ended = threads.end([self._thread], seconds)
        self._events.stop()
        return ended

    def update(self, rules: Rules, timing: Timing) -> None:
        """Take new rules and times (but for ``events``); begins with a scan."""
        self._told = rules, timing
        self._hints.scan()
        self._hints.wake()

    def report(self) -> dict[str, object]:
        """Return how the watcher is doing, for ``status``."""
        waiting = list(self._waiting.values())
        return {
            **self._events.report(),
            "scans": self.scans,
            "last_scan_seconds": round(self.scan_seconds, 4),
            "event_losses": self.losses,
            "settling": len(waiting),
            "being_written": sum(one.busy for one in waiting),
            "in_input": dataclasses.asdict(self.tally()),
        }

    def tally(self) -> Tally:
        """Return what lies in ``input/`` and was not taken; looks at nothing anew."""
        # A copy in one go: the watcher goes on meanwhile.
        waiting = list(self._waiting.values())
        return self._tally.told((w.sighting.signature, w.busy) for w in waiting)

    @property
    def settled(self) -> bool:
        """True after a scan, when every file is claimed, refused, or being written."""
        return (
            self.scans > 0
            and not self._hints.waiting
            and all(waiting.busy for waiting in self._waiting.values())
        )

    # Called by the thread of the events

    def _on_loss(self) -> None:
        self.losses += 1
        self._log.warning(
            "events were lost; scanning",
            losses=self.losses,
            queue=inotify.limit("max_queued_events"),
            hint=f"If this is often: {inotify.raise_limit('max_queued_events')}",
        )
        self._hints.scan()
        self._hints.wake()

    # The watcher's own thread

    def _run(self) -> None:
        with self._hearts.loop("watcher"):
            self._loop()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._stand_by()
                self._round()
            except Stopping:
                return
            except Exception as error:  # noqa: BLE001 told to the daemon, which ends
                self._log.exception("watcher failed")
                self._broken(error)
                return
            seconds = max(0.0, self._next_look() - time.monotonic())
            with heartbeats.within(seconds + heartbeats.SILENCE_SECONDS):
                self._hints.wait(seconds)

    def _stand_by(self) -> None:
        if not self._gate.held:
            return
        self._gate.admit(self._tally.count)
        # Much may have come and gone.
        self._hints.scan()

    def _round(self) -> None:
        files, folders, scan = self._hints.take()
        told = self._told
        if told != (self._rules, self._timing):
            self._rules, self._timing = told
            self._filter = NameFilter(self._rules.ignore)
        if scan or time.monotonic() >= self._next_scan or self._is_blind():
            self._scan()
            self._follow(files, only_arrived=True)
        else:
            self._follow(files)
            for folder in folders:
                self._consider_all(self._folders.walk(self._filter.ignores, folder))
            self._look_again()
        if not self._gate.held:
            self._tally.forget()

    def _is_blind(self) -> bool:
        """Look, now and then, whether events can come, and from the right folder."""
        now = time.monotonic()
        if now < self._next_check:
            return False
        self._next_check = now + self._timing.poll
        self._events.look()
        expected = self._timing.events and not self._events.works
        return expected or not self._folders.is_input()

    def _scan(self) -> None:
        begun = self._scan_begun = time.monotonic()
        self._elsewhere = 0.0
        if self._call(self._folders.refresh):
            self._log.warning("input was replaced; watching the new folder")
            self._events.restart()
        # Before the walk: what comes after it must be told.
        self._events.tend()
        # Only of what waits already: a million files that are taken leave no trace.
        unseen_yet = set(self._waiting)
        self._refused.clear()
        self._consider_all(self._folders.walk(self._filter.ignores), unseen_yet)
        for path in unseen_yet:
            self._waiting.pop(path, None)
        self._record((), self._findings.keys() - self._refused)
        self.scan_seconds = time.monotonic() - begun - self._elsewhere
        pause = self._timing.scan if self._events.complete else self._timing.poll
        self._next_scan = begun + max(pause, self.scan_seconds / _SCAN_SHARE)
        self._scan_begun = math.inf
        self.scans += 1

    def _follow(self, files: dict[bytes, bool], *, only_arrived: bool = False) -> None:
        looked = (
            (self._folders.look(path), arrived)
            for path, arrived in files.items()
            if (arrived or not only_arrived)
            and not any(self._filter.ignores(part) for part in path.split(b"/"))
        )
        entries = [(entry, arrived) for entry, arrived in looked if entry is not None]
        self._claim_ready(self._consider(entry, arrived=a) for entry, a in entries)

    def _look_again(self) -> None:
        now = time.monotonic()
        due = [path for path, w in self._waiting.items() if w.until <= now]
        for path in due:
            if self._folders.look(path) is None:
                del self._waiting[path]
        self._follow(dict.fromkeys(due, False))

    def _consider_all(
        self,
        entries: Iterable[Entry | Unreadable],
        unseen_yet: set[bytes] | None = None,
    ) -> None:
        def ready() -> Iterable[Entry | Finding | None]:
            for entry in entries:
                heartbeats.beat()
                if self._stop.is_set():
                    raise Stopping("The daemon is stopping.")
                if isinstance(entry, Unreadable):
                    result: Entry | Finding | None = unseen(entry)
                else:
                    result = self._consider(entry)
                    if unseen_yet is not None:
                        unseen_yet.discard(entry.path)
                yield result

        self._claim_ready(ready())

    def _consider(
        self, entry: Entry, *, arrived: bool = False
    ) -> Entry | Finding | None:
        """Return the entry when it is ready, a finding, or None when it must wait."""
        if finding := refusal(entry.path, entry.mode, entry.links):
            return finding
        now, wall = time.monotonic(), time.time()
        last = self._waiting.get(entry.path)
        sighting = sight(
            last.sighting if last else None, entry.signature, now, arrived=arrived
        )
        verdict = decide(sighting, Lease.FREE, self._rules, now=now, wall=wall)
        busy = False
        if isinstance(verdict, Ready):
            try:
                lease = self._folders.lease(entry.path)
            except FileNotFoundError:
                return None
            except OSError as error:
                return obstacle(entry.path, error)
            busy = lease is Lease.BUSY
            verdict = decide(sighting, lease, self._rules, now=now, wall=wall)
        if isinstance(verdict, Ready):
            return entry
        self._waiting[entry.path] = _Waiting(sighting, verdict.until, busy)
        return None

    def _claim_ready(self, results: Iterable[Entry | Finding | None]) -> None:
        ready: list[Entry] = []
        findings: list[Finding] = []
        for result in results:
            if isinstance(result, Finding):
                self._waiting.pop(result.path, None)
                findings.append(result)
            elif result is not None:
                ready.append(result)
            if len(ready) >= CLAIM_TOGETHER:
                self._claim(ready)
                ready = []
        if ready:
            self._claim(ready)
        self._record(findings, ())

    def _claim(self, ready: list[Entry]) -> None:
        if self._gate.held or not self._folders.is_input():
            # A person wants them to wait, or these lie in a folder that is not called
            # input any more.
            self._hints.scan()
            if self._gate.held:
                self._hints.wake()
            return
        if time.monotonic() - self._scan_begun > _LONG_SCAN_SECONDS:
            self._tally.count()
        taken = self._call(lambda: self._take(ready))
        for entry in ready:
            self._waiting.pop(entry.path, None)
        now = time.monotonic()
        known = {entry.path: entry for entry in ready}
        for path in taken.unsettled:
            sighting = Sighting(known[path].signature, now)
            self._waiting[path] = _Waiting(sighting, now + 0.2, busy=True)
        self._record(taken.findings, known.keys() - {f.path for f in taken.findings})

    def _take(self, ready: list[Entry]) -> Taken:
        try:
            return self._intake.take(ready)
        except ServiceUnavailable:
            # Nobody takes anything now.
            self._tally.count()
            raise

    def _record(self, found: Iterable[Finding], gone: Iterable[bytes]) -> None:
        found = list(found)
        self._refused.update(finding.path for finding in found)
        fresh = [f for f in found if not self._is_known(f)]
        left = [path for path in gone if path in self._findings]
        if not fresh and not left:
            return
        self._call(lambda: self._journal.record_findings(fresh, left))
        for path in left:
            del self._findings[path]
        for finding in fresh:
            self._findings[finding.path] = finding
            self._log.warning(
                "refused", path=display(finding.path), reason=finding.reason
            )

    def _call(self, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        try:
            return self._gate.call(work)
        finally:
            self._elsewhere += time.monotonic() - begun

    def _is_known(self, finding: Finding) -> bool:
        known = self._findings.get(finding.path)
        return known is not None and known.reason == finding.reason

    def _next_look(self) -> float:
        moments = [waiting.until for waiting in self._waiting.values()]
        return min([self._next_scan, self._next_check, *moments])
