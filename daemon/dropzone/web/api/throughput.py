"""How much ended in the parts of an hour, a day or a week."""

import time
from collections.abc import Sequence
from typing import Any, Literal

from dropzone.journal import Journal
from dropzone.lookup import Zones
from dropzone.status import ZoneStatus
from dropzone.throughput import Part, Span, Throughput, added
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Given, Operation, Text

_MINUTE, _HOUR = 60, 3600
_SPANS = {
    "hour": Span(_MINUTE, 60),
    "day": Span(15 * _MINUTE, 96),
    "week": Span(2 * _HOUR, 84),
}


class Range(Given):
    range: Literal["hour", "day", "week"] = "hour"
    zone: Text | None = None


class Throughputs:
    """Of each zone and span; what is over is counted once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Throughput] = {}

    @property
    def operation(self) -> Operation:
        return Operation(
            *("GET", "/api/v1/throughput", "throughput"),
            "What ended in the parts of an hour (1 min), a day (15 min), a week (2 h).",
            self._answer,
            models.RangeThroughput,
            query=Range,
        )

    def of_zone(self, zone: ZoneStatus) -> dict[str, Any]:
        """Return the last hour of a zone."""
        span = _SPANS["hour"]
        if not zone.served:
            return _told(span, [Part()] * span.parts, time.time())
        journal = Journal(zone.path / "state" / "journal.sqlite", create=False)
        try:
            now = time.time()
            return _told(span, self._look(zone.zone, "hour", journal, now), now)
        finally:
            journal.close()

    def _answer(self, backend: Backend, ask: Ask) -> dict[str, Any]:
        wanted: Range = ask.query
        if wanted.zone is not None:
            backend.zone_named(wanted.zone)
        with Zones(backend.settings()) as zones:
            now = time.time()
            every = [
                self._look(zone.name, wanted.range, journal, now)
                for zone, journal in zones.journals
                if wanted.zone in {None, zone.name}
            ]
        span = _SPANS[wanted.range]
        told = _told(span, added(every, span.parts), now)
        return {"range": wanted.range, "zone": wanted.zone, **told}

    def _look(self, zone: str, name: str, journal: Journal, now: float) -> list[Part]:
        made = Throughput(_SPANS[name])
        return self._known.setdefault((zone, name), made).look(journal, now)


def _told(span: Span, parts: Sequence[Part], now: float) -> dict[str, Any]:
    return {
        "until": span.until(now),
        "step_seconds": span.seconds,
        "files": [part.files for part in parts],
        "failed": [part.failed for part in parts],
        "bytes": [part.bytes for part in parts],
    }
