import itertools
import threading
import time

import pytest
from structlog.testing import capture_logs

from dropzone import gate as gate_module
from dropzone.errors import DocumentRejected, ServiceUnavailable, Stopping
from dropzone.gate import Gate, Preparation
from zones_helpers import eventually, in_threads


class Service:
    """A service that is up or down, and counts who asks."""

    def __init__(self):
        self.up = threading.Event()
        self.calls = 0
        self.probes = []
        self.probing = 0
        self.most_probing = 0
        self.lock = threading.Lock()

    def work(self):
        with self.lock:
            self.calls += 1
        if not self.up.is_set():
            raise ServiceUnavailable("s3", "S3 is down.", hint="Start it.")
        return "done"

    def probe(self):
        with self.lock:
            self.probing += 1
            self.most_probing = max(self.most_probing, self.probing)
            self.probes.append(time.monotonic())
        try:
            if not self.up.is_set():
                raise ServiceUnavailable("s3", "Still down.", hint="Start it now.")
        finally:
            with self.lock:
                self.probing -= 1


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def stop():
    return threading.Event()


def gate_of(service, stop, **options):
    options = {"first_pause": 0.01, "longest_pause": 0.05, **options}
    return Gate("store", stop, {"s3": service.probe}, **options)


def test_an_open_gate_lets_work_pass_with_its_result_and_its_errors(service, stop):
    service.up.set()
    gate = gate_of(service, stop)
    assert gate.call(service.work) == "done"

    def rejected():
        raise DocumentRejected("no")

    with pytest.raises(DocumentRejected):
        gate.call(rejected)
    assert gate.pause is None
    assert service.probes == []


def test_a_fault_pauses_probes_and_resumes(service, stop):
    changes = []
    gate = gate_of(service, stop, changed=lambda: changes.append(gate.pause))
    results = []
    thread = threading.Thread(target=lambda: results.append(gate.call(service.work)))
    thread.start()
    pause = eventually(lambda: len(service.probes) >= 2 and gate.pause, "two probes")
    assert (pause.step, pause.service) == ("store", "s3")
    assert (pause.reason, pause.hint) == ("Still down.", "Start it now.")
    assert abs(pause.since - time.time()) < 5
    assert service.calls == 1, "while it is closed only probes are made"
    service.up.set()
    thread.join(5)
    assert results == ["done"]
    assert gate.pause is None
    assert changes[0].reason == "S3 is down."
    assert changes[-1] is None


def test_one_of_many_threads_probes(service, stop):
    gate = gate_of(service, stop)
    results = []
    opener = threading.Thread(
        target=lambda: (
            eventually(lambda: len(service.probes) >= 5),
            service.up.set(),
        )
    )
    opener.start()
    in_threads(16, lambda _: results.append(gate.call(service.work)))
    opener.join()
    assert results == ["done"] * 16
    assert service.most_probing == 1
    assert service.calls <= 32
    # The threads together probe at the gate's pace, not each at its own.
    assert len(service.probes) < 12


def test_pauses_grow_to_the_longest_and_shrink_after_success(service, stop):
    gate = gate_of(service, stop, first_pause=0.02, longest_pause=0.08)
    thread = threading.Thread(target=lambda: gate.call(service.work))
    thread.start()
    eventually(lambda: len(service.probes) >= 5)
    service.up.set()
    thread.join(5)
    gaps = [b - a for a, b in itertools.pairwise(service.probes[:5])]
    assert gaps[0] >= 0.039
    assert all(gap >= 0.079 for gap in gaps[1:])
    assert gate._seconds == 0.02


def test_a_probe_that_succeeds_where_the_work_does_not_still_backs_off(stop):
    calls = []

    def work():
        calls.append(time.monotonic())
        if len(calls) < 5:
            raise ServiceUnavailable("disk", "full")

    gate = Gate("claim", stop, {"disk": lambda: None}, first_pause=0.01)
    gate.call(work)
    assert calls[4] - calls[3] >= 0.079


def test_waiting_ends_when_the_daemon_stops(service, stop):
    gate = gate_of(service, stop, first_pause=100.0, longest_pause=100.0)
    stopped = []

    def wait():
        try:
            gate.call(service.work)
        except Stopping:
            stopped.append(time.monotonic())

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: service.calls >= 1 and gate.pause)
    begun = time.monotonic()
    stop.set()
    for thread in threads:
        thread.join(5)
    assert len(stopped) == 5
    assert max(stopped) - begun < 4


def test_a_clock_that_is_set_back_does_not_hold_the_step(service, stop, monkeypatch):
    gate = gate_of(service, stop)
    thread = threading.Thread(target=lambda: gate.call(service.work))
    thread.start()
    eventually(lambda: gate.pause)
    real = time.time
    monkeypatch.setattr(gate_module.time, "time", lambda: real() - 7200)
    service.up.set()
    thread.join(2)
    stop.set()
    assert not thread.is_alive()
    assert gate.pause is None


def test_a_preparation_is_made_once_by_many_threads():
    made = []

    def work():
        made.append(threading.get_ident())

    prepare = Preparation(work)
    in_threads(8, lambda _: prepare())
    assert len(made) == 1


def test_a_preparation_that_failed_stays_due():
    made = []

    def work():
        made.append(1)
        if len(made) < 3:
            raise ServiceUnavailable("s3", "down")

    prepare = Preparation(work)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            prepare()
    prepare()
    prepare()
    assert len(made) == 3


def test_a_fault_that_the_probe_cannot_see_is_told_once(stop):
    seen = []

    def work():
        seen.append(gate.pause)
        if len(seen) < 4:
            raise ServiceUnavailable("postgres", "It is read-only.")

    with capture_logs() as lines:
        gate = Gate("index", stop, {"postgres": lambda: None}, first_pause=0.01)
        gate.call(work)
    assert seen[0] is None
    assert all(pause.trying for pause in seen[1:]), "it stays paused while it is tried"
    assert len({pause.since for pause in seen[1:]}) == 1
    assert gate.pause is None
    assert [line["event"] for line in lines] == ["paused", "resumed"]


def test_other_work_of_the_step_does_not_end_its_pause(service, stop):
    short = {"first_pause": 0.01, "longest_pause": 0.05}
    gate = Gate("index", stop, {"s3": lambda: None}, **short)
    thread = threading.Thread(target=lambda: gate.call(service.work))
    thread.start()
    eventually(lambda: service.calls >= 2)
    assert gate.call(lambda: "parsed") == "parsed"
    assert gate.pause is not None
    assert gate._seconds > 0.01
    service.up.set()
    thread.join(5)
    assert gate.pause is None


def test_nothing_is_done_while_the_step_is_not_ready(service, stop):
    service.up.set()
    gone = threading.Event()

    def ready():
        if not gone.is_set():
            raise ServiceUnavailable("disk", "The zone is gone.")

    options = {"first_pause": 0.01, "longest_pause": 0.05, "ready": ready}
    gate = Gate("store", stop, {"disk": lambda: None}, **options)
    thread = threading.Thread(target=lambda: gate.call(service.work))
    thread.start()
    eventually(lambda: gate.pause)
    assert service.calls == 0
    gone.set()
    thread.join(5)
    assert service.calls == 1
