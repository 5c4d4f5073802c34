"""What one zone has to tell, from its receipts, its pauses and the time of day."""

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dropzone import log, receipts, status
from dropzone.errors import DropzoneError, ZoneError
from dropzone.journal import Journal
from dropzone.models import Job, Outcome
from dropzone.notification_settings import Notifications
from dropzone.notifications import wording
from dropzone.notifications.book import Book, Waiting
from dropzone.notifications.gathering import Gathered
from dropzone.notifications.message import Message, Words
from dropzone.notifications.pauses import Patience, Pauses
from dropzone.receipts import Position
from dropzone.settings import Zone
from dropzone.status import ZoneStatus

# Receipts that are read in one go; between two goes the thread may be stopped.
_MOST_READ = 2000
# How far the receipts are read is worth a sync so often, if nothing is to be told.
_SAVE_SECONDS = 60.0
# What was paused before the start has to be met again, or is over, within this time.
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Source:
    """A zone that is open: its journal, and where its receipts end now."""

    zone: Zone
    journal: Journal
    end: Callable[[], Position]


@dataclass(frozen=True, slots=True)
class Told:
    """What the daemon reports of a zone: pauses as ``status`` has them, its page."""

    paused: Sequence[Mapping[str, Any]] = ()
    connected: bool = False
    url: str | None = None


class ZoneNotices:
    """Makes the messages of one zone; its book keeps them. For one thread."""

    def __init__(self, source: Source, rules: Notifications) -> None:
        self._source = source
        self._rules = rules
        self._state = source.zone.path / "state"
        self._log = log.get("notifications").bind(zone=source.zone.name)
        self.book = Book.open(self._state, source.end())
        grace = min(_START_SECONDS, 120 * rules.pause_minutes)
        self._pauses = Pauses(self.book.standing, time.time() + grace)
        self._saved = time.monotonic()
        self._is_changed = True
        self._is_unsaved_told = False

    def follow(self, rules: Notifications) -> None:
        """Go by new settings from now on."""
        self._rules = rules

    def look(
        self,
        told: "Told",
        targets: list[str],
        *,
        flush: bool = False,
    ) -> None:
        """Read what is new, and post what is due; with ``flush`` all there is."""
        now = time.time()
        self._read(now)
        for kind, words in self._due(now, told, flush=flush):
            message = Message.of(kind, self._source.zone.name, words, told.url)
            self.book.post(message, targets)
            self._is_changed = True
        self.save()

    def delivered(self, waiting: Waiting, target: str) -> None:
        """Note that this target got a message of the book."""
        waiting.targets.remove(target)
        self.book.outbox = [one for one in self.book.outbox if one.targets]
        if not self.book.outbox:
            self.book.dropped = 0
        self._is_changed = True

    def save(self, *, now: bool = False) -> None:
        """Save the book if that matters; a disk that is full must not hold messages."""
        old = time.monotonic() - self._saved >= _SAVE_SECONDS
        if not (self._is_changed or old or now):
            return
        self.book.standing = list(self._pauses.standing.values())
        self._saved = time.monotonic()
        try:
            self.book.save(self._state)
        except OSError as error:
            # Tried again after a while: memory holds it meanwhile.
            self._is_changed = False
            if not self._is_unsaved_told:
                self._log.warning(
                    "what was told cannot be noted",
                    reason=error.strerror,
                    hint="After a restart it is told again. Free space on the disk.",
                )
            self._is_unsaved_told = True
        else:
            self._is_changed = self._is_unsaved_told = False

    def _read(self, now: float) -> None:
        book, end = self.book, self._source.end()
        if book.position == end:
            return
        try:
            if _place(book.position) >= _place(end):
                raise ZoneError("They end before what was read of them.")
            self._follow_to(end, now)
        except (DropzoneError, OSError) as error:
            self._log.warning(
                "receipts were replaced under the messages",
                reason=str(error),
                hint="Messages begin with what fails from now. See: dropzone verify",
            )
            book.position = end
            self._is_changed = True

    def _follow_to(self, end: Position, now: float) -> None:
        following = receipts.stream(self._state / "receipts", self.book.position)
        for count, (receipt, after) in enumerate(following, 1):
            # Behind the end stands what an append may still take back.
            if _place(after) > _place(end):
                break
            self._take(receipt, now)
            self.book.position = after
            if count >= _MOST_READ:
                return
        # Also where months were dropped that nobody read.
        self.book.position = end

    def _take(self, receipt: Mapping[str, Any], now: float) -> None:
        book, outcome = self.book, receipt["outcome"]
        book.outcomes[outcome] = book.outcomes.get(outcome, 0) + 1
        book.bytes += receipt["size"]
        if outcome == Outcome.FAILED:
            self._gather(book.failures, "failures", receipt, now)
        elif receipt["retry_of"]:
            self._gather(book.mended, "recovery", receipt, now)

    def _gather(
        self, into: Gathered, kind: str, receipt: Mapping[str, Any], now: float
    ) -> None:
        if kind not in self._rules.events:
            return
        # That a window is open must outlive a crash: how old it is, is not in receipts.
        self._is_changed |= not into.count
        into.add(receipt, now, self._rules.group_seconds)

    def _due(
        self, now: float, told: "Told", *, flush: bool
    ) -> Iterator[tuple[str, Words]]:
        failures, mended = self.book.failures, self.book.mended
        seconds = self._rules.group_seconds
        if failures.is_due(now, seconds) or (flush and failures.count):
            taken = failures.take(now)
            yield "failures", wording.failures(taken, self._hints(taken))
        if mended.is_due(now, seconds) or (flush and mended.count):
            yield "recovery", wording.mended(mended.take(now))
        yield from self._of_pauses(now, told)
        yield from self._of_the_day(now)

    def _hints(self, gathered: Gathered) -> dict[str, str]:
        found = {}
        for reason in gathered.reasons:
            job = self._job(reason.job)
            if job is not None and (hint := job.data.get("what_to_do")):
                found[reason.job] = hint
        return found

    def _job(self, job_id: str) -> Job | None:
        try:
            return self._source.journal.get(job_id)
        except DropzoneError as error:
            self._log.warning("a message has no mending", reason=error.message)
            return None

    def _of_pauses(self, now: float, told: "Told") -> Iterator[tuple[str, Words]]:
        rules = self._rules
        patience = Patience(60 * rules.pause_minutes, rules.group_seconds)
        before = set(self._pauses.standing)
        long, over = self._pauses.look(
            told.paused, now, patience, connected=told.connected
        )
        self._is_changed |= self._pauses.standing.keys() != before
        for one in long:
            if "pauses" in rules.events:
                yield "pauses", wording.paused(one, now)
        for one in over:
            if one.told and {"pauses", "recovery"} <= set(rules.events):
                yield "recovery", wording.resumed(one)

    def _of_the_day(self, now: float) -> Iterator[tuple[str, Words]]:
        at, book = self._rules.daily_at, self.book
        if at is None or "summary" not in self._rules.events:
            return
        if not book.summed_up < latest(at, now) <= now:
            return
        ended = wording.Ended(book.outcomes, book.bytes, book.summed_up)
        yield "summary", wording.summary(ended, self._state_of_things())
        book.outcomes, book.bytes, book.summed_up = {}, 0, now

    def _state_of_things(self) -> tuple[ZoneStatus, int] | None:
        """Return how the zone is, and what is free on its disk; None if unknown."""
        zone = self._source.zone
        try:
            disk = os.statvfs(zone.path)
            return status.of(zone), disk.f_bavail * disk.f_frsize
        except (DropzoneError, OSError) as error:
            self._log.warning("the summary knows only what ended", reason=str(error))
            return None


def _place(position: Position) -> tuple[str, int]:
    return position.file, position.offset


def latest(at: str, now: float) -> float:
    """Return the last moment before ``now`` at which local clocks showed ``at``."""
    hour, minute = map(int, at.split(":"))
    local = dt.datetime.fromtimestamp(now)  # noqa: DTZ006 local time is what is meant
    moment = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if moment > local:
        moment -= dt.timedelta(days=1)
    return moment.timestamp()
