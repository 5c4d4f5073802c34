"""One thread that makes messages and sends them; no file ever waits for it."""

import threading
from collections.abc import Sequence
from typing import Any

from dropzone import log, threads
from dropzone.measures import Measures
from dropzone.notification_settings import Notifications
from dropzone.notifications import courier, targets, wording
from dropzone.notifications.book import Waiting
from dropzone.notifications.courier import Delivery, Parcel
from dropzone.notifications.line import Line
from dropzone.notifications.message import Message
from dropzone.notifications.zone import Source, Told, ZoneNotices
from dropzone.settings import Settings

_TICK_SECONDS = 0.5
# After a fault of our own.
_FAULT_SECONDS = 60.0
# More that wait for one target become one message.
_MOST_SINGLE = 3


class Notifier:
    """Sends the messages of all zones of one daemon."""

    def __init__(
        self, settings: Settings, stop: threading.Event, measures: Measures
    ) -> None:
        self._rules = self._new = settings.notifications
        # After the first failure; then it doubles.
        self._first = settings.retry.first_pause_seconds
        self._stop = stop
        self._measures = measures
        self._log = log.get("notifications")
        self._sources: list[Source] = []
        self._zones: dict[str, ZoneNotices] = {}
        self._told: dict[str, Told] = {}
        self._lines: dict[str, Line] = {}
        #: New targets, which may be no addresses that anybody understands.
        self._unlooked: list[str] = []
        # Held while messages are made and sent; ``flush`` does that too.
        self._working = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, sources: Sequence[Source]) -> None:
        """Begin to tell of these zones, or wait until ``update`` names a target.

        What ends from now on is told, also while a target is away.
        """
        for source in sources:
            self.add(source)
        self._begin()

    def add(self, source: Source) -> None:
        """Tell of one more zone, that is open."""
        self._sources.append(source)
        if self._thread is not None:
            self._open(source)

    def update(self, settings: Settings) -> None:
        """Go by these settings from now on; returns at once."""
        self._new = settings.notifications
        self._first = settings.retry.first_pause_seconds
        self._begin()

    def _begin(self) -> None:
        if self._thread is not None or not targets.of(self._new):
            return
        self._take_over(self._new)
        for source in self._sources:
            self._open(source)
        self._thread = threading.Thread(
            target=self._run, name="notifications", daemon=True
        )
        self._thread.start()

    def _open(self, source: Source) -> None:
        # The thread may be going through the zones: it goes on with the old ones.
        opened = ZoneNotices(source, self._new)
        self._zones = {**self._zones, source.zone.name: opened}

    def join(self, seconds: float) -> bool:
        return self._thread is None or threads.end([self._thread], seconds)

    def note(self, zone: str, told: Told) -> dict[str, Any]:
        """Take what a zone's daemon reports; return what ``status`` tells of messages.

        ``sent`` and ``failed`` count since the start, over all zones.
        """
        self._told[zone] = told
        notices, lines = self._zones.get(zone), list(self._lines.values())
        waiting = len(notices.book.outbox) if notices is not None else 0
        self._measures.messages_waiting[zone] = waiting
        return {
            "waiting": waiting,
            **self._measures.messages,
            "targets": [line.told() for line in lines],
        }

    def flush(self) -> None:
        """Send all there is, without waiting for more of it: the daemon ends."""
        if self._thread is None:
            return
        with self._working:
            self._look(flush=True)
            while self._deliver():
                pass

    def _take_over(self, rules: Notifications) -> None:
        self._rules = rules
        before = {line.target.key: line for line in self._lines.values()}
        self._lines = {
            target.key: before.get(target.key, Line(target))
            for target in targets.of(rules)
        }
        self._unlooked = [key for key in self._lines if key not in before]

    def _run(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            try:
                with self._working:
                    self._turn()
            except Exception:  # noqa: BLE001 told, and tried again
                # Files go on without messages; what is to be told stays in the book.
                self._log.exception("messages failed")
                self._stop.wait(_FAULT_SECONDS)
        with self._working:
            for zone in self._zones.values():
                zone.save(now=True)

    def _turn(self) -> None:
        try:
            self._follow()
            self._look()
        finally:
            # Whatever is wrong with new messages, those that are there go out.
            self._deliver()

    def _follow(self) -> None:
        """Go by new settings, and look once whether each target is understood."""
        if self._new is not self._rules:
            self._take_over(self._new)
            for zone in self._zones.values():
                zone.follow(self._rules)
        unlooked, self._unlooked = self._unlooked, []
        parcels = [Parcel(self._lines[key].target, None) for key in unlooked]
        for parcel, answer in zip(parcels, self._send(parcels), strict=True):
            if answer.problem and not self._stop.is_set():
                self._lines[parcel.target.key].fail(answer.problem, self._first)

    def _look(self, *, flush: bool = False) -> None:
        keys = list(self._lines)
        for name, zone in self._zones.items():
            zone.book.keep_only(set(keys))
            zone.look(self._told.get(name, Told()), keys, flush=flush)

    def _deliver(self) -> bool:
        """Send each target that is due its next message; True if one arrived."""
        parcels, covers = [], []
        for key, line in self._lines.items():
            if line.is_due and (waiting := self._waiting(key)):
                message, covered = _next(waiting)
                parcels.append(Parcel(line.target, message))
                covers.append(covered)
        arrived = False
        answers = self._send(parcels)
        for parcel, covered, answer in zip(parcels, covers, answers, strict=True):
            line = self._lines[parcel.target.key]
            self._measures.notified(delivered=not answer.problem)
            if not answer.problem:
                arrived = True
                line.succeed(parcel.message)
                for zone, one in covered:
                    zone.delivered(one, parcel.target.key)
            elif not self._stop.is_set():
                line.fail(answer.problem, self._first)
        for zone in self._zones.values():
            zone.save()
        return arrived

    def _send(self, parcels: Sequence[Parcel]) -> list[Delivery]:
        return courier.deliver(parcels, self._rules.timeout_seconds, self._stop)

    def _waiting(self, key: str) -> list[tuple[ZoneNotices, Waiting]]:
        return [
            (zone, waiting)
            for zone in self._zones.values()
            for waiting in zone.book.outbox
            if key in waiting.targets
        ]


def _next(
    waiting: list[tuple[ZoneNotices, Waiting]],
) -> tuple[Message, list[tuple[ZoneNotices, Waiting]]]:
    """Return what to send next, and which messages are told with it."""
    if len(waiting) <= _MOST_SINGLE:
        return waiting[0][1].message, waiting[:1]
    messages = [one.message for _, one in waiting]
    zones = {one.zone for one in messages}
    dropped = sum(zone.book.dropped for zone in {zone for zone, _ in waiting})
    words = wording.several(messages, dropped)
    name = zones.pop() if len(zones) == 1 else "all zones"
    return Message.of("several", name, words), waiting
