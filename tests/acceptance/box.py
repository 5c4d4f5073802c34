"""A Debian that is really booted, with systemd as its first process, in a container.

It has its own processes, mounts and network (which leads nowhere), and a cgroup of its
own, so that nothing of this machine is touched. Commands run in it by ``nsenter``.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from daemons import wait_for

_CGROUPS = Path("/sys/fs/cgroup")
# Parsers confine themselves with these; nspawn of Debian 12 does not know them.
_CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
# The box ends with the test, whatever ends that.
_INTO_CGROUP = (
    'for file in $CGROUPS; do echo $$ > "$file"; done; '
    'exec setpriv --pdeathsig KILL "$@"'
)
_NAME = f"box{os.getpid()}"
_BOOT_SECONDS = 60


class CannotBoot(Exception):
    """This machine boots no systemd in a container; the message says why."""


class Box:
    """A booted tree; made by ``booted``."""

    def __init__(
        self, root: Path, start: "Callable[[], subprocess.Popen[bytes]]", log: Path
    ) -> None:
        self.root = root
        self._start = start
        self._log = log
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Boot, and return when systemd is up.

        Raises:
            CannotBoot: it does not come up.

        """
        self._nspawn = self._start()
        self._leader = _wait_until_up(self._nspawn, self._log)

    def cut_power(self) -> None:
        """End everything in it at once."""
        if self._nspawn is not None:
            _end(self._nspawn)

    def run(
        self, *command: str, check: bool = True, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as root in the box and return what it said."""
        inside = ["/usr/bin/nsenter", "-t", str(self._leader), "-a", "--", *command]
        done = subprocess.run(
            inside,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            **options,
        )
        if check and done.returncode:
            told = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{told}")
        return done

    def shows(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        told = self.run("systemctl", "show", unit, "-p", ",".join(names)).stdout
        return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)

    def journal(self, unit: str) -> list[dict[str, Any]]:
        """Return the entries of a unit's journal, oldest first."""
        # Whatever was said before this is among them.
        self.run("journalctl", "--sync", check=False)
        told = self.run("journalctl", "-u", unit, "-o", "json", "--all").stdout
        return [json.loads(line) for line in told.splitlines() if line]

    def said(self, unit: str, count: int = 40) -> str:
        """Return the end of a unit's log, for messages of tests."""
        asked = ("journalctl", "-u", unit, "-n", str(count), "--no-pager")
        return self.run(*asked, check=False).stdout


@contextlib.contextmanager
def booted(root: Path, binds: Mapping[Path, str], log: Path) -> Iterator[Box]:
    """Boot the tree at ``root``, with folders of this machine bound read-only.

    Raises:
        CannotBoot: no rights, no nspawn, or systemd does not come up.

    """
    if shutil.which("systemd-nspawn") is None:
        raise CannotBoot("systemd-nspawn is not installed (systemd-container)")
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text(f"{_NAME}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {_NAME}\n")
    groups = _make_cgroups(f"dropzone-{_NAME}")
    box = Box(root, lambda: _start(root, binds, groups, log), log)
    try:
        box.boot()
        yield box
    finally:
        box.cut_power()
        for group in groups:
            _remove(group)


def _start(
    root: Path, binds: Mapping[Path, str], groups: Sequence[Path], log: Path
) -> "subprocess.Popen[bytes]":
    command = [
        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
        *("--private-network", "--link-journal=no", "--console=pipe"),
        *(
            f"--directory={root}",
            f"--machine={_NAME}",
            f"--system-call-filter={_CALLS}",
        ),
        *(f"--bind-ro={here}:{there}" for here, there in binds.items()),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        "CGROUPS": " ".join(str(group / "cgroup.procs") for group in groups),
    }
    with log.open("wb") as out:
        return subprocess.Popen(
            ["/bin/sh", "-c", _INTO_CGROUP, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )


def _wait_until_up(nspawn: "subprocess.Popen[bytes]", log: Path) -> int:
    def leader() -> int | None:
        if nspawn.poll() is not None:
            raise CannotBoot(f"systemd-nspawn ended: {log.read_text()[-500:]}")
        for child in _children(nspawn.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        return None

    def state(pid: int) -> bool:
        asked = ["nsenter", "-t", str(pid), "-a", "systemctl", "is-system-running"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        return told.stdout.strip() in {"running", "degraded"}

    try:
        pid: int = wait_for(leader, "nspawn starts systemd", _BOOT_SECONDS)
        wait_for(lambda: state(pid), "systemd is up", _BOOT_SECONDS)
    except AssertionError as error:
        raise CannotBoot(f"{error}: {log.read_text()[-500:]}") from error
    return pid


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in listed.split()]
    return []


def _end(nspawn: "subprocess.Popen[bytes]") -> None:
    """Cut the box's power: its first process takes all others along."""
    for child in _children(nspawn.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    try:
        nspawn.wait(20)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()


def _make_cgroups(name: str) -> list[Path]:
    hierarchies = [_CGROUPS / name for name in ("unified", "systemd")]
    found = [h for h in hierarchies if h.is_dir()] or [_CGROUPS]
    made = [hierarchy / name for hierarchy in found]
    try:
        for group in made:
            group.mkdir(exist_ok=True)
    except OSError as error:
        raise CannotBoot(f"no cgroup can be made: {error}") from error
    return made


def _remove(group: Path) -> None:
    """Remove a cgroup with those below it, the innermost first."""
    below = [Path(folder) for folder, _, _ in os.walk(group)]
    for folder in sorted(below, key=lambda f: len(f.parts), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
