"""Failures that become one message. The longer they go on, the rarer it comes."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

_LONGEST_SECONDS = 3600.0
_LARGEST_FACTOR = 1 << 20
# More reasons than a person reads in one message, and names for each.
_MOST_REASONS = 8
_MOST_NAMES = 3


@dataclass(slots=True)
class Reason:
    """Files that failed for one reason; ``job`` is that of the first."""

    told: str
    step: str
    job: str
    count: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Gathered:
    """What came since ``opened`` and is not told yet; times are epoch seconds."""

    opened: float = 0.0
    closed: float = 0.0
    #: How many times longer than the first message the next one takes.
    factor: int = 1
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    reasons: list[Reason] = field(default_factory=list)
    #: How many had further reasons.
    others: int = 0

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        reasons = [Reason(**reason) for reason in values["reasons"]]
        return cls(**{**values, "reasons": reasons})

    def add(self, receipt: Mapping[str, Any], now: float, seconds: float) -> None:
        """Note one file; the message is due ``seconds`` after the first.

        While they go on after a message, the next one takes twice as long, up to an
        hour.
        """
        ended = dt.datetime.fromisoformat(receipt["ended_at"]).timestamp()
        if not self.count:
            self.opened, self.first = now, ended
            if now - self.closed > self._wait(seconds):
                self.factor = 1
        self.count += 1
        self.last = ended
        told, step = receipt["reason"] or "", receipt["step"] or ""
        found = next(
            (r for r in self.reasons if (r.told, r.step) == (told, step)), None
        )
        if found is None:
            if len(self.reasons) >= _MOST_REASONS:
                self.others += 1
                return
            found = Reason(told, step, receipt["job"])
            self.reasons.append(found)
        found.count += 1
        if len(found.names) < _MOST_NAMES:
            found.names.append(receipt["name"])

    def is_due(self, now: float, seconds: float) -> bool:
        # A clock that was set back must not hold the message.
        return bool(self.count) and not 0 <= now - self.opened < self._wait(seconds)

    def take(self, now: float) -> "Gathered":
        """Return what was gathered, and begin anew."""
        taken = dataclasses.replace(self)
        self.factor = min(2 * self.factor, _LARGEST_FACTOR)
        self.closed = now
        self.count = self.others = 0
        self.reasons = []
        return taken

    def _wait(self, seconds: float) -> float:
        return max(seconds, min(self.factor * seconds, _LONGEST_SECONDS))
