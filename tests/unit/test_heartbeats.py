"""Heartbeats: who hangs is named, who waits or works for long with leave is not."""

import math
import threading

import pytest

from dropzone import heartbeats
from dropzone.errors import ServiceUnavailable, Stopping
from dropzone.executor.turns import Turns
from dropzone.gate import Gate
from dropzone.heartbeats import Heartbeats
from dropzone.journal import Journal
from dropzone.models import Status
from dropzone.stage import Inbox, Stage
from zones_helpers import eventually, new_job


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hearts(clock):
    return Heartbeats(clock)


def test_silence_beyond_what_was_said_is_overdue(hearts, clock):
    hearts.expect("main", 10)
    clock.now = 10.0
    assert hearts.stale() == {}
    clock.now = 10.5
    assert hearts.stale() == {"main": 10.5}
    hearts.beat("main")
    assert hearts.stale() == {}


def test_nothing_is_expected_of_the_unknown_and_the_ended(hearts, clock):
    hearts.beat("nobody")
    hearts.expect("main", 10)
    hearts.forget("main")
    hearts.forget("main")
    clock.now = 1000.0
    assert hearts.stale() == {}


def test_a_declared_call_may_take_its_time_and_no_longer(hearts, clock):
    hearts.expect("store", 10)
    clock.now = 9.0
    with hearts.within("store", 600):
        clock.now = 609.0
        assert hearts.stale() == {}
        clock.now = 610.0
        assert hearts.stale() == {"store": 601.0}
    assert hearts.stale() == {}
    clock.now = 620.5
    assert hearts.stale() == {"store": 10.5}


def test_a_shorter_call_inside_a_longer_one_takes_no_leave_away(hearts, clock):
    hearts.expect("store", 10)
    with hearts.within("store", 600):
        with hearts.within("store", 5):
            clock.now = 500.0
            assert hearts.stale() == {}
        clock.now = 1000.0
        assert hearts.stale() == {}


def test_a_call_of_nobody_is_nothing(hearts):
    with hearts.within("nobody", 5), heartbeats.within(5):
        heartbeats.beat()
    assert hearts.stale() == {}


def test_parts_share_what_is_told_and_are_told_apart(hearts, clock):
    one, other = hearts.below("papers"), hearts.below("letters")
    one.expect("watcher", 5)
    other.expect("watcher", 5)
    clock.now = 6.0
    one.beat("watcher")
    assert hearts.stale() == one.stale() == {"letters watcher": 6.0}


def test_a_loop_is_expected_while_it_runs_and_its_thread_beats_for_it(hearts, clock):
    with hearts.loop("outer", 10), hearts.below("zone").loop("inner", 10):
        clock.now = 8.0
        heartbeats.beat()
        clock.now = 12.0
        assert hearts.stale() == {"outer": 12.0}
        assert hearts.thread_of("zone inner") == threading.get_ident()
    assert hearts.stale() == {}
    assert hearts.thread_of("zone inner") is None


def test_a_loop_that_breaks_is_expected_no_more(hearts, clock):
    with pytest.raises(ValueError, match="broke"), hearts.loop("main", 1):
        raise ValueError("broke")
    clock.now = 5.0
    assert hearts.stale() == {}


def test_threads_beat_for_themselves_only(hearts, clock):
    entered, go_on = threading.Event(), threading.Event()

    def other():
        with hearts.loop("other", 10):
            entered.set()
            go_on.wait()

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with hearts.loop("mine", 10):
        clock.now = 11.0
        heartbeats.beat()
        assert hearts.stale() == {"other": 11.0}
    go_on.set()
    thread.join()


# The real loops


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


@pytest.fixture
def stop():
    return threading.Event()


def test_a_stage_that_waits_is_well_and_one_that_hangs_is_named(
    hearts, clock, journal, stop
):
    inbox = Inbox(journal, Status.CLAIMED, 10)
    inside, go_on = threading.Event(), threading.Event()

    def work(_jobs):
        inside.set()
        go_on.wait()

    stage = Stage("store", inbox, work, stop, hearts=hearts.below("papers"))
    stage.start()
    # It waits for work, and looks about each second: beats go on with the clock.
    eventually(lambda: hearts.thread_of("papers store-0") is not None)
    clock.now += heartbeats.SILENCE_SECONDS * 2
    eventually(lambda: not hearts.stale())
    inbox.put([new_job()])
    inside.wait()
    clock.now += heartbeats.SILENCE_SECONDS + 1
    assert list(hearts.stale()) == ["papers store-0"]
    stop.set()
    go_on.set()
    assert stage.join(10)
    assert hearts.stale() == {}


def test_a_step_that_waits_for_a_service_is_well_and_one_inside_a_call_is_not(
    hearts, clock, stop
):
    down = ServiceUnavailable("s3", "S3 is down.")
    probed, inside = threading.Event(), threading.Event()
    answers = iter([down, None])

    def probe():
        probed.set()
        if error := next(answers):
            raise error

    tries = iter([down, None])

    def work():
        if error := next(tries):
            raise error
        inside.set()
        stop.wait()

    gate = Gate("store", stop, {"s3": probe}, first_pause=0.05, call_seconds=900)

    def loop():
        with hearts.loop("store"):
            gate.call(work)

    thread = threading.Thread(target=loop)
    thread.start()
    probed.wait()
    # The pause is over when the work is tried again; until then each probe beats.
    inside.wait()
    clock.now += 800
    assert hearts.stale() == {}
    clock.now += 101
    assert list(hearts.stale()) == ["store"]
    stop.set()
    thread.join()


def test_who_waits_for_a_turn_beats(hearts, clock, stop):
    turns = Turns(stop)
    turns.enter(alone=True)
    waiting = threading.Event()

    def second():
        with hearts.loop("parse", 10):
            waiting.set()
            try:
                turns.enter(alone=False)
            except Stopping:
                return

    thread = threading.Thread(target=second)
    thread.start()
    waiting.wait()
    clock.now += 11
    eventually(lambda: not hearts.stale())
    # It still waits: nobody beat for it.
    assert thread.is_alive()
    stop.set()
    thread.join()


def test_waiting_for_work_without_an_end_is_no_hanging(hearts, clock):
    with hearts.loop("commit", 10):
        with heartbeats.within(math.inf):
            clock.now = 1e9
            assert hearts.stale() == {}
        clock.now += 9
        assert hearts.stale() == {}
