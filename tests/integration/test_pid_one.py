"""A program as process 1 of a namespace: what becomes of signals and orphans."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import wait_for

UNSHARE = ("/usr/bin/env", "unshare", "--pid", "--fork", "--mount-proc")


def _may_unshare() -> bool:
    return subprocess.run([*UNSHARE, "true"], check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not _may_unshare(), reason="needs the right to make a process namespace"
)

PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
from dropzone import pid_one
pid_one.take_over()
said = Path(sys.argv[1])
def say(what):
    with said.open("a") as file:
        file.write(what + "\\n")
"""


@contextlib.contextmanager
def as_process_one(
    folder: Path, code: str, **options: int
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Run a program as process 1; yield ``unshare``, and the file that it fills."""
    said = folder / "said"
    said.touch()
    program = PROGRAM + textwrap.dedent(code)
    process = subprocess.Popen(
        [*UNSHARE, "--kill-child", sys.executable, "-c", program, said], **options
    )
    try:
        yield process, said
    finally:
        process.kill()
        process.wait()


def one_below(process: "subprocess.Popen[bytes]") -> int:
    """Return the number that process 1 of the namespace has outside of it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(wait_for(lambda: children.read_text().split(), "unshare forks")[0])


def test_it_goes_on_as_another_process_and_ends_with_its_code(tmp_path: Path):
    with as_process_one(tmp_path, "say(str(os.getpid())); sys.exit(3)") as (one, said):
        assert one.wait(20) == 3
    assert int(said.read_text()) > 1


def test_signals_are_handed_on(tmp_path: Path):
    code = """
        for name in ("SIGHUP", "SIGUSR1", "SIGTERM"):
            signal.signal(getattr(signal, name), lambda *_, name=name: say(name))
        say("ready")
        while "SIGTERM" not in said.read_text():
            signal.pause()
        sys.exit(0)
    """
    with as_process_one(tmp_path, code) as (process, said):
        wait_for(lambda: "ready" in said.read_text(), "it is ready")
        one = one_below(process)
        for name in ("SIGHUP", "SIGUSR1", "SIGTERM"):
            os.kill(one, getattr(signal, name))
            wait_for(lambda name=name: name in said.read_text(), f"{name} arrives")
        assert process.wait(20) == 0


def test_a_signal_without_a_handler_ends_the_container(tmp_path: Path):
    with as_process_one(tmp_path, "say('ready'); time.sleep(60)") as (process, said):
        wait_for(lambda: "ready" in said.read_text(), "it is ready")
        os.kill(one_below(process), signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


def test_orphans_are_reaped_at_once(tmp_path: Path):
    code = """
        for _ in range(20):
            subprocess.run(["sh", "-c", "(sleep 0.01 &)"], check=True)
        say("made")
        def states():
            for entry in Path("/proc").glob("[0-9]*/stat"):
                try:
                    yield entry.read_text().rpartition(")")[2].split()[0]
                except OSError:
                    pass
        until = time.monotonic() + 20
        while time.monotonic() < until and len(list(states())) > 2:
            time.sleep(0.02)
        say(f"left {sorted(states())}")
    """
    with as_process_one(tmp_path, code) as (process, said):
        assert process.wait(40) == 0
    # Process 1 and the program itself.
    assert said.read_text().splitlines()[-1].count("'") == 4
    assert "Z" not in said.read_text()


def test_what_a_killed_program_started_may_end_in_order(tmp_path: Path):
    # As a server that is told by its guard that its owner is gone.
    code = """
        script = f'sleep 0.5; echo "ended in order" >> {said}'
        subprocess.Popen(["sh", "-c", script], start_new_session=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with as_process_one(tmp_path, code) as (process, said):
        assert process.wait(20) == 128 + signal.SIGKILL
        assert said.read_text() == "ended in order\n"


def test_ctrl_c_in_a_terminal_arrives_once(tmp_path: Path):
    code = """
        signal.signal(signal.SIGINT, lambda *_: say("interrupted"))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        say(f"leads {os.tcgetpgrp(0) == os.getpgrp()}")
        while True:
            signal.pause()
    """
    ours, theirs = pty.openpty()
    program = PROGRAM + textwrap.dedent(code)
    (said := tmp_path / "said").touch()
    command = [*UNSHARE, "--kill-child", sys.executable, "-c", program, str(said)]
    # A session of its own, with the terminal as the one that controls it.
    leader = ["/usr/bin/env", "setsid", "--ctty", "--wait", *command]
    process = subprocess.Popen(leader, stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        wait_for(lambda: "leads" in said.read_text(), "it leads the terminal")
        os.write(ours, b"\x03")
        wait_for(lambda: "interrupted" in said.read_text(), "Ctrl-C arrives")
        assert said.read_text() == "leads True\ninterrupted\n"
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
