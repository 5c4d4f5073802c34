import fcntl
import json
import os
from pathlib import Path

import pytest

from dropzone.commands import health
from dropzone.commands.health import Beat
from dropzone.sessions.health import Health
from dropzone.web.api import overview


@pytest.mark.parametrize(
    ("beat", "healthy", "told"),
    [
        (Beat(7, 0.4, None, {}), True, "Process 7 serves zone z, heard from 0 s ago."),
        (Beat(7, 119.0, None, {}), True, "heard from 119 s ago"),
        (Beat(7, 121.0, None, {}), False, "hangs: it said nothing for 121 s"),
        (Beat(7, 1.0, None, {"watcher": 301.2}), False, "hangs: watcher for 301 s"),
        (Beat(7, 9000.0, 60.0, {}), True, "has been starting for 60 s"),
        (Beat(7, None, 2000.0, {}), False, "has been starting for 2000 s"),
        (Beat(None, 0.1, None, {}), False, "No daemon serves zone z."),
    ],
)
def test_what_is_healthy(beat: Beat, *, healthy: bool, told: str):
    judged = health.judge("z", beat)
    assert judged.healthy is healthy
    assert told in judged.told


@pytest.fixture
def state(tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir()
    return state


def hold(state: Path):
    lock = (state / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write("7\n")
    lock.flush()
    return lock


def report(state: Path, seconds_ago: float, **values: object):
    path = state / "daemon.json"
    path.write_text(json.dumps({"pid": 7, **values}))
    written = path.stat().st_mtime - seconds_ago
    os.utime(path, (written, written))


def test_a_report_of_the_one_who_holds_the_zone_counts(state: Path):
    with hold(state):
        os.utime(state / "lock", (1000, 1000))
        report(state, 30, stale={"claim": 400.0})
        beat = health.beat_of(state.parent)
    assert beat.pid == 7
    assert beat.starting_seconds is None
    assert beat.seconds_ago is not None
    assert 30 <= beat.seconds_ago < 40
    assert beat.stale == {"claim": 400.0}


def test_a_report_from_before_counts_not_even_under_the_same_number(state: Path):
    report(state, 500, stale={"claim": 400.0})
    with hold(state):
        beat = health.beat_of(state.parent)
    assert beat.pid == 7
    assert beat.starting_seconds is not None
    assert beat.starting_seconds < 60
    assert beat.stale == {}


def test_nobody_is_there(state: Path):
    report(state, 0)
    assert health.beat_of(state.parent).pid is None


def test_a_service_that_was_not_asked_says_when_it_will_be():
    told = overview._service("mlflow", Health())
    assert (told.healthy, told.note) == (
        None,
        "Not asked yet: it is asked with the first run.",
    )
    assert "connected" in overview._service("s3", Health()).note
    assert overview._service("mlflow", Health(healthy=True)).note == ""
