import datetime as dt
import time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropzone.windows import Standing, parse, standing

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def at(text, zone=BERLIN):
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def told(texts, moment, zone=BERLIN):
    found = standing([parse(text) for text in texts], at(moment, zone), zone)
    return found.is_open, *(
        None
        if epoch is None
        else dt.datetime.fromtimestamp(epoch, zone).strftime("%a %d %H:%M")
        for epoch in (found.since, found.until)
    )


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NIGHTS = ["Mon-Fri 19:00-07:00", "Sat,Sun 00:00-24:00"]


@pytest.mark.parametrize(
    ("texts", "moment", "expected"),
    [
        # 2026-11-23 is a Monday.
        ([], "2026-11-23 12:00", (True, None, None)),
        (NIGHTS, "2026-11-24 12:00", (False, "Tue 24 07:00", "Tue 24 19:00")),
        (NIGHTS, "2026-11-24 19:00", (True, "Tue 24 19:00", "Wed 25 07:00")),
        (NIGHTS, "2026-11-24 06:59", (True, "Mon 23 19:00", "Tue 24 07:00")),
        # Friday night and the weekend are one; Monday's morning is not Sunday's.
        (NIGHTS, "2026-11-28 12:00", (True, "Fri 27 19:00", "Mon 30 00:00")),
        (NIGHTS, "2026-11-30 00:00", (False, "Mon 30 00:00", "Mon 30 19:00")),
        (["12:00-13:00"], "2026-11-23 13:00", (False, "Mon 23 13:00", "Tue 24 12:00")),
        (
            ["sunday 1:00-2:00"],
            "2026-11-23 00:00",
            (False, "Sun 22 02:00", "Sun 29 01:00"),
        ),
        (
            ["Fri-Mon 22:00-23:00"],
            "2026-11-24 09:00",
            (False, "Mon 23 23:00", "Fri 27 22:00"),
        ),
        # Clocks are put forward at 02:00 on the 29th of March, back at 03:00 on the
        # 25th of October: a night is an hour shorter or longer.
        (["22:00-06:00"], "2026-03-29 00:00", (True, "Sat 28 22:00", "Sun 29 06:00")),
        (["02:15-02:45"], "2026-03-29 01:00", (False, "Sat 28 02:45", "Sun 29 03:15")),
        (["02:15-02:45"], "2026-10-25 01:00", (False, "Sat 24 02:45", "Sun 25 02:15")),
    ],
)
def test_where_a_moment_stands(texts, moment, expected):
    assert told(texts, moment) == expected


@pytest.mark.parametrize(("day", "hours"), [("03-28", 7), ("10-24", 9), ("11-23", 8)])
def test_a_night_is_as_long_as_the_clocks_make_it(day, hours):
    begun = at(f"2026-{day} 22:00")
    found = standing([parse("22:00-06:00")], begun, BERLIN)
    assert found == Standing(True, begun, begun + hours * HOUR)
    # In its repeated hour too, and not a moment longer.
    last = begun + hours * HOUR
    assert standing([parse("22:00-06:00")], last - 1, BERLIN).is_open
    assert not standing([parse("22:00-06:00")], last, BERLIN).is_open


def test_without_a_zone_the_time_of_this_machine_counts(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        for moment in ("2026-03-29 03:30", "2026-10-25 02:30", "2026-11-24 12:00"):
            for text in (*NIGHTS, "02:15-02:45"):
                window, now = [parse(text)], at(moment)
                assert standing(window, now) == standing(window, now, BERLIN)
    finally:
        monkeypatch.undo()
        time.tzset()


minutes = st.integers(0, 1439)


@given(st.sets(st.integers(0, 6), min_size=1), minutes, minutes, st.integers(0, 20_000))
def test_it_is_what_looking_at_each_minute_tells(days, start, end, offset):
    if start == end:
        end = 1440
    names = ",".join(DAYS[day] for day in days)
    clock = [f"{value // 60:02}:{value % 60:02}" for value in (start, end)]
    window = parse(f"{names} {clock[0]}-{clock[1]}")
    now = at("2026-11-16 00:00", dt.UTC) + offset * 60

    def inside(moment):
        local = dt.datetime.fromtimestamp(moment, dt.UTC)
        minute = local.hour * 60 + local.minute
        if end > start:
            return local.weekday() in days and start <= minute < end
        late = local.weekday() in days and minute >= start
        return late or ((local.weekday() - 1) % 7 in days and minute < end)

    found = standing([window], now, dt.UTC)
    assert found.is_open == inside(now)
    if found.until is not None:
        assert inside(found.until) != found.is_open
        assert inside(found.until - 60) == found.is_open
    if found.since is not None:
        assert inside(found.since) == found.is_open
        assert inside(found.since - 60) != found.is_open


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("always", "is no window"),
        ("Mon 19:00", "is no window"),
        ("Mon-Funday 19:00-20:00", "is no day of the week"),
        ("19:60-20:00", "is no time of a day"),
        ("19:00-24:01", "is no time of a day"),
        ("19:00-19:00", "has no length"),
        ("24:00-07:00", "has no length"),
    ],
)
def test_what_is_no_window(text, why):
    with pytest.raises(ValueError, match=why):
        parse(text)
