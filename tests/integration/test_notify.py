"""The daemon as a process of a manager that listens like systemd, but is the test."""

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import DEADLINE, ZoneOfTest, wait_for, zone_on
from dropzone.commands import reloader
from dropzone.embedded import ServiceAddresses, postgres
from dropzone.embedded.account import Account
from dropzone.embedded.process import Identity

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17


class Manager:
    """What is sent to the notify socket, as one list."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def hear(self) -> list[str]:
        while True:
            try:
                self.heard += self._socket.recv(8192).decode().split("\n")
            except BlockingIOError:
                return self.heard

    def count(self, line: str) -> int:
        return self.hear().count(line)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def zone(
    tmp_path: Path, services: ServiceAddresses, manager: Manager
) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    made.environment |= {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "800000",
    }
    yield made
    made.close()


def freeze(thread: int) -> bool:
    """Stop one thread of a process, and no other; False where that is not allowed."""
    trace = ctypes.CDLL(None, use_errno=True).ptrace
    trace.argtypes = [ctypes.c_long] * 4
    return trace(_SEIZE, thread, 0, 0) == 0 and trace(_INTERRUPT, thread, 0, 0) == 0


def thaw(thread: int) -> None:
    os.waitpid(thread, 0x40000000)
    trace = ctypes.CDLL(None, use_errno=True).ptrace
    trace.argtypes = [ctypes.c_long] * 4
    assert trace(_DETACH, thread, 0, 0) == 0


def test_systemd_is_told_from_start_to_stop(zone: ZoneOfTest, manager: Manager) -> None:
    daemon = zone.launch()
    wait_for(lambda: manager.count("READY=1"), "it is ready")
    wait_for(lambda: manager.count("STATUS=default: no file waits"), "it is idle")
    zone.drop("a.txt", b"hello")
    zone.wait_for_ends(1)
    wait_for(lambda: manager.count("WATCHDOG=1") > 5, "the watchdog is fed")
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: manager.count("RELOADING=1"), "it reloads")
    wait_for(lambda: manager.count("READY=1") == 2, "the reload is over")
    daemon.send_signal(signal.SIGTERM)
    # The socket holds few messages that nobody hears.
    wait_for(lambda: manager.hear() and daemon.poll() is not None, "it stops")
    assert daemon.returncode == 0
    assert manager.count("STOPPING=1") == 1
    after = manager.heard[manager.heard.index("STOPPING=1") :]
    assert "WATCHDOG=1" not in after


def ends(zone: ZoneOfTest, count: int) -> bool:
    try:
        zone.wait_for_receipts(count, DEADLINE / 4)
    except AssertionError:
        return False
    return True


def test_no_other_thread_feeds_the_watchdog(zone: ZoneOfTest, manager: Manager) -> None:
    daemon = zone.start()
    wait_for(lambda: manager.count("WATCHDOG=1"), "the watchdog is fed")
    # The main thread lets the steps begin once the services are connected.
    zone.drop("first.txt", b"hello")
    zone.wait_for_ends(1)
    for ended in range(2, 5):
        # The number of a process is that of its main thread.
        if not freeze(daemon.pid):
            pytest.skip("this machine lets nobody trace a child")
        manager.hear()
        fed = manager.count("WATCHDOG=1")
        # The others go on all the while: a file goes the whole way.
        zone.drop(f"{ended}.txt", b"hello %d" % ended)
        if ends(zone, ended):
            break
        # It was caught with the interpreter's lock in its hand.
        thaw(daemon.pid)
        zone.wait_for_ends(ended)
    assert manager.count("WATCHDOG=1") <= fed + 1
    thaw(daemon.pid)
    wait_for(lambda: manager.count("WATCHDOG=1") > fed + 2, "it is fed again")
    zone.stop(daemon)


# Runs the daemon, and looks at its heartbeats until each was seen to come again.
LOOK = """
import os, signal, sys, threading
from dropzone.config_source import ConfigSource
from dropzone.daemon import Daemon

daemon = Daemon(ConfigSource(None))
wanted = set(sys.argv[1:])

def look():
    first, again = {}, set()
    pause = threading.Event()
    while not wanted <= again:
        pause.wait(0.1)
        for name, pulse in list(daemon.hearts._pulses.items()):
            if pulse.last > first.setdefault(name, pulse.last):
                again.add(name)
    print("all beat")
    os.kill(os.getpid(), signal.SIGTERM)

daemon.run(ready=threading.Thread(target=look, daemon=True).start)
"""


def test_each_loop_of_an_idle_daemon_beats(zone: ZoneOfTest) -> None:
    zone.environment["DROPZONE__ZONES"] = (
        '[{"path": "drop_zones", "poll_seconds": 0.5, "scan_seconds": 1}]'
    )
    of_zone = ["watcher", "track", "store-0", "store-3", "index-0", "release-0"]
    loops = [f"default {name}" for name in (*of_zone, "index-parse-0")]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, "main", "services", *loops],
        cwd=zone.base,
        env=zone.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert "all beat" in done.stdout, done.stderr[-3000:]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda zone: zone.environment.update(DROPZONE__LIMITS__STOP_SECS="3"), 2),
        (lambda zone: (zone.root / "failed").write_text("in the way"), 78),
    ],
)
def test_what_only_a_person_mends_has_an_exit_code_of_its_own(
    zone: ZoneOfTest, spoil, code: int
) -> None:
    spoil(zone)
    assert zone.launch().wait(60) == code
    assert zone.log().strip(), "it says why"


def test_commands_find_the_socket_that_a_service_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/run/other")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert postgres.socket_directory(Path("/data"), Account()).parent == tmp_path


def test_a_process_is_known_where_a_container_has_its_own_boot_id() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        seen = Identity.of(process.pid)
        assert seen is not None
        ticks = seen.started.rpartition("/")[2]
        elsewhere = Identity(process.pid, f"another-boot/{ticks}")
        assert elsewhere.seems_alive
        assert not elsewhere.alive, "too little to signal it"
        assert not Identity(process.pid, f"another-boot/{ticks}0").seems_alive
        process.kill()
    assert not elsewhere.seems_alive


def test_who_holds_a_lock_is_known_without_a_look_at_its_files(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as lock:
        state = os.fstat(lock.fileno())
        assert not reloader._is_said_to_hold(os.getpid(), state)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert reloader._is_said_to_hold(os.getpid(), state)
        assert not reloader._is_said_to_hold(os.getppid(), state)
