"""Runs a command and stops it, with all its children, before its N-th change.

Counted over all threads and children: every call that changes a file below ``base``,
and every one that speaks to a server. No ptrace, no change to the program.
"""

import contextlib
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos import seccomp
from chaos.seccomp import CHANGES, KINDS, Notification

SUPPORTED = sys.platform == "linux" and platform.machine() == "x86_64"
KILLED = -signal.SIGKILL

_LAUNCH = (sys.executable, "-S", str(Path(__file__).with_name("launch.py")))
_HERE = (1 << 32) - 100
_SHOWN_BYTES = 8192
_NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was counted: its name, the paths it is about, and what it sends."""

    name: str
    paths: tuple[str, ...]
    sent: bytes = b""

    def __str__(self) -> str:
        return f"{self.name} {' '.join(self.paths)}"


#: The number of a call, from 1, or what tells that it is the one; None: none is.
StopAt = int | Callable[[Call], bool] | None


@dataclass
class Run:
    """How a supervised command ended, and what it did until then."""

    code: int = 0
    calls: list[Call] = field(default_factory=list)


class Supervisor:
    """Supervises one command over one tree of files."""

    def __init__(
        self,
        base: Path,
        *,
        stop_at: StopAt = None,
        before: Mapping[int, Callable[[], None]] | None = None,
        answers: bool = False,
        seconds: float = 60.0,
    ) -> None:
        """Take what to do ``before`` some of the calls, by their number from 1.

        With ``answers`` the reading of a server's answer counts too.
        """
        self._base = str(base)
        self._stop_at = stop_at
        self._before = before or {}
        self._names = list(KINDS if answers else CHANGES)
        self._seconds = seconds
        self._run = Run()
        self._sockets: dict[str, bool] = {}
        self._listener = self._pid = -1

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        log: Path,
    ) -> Run:
        """Return when the command and everything it started have ended."""
        go, give_go = os.pipe()
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*_LAUNCH, str(go), ",".join(self._names), *command],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=[go],
                start_new_session=True,
            )
        os.close(go)
        self._pid = process.pid
        try:
            self._listener = self._wait_for_listener()
            os.write(give_go, b"x")
            self._serve(time.monotonic() + self._seconds)
        finally:
            os.close(give_go)
            self._kill()
            self._run.code = process.wait()
            if self._listener >= 0:
                os.close(self._listener)
        return self._run

    def _wait_for_listener(self) -> int:
        until = time.monotonic() + 10
        while (found := seccomp.take_listener(self._pid)) < 0:
            if time.monotonic() > until:
                raise TimeoutError("the launcher installed no filter")
            select.select([], [], [], 0.002)
        return found

    def _serve(self, until: float) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            events = poll.poll(max(0.0, until - time.monotonic()) * 1000)
            if not events:
                raise TimeoutError(
                    f"still running after {self._seconds:.0f} s and "
                    f"{len(self._run.calls)} calls"
                )
            if not events[0][1] & select.POLLIN:
                # The last process under the filter has ended.
                return
            held = seccomp.receive(self._listener)
            if held is not None and self._handle(held):
                return

    def _handle(self, held: Notification) -> bool:
        """Count the call and let it happen; True if the command was stopped here."""
        call = self._counted(held)
        if call is not None:
            self._run.calls.append(call)
            number = len(self._run.calls)
            if number in self._before:
                self._before[number]()
            stop = self._stop_at
            if stop(call) if callable(stop) else number == stop:
                self._kill()
                return True
        seccomp.let_go(self._listener, held)
        return False

    def _kill(self) -> None:
        """Kill the command and all it started; return when they are gone."""
        with contextlib.suppress(ProcessLookupError):
            # It may start nothing more while its children are counted.
            os.kill(self._pid, signal.SIGSTOP)
            for pid in (self._pid, *descendants(self._pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        poll = select.poll()
        poll.register(self._listener, 0)
        if self._listener >= 0 and not poll.poll(10_000):
            raise TimeoutError("some process outlived the kill")

    def _counted(self, held: Notification) -> Call | None:
        kind = KINDS[held.name]
        if kind.descriptor is not None:
            return self._on_descriptor(held, held.arguments[kind.descriptor])
        paths = tuple(_path(held, *where) for where in kind.paths)
        if not any(path.startswith(self._base) for path in paths):
            return None
        return Call(held.name, paths)

    def _on_descriptor(self, held: Notification, number: int) -> Call | None:
        target = _link(held.thread, f"fd/{number & 0xFFFFFFFF}")
        if target.startswith("socket:"):
            if not self._is_network(held, target, number):
                return None
            sent = b""
            if held.name == "sendto":
                length = min(held.arguments[2], _SHOWN_BYTES)
                sent = seccomp.memory(held.thread, held.arguments[1], length)
            return Call(held.name, (_NETWORK,), sent)
        if not target.startswith(self._base):
            return None
        return Call(held.name, (target.removesuffix(" (deleted)"),))

    def _is_network(self, held: Notification, inode: str, number: int) -> bool:
        """Tell whether the socket leads to a server; one pair of ours does not."""
        if held.name == "connect":
            self._sockets[inode] = True
        if inode not in self._sockets:
            self._sockets[inode] = _has_named_peer(held.thread, number)
        return self._sockets[inode]


def descendants(pid: int) -> list[int]:
    """Return the children of a process, theirs, and so on."""
    found: list[int] = []
    for parent in (pid, *found):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                children = Path(f"/proc/{parent}/task/{task}/children").read_text()
                for child in map(int, children.split()):
                    found += [child, *descendants(child)]
    return found


def _has_named_peer(thread: int, number: int) -> bool:
    try:
        # Descriptors belong to the process, whose number its first thread has.
        status = Path(f"/proc/{thread}/status").read_text()
        leader = int(status.partition("\nTgid:")[2].split()[0])
        fd = seccomp.take_descriptor(leader, number)
    except (OSError, IndexError):
        return False
    with socket.socket(fileno=fd) as there:
        if there.family == socket.AF_NETLINK:
            return False
        try:
            return bool(there.getpeername())
        except OSError:
            return False


def _path(held: Notification, directory: int | None, position: int) -> str:
    raw = seccomp.memory(held.thread, held.arguments[position], 4096)
    path = os.fsdecode(raw.partition(b"\0")[0])
    if path.startswith("/"):
        return path
    where = _HERE if directory is None else held.arguments[directory] & 0xFFFFFFFF
    at = "cwd" if where == _HERE else f"fd/{where}"
    return os.path.join(_link(held.thread, at), path)


def _link(thread: int, what: str) -> str:
    try:
        return os.readlink(f"/proc/{thread}/{what}")
    except OSError:
        return "?"
