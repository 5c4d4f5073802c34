"""The live view, on a terminal of its own."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import DEADLINE, ZoneOfTest, zone_on
from dropzone import pauses
from dropzone.embedded import ServiceAddresses


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen:
    """A terminal with ``dropzone top`` on it."""

    def __init__(self, zone: ZoneOfTest) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                os.chdir(zone.base)
                command = [sys.executable, "-m", "dropzone", "top"]
                environment = {**zone.environment, "TERM": "xterm", "NO_COLOR": "1"}
                os.execve(command[0], command, environment)  # noqa: S606 no shell
            os._exit(1)
        self.mode = termios.tcgetattr(self.terminal)
        self.seen = self.raw = ""
        self.resize(40, 150)

    def resize(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)

    def wait(self, text: str) -> None:
        """Wait until this is shown anew."""
        end = time.monotonic() + DEADLINE
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} is not in {self.seen[-3000:]}"
            self.read()
        self.seen = self.seen.partition(text)[2]

    def read(self) -> None:
        if select.select([self.terminal], [], [], 0.2)[0]:
            with contextlib.suppress(OSError):
                more = os.read(self.terminal, 1 << 16).decode(errors="replace")
                self.raw += more
                # Without what sets styles and moves the cursor.
                self.seen += ESCAPES.sub("", more)

    def press(self, key: str) -> None:
        os.write(self.terminal, key.encode())

    def code(self) -> int:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            # Nobody ends whose output is not read.
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it goes on")


def test_it_shows_what_goes_on_and_that_nothing_does(zone: ZoneOfTest) -> None:
    screen = Screen(zone)
    screen.wait("Not running; 0 wait in input/")
    zone.start()
    screen.wait("Running as process")
    zone.drop("a.txt", b"a text")
    zone.drop("bad.pdf", b"no pdf")
    screen.wait("postgres")
    screen.wait("damaged or is not a PDF")
    screen.resize(12, 60)
    screen.wait("Zone default")
    screen.press("q")
    assert screen.code() == 0
    # No colours were wanted.
    assert "\x1b[3" not in screen.raw
    os.close(screen.terminal)
    zone.wait_for_ends(2)
    assert "last 10 min: 2 files" in zone.command("top", "--once").stdout


def test_keys_pause_and_resume_and_the_terminal_is_left_as_it_was(
    zone: ZoneOfTest,
) -> None:
    (zone.root / "state").mkdir(exist_ok=True)
    screen = Screen(zone)
    screen.wait("q quit")
    for key, then in (("n", "q quit"), ("y", "Paused everything")):
        screen.press("p")
        screen.wait("Pause all steps of all zones?")
        assert not pauses.read(zone.root)
        screen.press(key)
        screen.wait(then)
    screen.wait("Paused: track, by ")
    screen.press("r")
    screen.wait("Everything goes on")
    assert not pauses.read(zone.root)
    screen.press("q")
    assert screen.code() == 0
    assert termios.tcgetattr(screen.terminal) == screen.mode
    # The screen from before is back, and the cursor.
    assert screen.raw.rindex("\x1b[?1049l") > screen.raw.rindex("\x1b[?1049h")
    assert screen.raw.rindex("\x1b[?25h") > screen.raw.rindex("\x1b[?25l")
    os.close(screen.terminal)


@pytest.mark.parametrize("end", ["ctrl-c", "term", "hangup"])
def test_it_ends_cleanly(zone: ZoneOfTest, end: str) -> None:
    screen = Screen(zone)
    screen.wait("Zone default")
    if end == "ctrl-c":
        screen.press("\x03")
        assert screen.code() == 0
    elif end == "term":
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.code() == 0
    else:
        os.close(screen.terminal)
        assert os.waitpid(screen.pid, 0)[1] != 0
        return
    os.close(screen.terminal)


def test_without_a_terminal_it_is_printed_once(zone: ZoneOfTest) -> None:
    zone.drop("a.txt", b"a text")
    done = zone.command("top")
    assert done.returncode == 0, done.stderr
    assert "Not running; 1 wait in input/" in done.stdout
    assert "\x1b" not in done.stdout
    assert "quit" not in done.stdout
