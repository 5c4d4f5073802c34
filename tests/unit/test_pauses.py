import dataclasses
import os
import threading
import time

import pytest
from structlog.testing import capture_logs

from dropzone import pauses
from dropzone.errors import Stopping, UsageError, ZoneError
from dropzone.gate import Gate
from dropzone.holding import seconds
from dropzone.pauses import STEPS, Held, Pause, Pauses, PausesDamaged
from zones_helpers import eventually, in_threads

END = time.time() + 1000


@pytest.fixture
def root(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path


def held(step="store", until=None):
    return Held(step, "anna", 1000.0, until, "a reason")


def put(root, *what):
    pauses.change(root, lambda before: {**before, **{one.step: one for one in what}})


def test_what_is_paused_is_kept_until_its_end(root):
    put(root, held("track"), held("store", until=END))
    put(root, held("claim"))
    assert list(pauses.read(root, now=END - 1)) == ["claim", "store", "track"]
    assert pauses.read(root, now=END - 1)["store"] == held("store", until=END)
    assert list(pauses.read(root, now=END)) == ["claim", "track"]
    told = pauses.read(root, now=END - 1)["store"].pause().told()
    assert (told["service"], told["by"], told["until"]) == ("person", "anna", END)
    assert told["tries_again_in_seconds"] is None
    assert os.listdir(root / "state") == [pauses.NAME]


def test_each_pause_says_what_will_happen_next():
    at = time.mktime((2090, 1, 2, 14, 5, 0, 0, 0, -1))
    today = time.localtime()
    soon = time.mktime((*today[:3], 23, 59, 0, 0, 0, -1))
    fault = Pause("store", "s3", 0.0, "why", "what to do")
    later = dataclasses.replace(fault, next_probe=time.monotonic() + 11.5)
    cases = {
        held(until=at).pause(): "It goes on by itself at 2090-01-02 14:05.",
        held(until=soon).pause(): "It goes on by itself at 23:59.",
        held().pause(): "It stays paused until somebody resumes it.",
        fault: "It is tried again just now.",
        later: "It is tried again in 12 s.",
        dataclasses.replace(later, trying=True): "It is tried again just now.",
    }
    for pause, sentence in cases.items():
        assert pause.told()["next"] == sentence


def test_commands_at_once_take_turns(root):
    def work(number):
        put(root, held(STEPS[number]))

    in_threads(5, work)
    assert list(pauses.read(root)) == list(STEPS)


def listed(step="store", since="1", until="null"):
    return (
        f'{{"paused": [{{"step": "{step}", "by": "a", "since": {since}, '
        f'"until": {until}, "reason": ""}}]}}'
    )


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", '{"paused": {}', '{"paused": [{"step": "store"}]}'),
        *(listed(step="walk"), listed(since="NaN"), listed(until='"x"')),
    ],
)
def test_a_damaged_file_is_told_and_keeps_what_was_known(root, content):
    watched = Pauses(root)
    assert watched.look() == {}
    put(root, held())
    assert watched.look() == {"store": held()}
    (root / "state" / pauses.NAME).write_text(content)
    assert watched.look() == {"store": held()}
    assert pauses.NAME in watched.problem.message
    with pytest.raises(PausesDamaged, match="cannot be told"):
        put(root, held())
    pauses.change(root, lambda before: before, replace_damaged=True)
    assert watched.look() == {}
    assert watched.problem is None


def test_a_zone_without_state_or_rights_is_told(tmp_path, root):
    with pytest.raises(ZoneError, match="There is no zone"):
        put(tmp_path / "nowhere", held())
    os.mkdir(root / "state" / f".{pauses.NAME}.new")
    with pytest.raises(OSError, match="directory"):
        put(root, held())


def test_a_held_step_lets_nothing_new_begin_until_it_goes_on():
    stop = threading.Event()
    gate = Gate("store", stop, {})
    passed = threading.Event()

    def enter():
        gate.admit()
        passed.set()

    with capture_logs() as lines:
        gate.hold("person", held().pause())
        gate.hold("person", held().pause())
        gate.hold("window", held().pause())
        assert gate.held
        thread = threading.Thread(target=enter)
        thread.start()
        gate.hold("window", None)
        assert not passed.wait(0.3)
        assert [pause.by for pause in gate.current_pauses] == ["anna"]
        gate.hold("person", None)
        thread.join(10)
        assert passed.is_set()
    assert [line["event"] for line in lines] == ["paused"] * 2 + ["resumed"] * 2
    assert (lines[0]["by"], lines[0]["reason"]) == ("anna", "a reason")
    gate.hold("person", held().pause())
    stop.set()
    with pytest.raises(Stopping):
        gate.admit()
    eventually(lambda: not thread.is_alive())


@pytest.mark.parametrize(
    ("text", "length"),
    [("90s", 90), ("30m", 1800), ("1d12h", 129_600), (" 2 H ", 7200)],
)
def test_lengths_of_time(text, length):
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "2", "h", "0s", "-1h", "1.5h", "2w", "9999d"])
def test_what_is_no_length_of_time(text):
    with pytest.raises(UsageError):
        seconds(text)
