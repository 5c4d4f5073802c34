"""Windows of time in a week, such as ``Mon-Fri 19:00-07:00``. Pure: hand in the clock.

Times are local. A window begins and ends when the clocks on the wall show its times for
the first time; a time they leave out counts as if they had not been put forward yet. A
window belongs to the day it begins on: one over midnight on Friday ends on Saturday.
"""

import datetime as dt
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_WEEK_SECONDS = 8 * 86400
_FORM = re.compile(
    r"(?:(?P<days>[A-Za-z][A-Za-z,\s-]*?)\s+)?"
    r"(?P<start>\d{1,2}:\d{2})\s*-\s*(?P<end>\d{1,2}:\d{2})"
)
# Far enough to find a neighbour of any moment, for a window of one day a week.
_DAYS_AROUND = 9


@dataclass(frozen=True, slots=True)
class Window:
    """Days of the week (Monday is 0), and minutes of the day."""

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a moment is inside of a window, since when, and until when (epoch).

    ``since`` and ``until`` are None where windows leave no gap, or have none.
    """

    is_open: bool
    since: float | None = None
    until: float | None = None


@functools.lru_cache(maxsize=64)
def parse(text: str) -> Window:
    """Return the window that the text means; without days it is on each.

    Raises:
        ValueError: it means none; the message says what is right.

    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is no window; write for example 'Mon-Fri 19:00-07:00'"
        )
    start, end = _minutes(found["start"]), _minutes(found["end"])
    if start in (_DAY_MINUTES, end):
        raise ValueError(f"{text!r} has no length; a whole day is 00:00-24:00")
    return Window(_days(found["days"]), start, end)


def standing(
    windows: Sequence[Window], now: float, zone: dt.tzinfo | None = None
) -> Standing:
    """Return how an epoch time stands to the windows; without any it is inside.

    ``zone`` is the local time; that of this machine if None.
    """
    if not windows:
        return Standing(is_open=True)
    before: float | None = None
    for start, end in _merged(windows, now, zone):
        if now < start:
            return Standing(False, before, start)
        if now < end:
            # What is longer than a week never ends.
            ends = end - start < _WEEK_SECONDS
            return Standing(True, start if ends else None, end if ends else None)
        before = end
    return Standing(False, before, None)


def _merged(
    windows: Sequence[Window], now: float, zone: dt.tzinfo | None
) -> Iterator[tuple[float, float]]:
    """Yield the spans around ``now`` in their order, those that touch as one."""
    spans = sorted(
        (_epoch(day, window.start, zone), _epoch(day + _over(window), window.end, zone))
        for day in _days_around(now, zone)
        for window in windows
        if day.weekday() in window.days
    )
    start, end = spans[0]
    for next_start, next_end in spans[1:]:
        if next_start > end:
            yield start, end
            start, end = next_start, next_end
        else:
            end = max(end, next_end)
    yield start, end


def _over(window: Window) -> dt.timedelta:
    return dt.timedelta(days=window.end <= window.start)


def _days_around(now: float, zone: dt.tzinfo | None) -> list[dt.date]:
    today = dt.datetime.fromtimestamp(now, zone).date()
    days = range(-_DAYS_AROUND, _DAYS_AROUND + 1)
    return [today + dt.timedelta(days=day) for day in days]


def _epoch(day: dt.date, minutes: int, zone: dt.tzinfo | None) -> float:
    if minutes == _DAY_MINUTES:
        day, minutes = day + dt.timedelta(days=1), 0
    wall = dt.time(minutes // 60, minutes % 60, tzinfo=zone)
    return dt.datetime.combine(day, wall).timestamp()


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    made = hours * 60 + minutes
    if minutes > 59 or made > _DAY_MINUTES:  # noqa: PLR2004 minutes of an hour
        raise ValueError(f"{text!r} is no time of a day, 00:00 to 24:00")
    return made


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        start = _day(first)
        length = (_day(last) - start) % 7 if dash else 0
        found |= {(start + step) % 7 for step in range(length + 1)}
    return frozenset(found)


def _day(text: str) -> int:
    name = text.strip().lower()[:3]
    if name not in _DAYS:
        known = ", ".join(day.title() for day in _DAYS)
        raise ValueError(f"{text.strip()!r} is no day of the week; known: {known}")
    return _DAYS.index(name)
