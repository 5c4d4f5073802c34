"""What systemd is told, received by a socket as its own."""

import os
import secrets
import socket
import threading
import time

import pytest
import structlog

from dropzone import systemd
from dropzone.heartbeats import Heartbeats
from dropzone.systemd import Notifier, Watchdog
from zones_helpers import eventually


class Manager:
    """A socket that systemd would make."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def heard(self):
        return self.socket.recv(4096).decode().split("\n")

    def nothing(self):
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(5)


@pytest.fixture
def manager(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def environ(tmp_path):
    return {"NOTIFY_SOCKET": str(tmp_path / "notify")}


def test_readiness_status_and_stopping_are_told(manager, environ):
    notifier = Notifier(environ)
    notifier.ready("watching")
    assert manager.heard() == ["READY=1", "STATUS=watching"]
    notifier.status("3 to store")
    assert manager.heard() == ["STATUS=3 to store"]
    notifier.status("3 to store")
    assert manager.nothing(), "told once"
    notifier.stopping(63)
    assert manager.heard() == [
        "STOPPING=1",
        "STATUS=stopping",
        "EXTEND_TIMEOUT_USEC=63000000",
    ]


def test_an_abstract_socket_is_found():
    name = f"dropzone-{secrets.token_hex(8)}"
    manager = Manager(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).alive()
    assert manager.heard() == ["WATCHDOG=1"]
    manager.socket.close()


def test_a_status_cannot_smuggle_in_an_assignment(manager, environ):
    Notifier(environ).status("a\nREADY=1\x1b[0m" + "x" * 1000)
    (line,) = manager.heard()
    assert line.startswith("STATUS=a?READY=1?[0m")
    assert len(line) < 300


@pytest.mark.parametrize("named", ["", "vsock:2:1234", "relative"])
def test_without_a_manager_nothing_happens(named):
    notifier = Notifier({"NOTIFY_SOCKET": named})
    notifier.ready("watching")
    notifier.stopping(1)
    with notifier.reloading(), notifier.starting(Heartbeats()):
        pass
    assert notifier.watchdog_seconds is None


def test_a_manager_that_is_gone_is_told_of_once(environ):
    notifier = Notifier(environ)
    with structlog.testing.capture_logs() as logs:
        notifier.alive()
        notifier.alive()
    assert [line["event"] for line in logs] == ["systemd does not listen"]


def test_a_reload_is_told_from_its_begin_to_its_end(manager, environ):
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with Notifier(environ).reloading():
        reloading, at = manager.heard()
        assert reloading == "RELOADING=1"
        assert int(at.removeprefix("MONOTONIC_USEC=")) >= before
    assert manager.heard() == ["READY=1"]


def fail_while_reloading(notifier):
    with notifier.reloading():
        raise ValueError("wrong")


def test_a_reload_that_fails_is_over_too(manager, environ):
    with pytest.raises(ValueError, match="wrong"):
        fail_while_reloading(Notifier(environ))
    assert manager.heard()[0] == "RELOADING=1"
    assert manager.heard() == ["READY=1"]


def test_a_start_gets_more_time_while_it_goes_on_and_none_while_it_hangs(
    manager, environ
):
    now = [0.0]
    hearts = Heartbeats(lambda: now[0])
    with Notifier(environ, extend_every=0.02).starting(hearts):
        assert manager.heard() == ["EXTEND_TIMEOUT_USEC=60000000"]
        now[0] = 10_000.0
        assert list(hearts.stale()) == ["start"]

        def silent():
            # What was sent before the clock went on is still to be read.
            while not manager.nothing():
                pass
            time.sleep(0.1)  # noqa: TID251 five times as long as between two
            return manager.nothing()

        eventually(silent)
    assert hearts.stale() == {}


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(environ, seconds):
    assert Notifier(environ).watchdog_seconds == seconds


def test_the_watchdog_is_fed_in_time_and_never_while_a_loop_hangs(manager, environ):
    now = [0.0]
    hearts = Heartbeats(lambda: now[0])
    notifier = Notifier({**environ, "WATCHDOG_USEC": "40000000"})
    dog = Watchdog(notifier, hearts, lambda: now[0])
    hearts.expect("papers store-0", 60)
    dog.look()
    assert manager.heard() == ["WATCHDOG=1"]
    now[0] = 9.0
    dog.look()
    assert manager.nothing(), "a quarter of the interval is not over"
    now[0] = 10.0
    dog.look()
    assert manager.heard() == ["WATCHDOG=1"]
    now[0] = 61.0
    with structlog.testing.capture_logs() as logs:
        dog.look()
        dog.look()
    assert manager.nothing()
    (line,) = logs
    assert line["event"] == "a loop hangs"
    assert line["loop"] == "papers store-0"
    assert line["restarts"] is True
    hearts.beat("papers store-0")
    with structlog.testing.capture_logs() as logs:
        dog.look()
    assert [line["event"] for line in logs] == ["a loop goes on"]
    assert manager.heard() == ["WATCHDOG=1"]


def test_the_watchdog_waits_while_the_main_loop_is_held_up(manager, environ):
    notifier = Notifier({**environ, "WATCHDOG_USEC": "40000000"})
    with notifier.patience(600):
        assert manager.heard() == ["WATCHDOG_USEC=600000000", "WATCHDOG=1"]
    assert manager.heard() == ["WATCHDOG_USEC=40000000", "WATCHDOG=1"]
    with notifier.patience(30), Notifier(environ).patience(600):
        assert manager.nothing(), "it waits for longer anyway, or there is none"


def test_the_log_says_where_a_loop_hangs():
    now = [0.0]
    hearts = Heartbeats(lambda: now[0])
    inside, go_on = threading.Event(), threading.Event()

    def the_place_where_it_hangs():
        inside.set()
        go_on.wait()

    def run():
        with hearts.loop("store", 5):
            the_place_where_it_hangs()

    thread = threading.Thread(target=run)
    thread.start()
    inside.wait()
    now[0] = 6.0
    with structlog.testing.capture_logs() as logs:
        Watchdog(Notifier({}), hearts).look()
    go_on.set()
    thread.join()
    assert any("the_place_where_it_hangs" in call for call in logs[0]["where"])
    assert logs[0]["restarts"] is False


def report(**changes):
    return {
        "zone": "papers",
        "watcher": {"settling": 0},
        "queued": {"claimed": 0, "stored": 0, "indexed": 0},
        "paused": [],
        **changes,
    }


def test_the_status_says_what_waits_and_what_is_paused():
    queued = {"claimed": 12, "stored": 3, "indexed": 0}
    busy = report(queued=queued, watcher={"settling": 1})
    assert systemd.sentence([busy], connected=True) == (
        "papers: 1 settling, 12 to store, 3 to index"
    )
    idle = report()
    assert systemd.sentence([idle], connected=False) == (
        "papers: no file waits; the services are not connected yet"
    )
    pause = {"step": "store", "since": 0.0, "reason": "S3 does not answer."}
    paused = report(zone="letters", paused=[pause, {**pause, "step": "index"}])
    told = systemd.sentence([idle, paused], connected=True)
    assert told.startswith("papers: no file waits; letters: store and 1 more paused")
    assert told.endswith("S3 does not answer.")
