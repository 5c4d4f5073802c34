"""Children that end when we do, and processes known by more than their number."""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from dropzone.embedded.files import hold, let_go

# The shell becomes the server. The process it leaves behind waits on a pipe that only
# we hold open: a line means "dismissed", the end of the pipe means that we are gone.
# PR_SET_PDEATHSIG would fire when the thread that started the server ends. The guard
# is not the server's child, because Postgres ends all sessions when a child is killed.
_GUARDED = """
exec 3<&0
( { read -r line <&3 || kill -s "$0" $$; } & )
exec "$@" </dev/null 3<&-
"""

#: How long a server has to stop in order, seconds. Docker kills after ten, and before
#: this the daemon drains.
FAST_SECONDS = 4.0
#: How long its immediate shutdown has; after five, Postgres kills its own children.
IMMEDIATE_SECONDS = 6.0

_INHERITED = ("HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a child runs as; None means like this process."""

    user: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: its number and when it started, since numbers are used again."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return who has this number now; None if nobody, or a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZX" else cls(pid, f"{boot}/{fields[18]}")

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    @property
    def seems_alive(self) -> bool:
        """Like ``alive``, but the boot it told of may have another id here.

        Containers put an id of their own over the kernel's, which a service of theirs
        with ProtectProc= does not see. Enough to talk to it, too little to signal it.
        """
        now = Identity.of(self.pid)
        return now is not None and _ticks(now) == _ticks(self)

    def end(self, number: signal.Signals, patience: float) -> bool:
        """Signal exactly this process; return True once it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # From here the number cannot change hands, so the check holds.
            if not self.alive:
                return True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            return bool(poll.poll(patience * 1000))
        finally:
            os.close(handle)


def _ticks(identity: Identity) -> str:
    return identity.started.rpartition("/")[2]


class Child:
    """A started server. It is sent ``stop_signal`` when this process ends, even by -9.

    Processes made by fork without exec after it may keep it alive only if they bypass
    ``os.fork``; subprocess and every multiprocessing method are fine.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stop_signal: signal.Signals,
        log: BinaryIO,
        environment: Mapping[str, str],
        account: Account,
    ) -> None:
        self._stop_signal = stop_signal
        read_end, write_end = os.pipe()
        self._guard: int | None = hold(write_end)
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDED, stop_signal.name[3:], *command],
                stdin=read_end,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(environment),
                # Ctrl-C in the terminal must not reach it before we have drained.
                start_new_session=True,
                user=account.user,
                group=account.group,
                extra_groups=None if account.user is None else [],
            )
        except BaseException:
            let_go(write_end)
            raise
        finally:
            os.close(read_end)
        self.identity = Identity.of(self._process.pid)

    @property
    def exit_code(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._dismiss_guard()
        return code

    def wait(self, patience: float) -> bool:
        """Return True once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        return self.exit_code is not None

    def signal(self, number: signal.Signals | None = None) -> None:
        self._process.send_signal(number or self._stop_signal)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        if self._guard is None:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self._guard, b"\n")
        descriptor, self._guard = self._guard, None
        let_go(descriptor)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Keep what a program needs to start: PGDATA or RCLONE_* would configure it."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "LC_ALL": "C", **more}
