"""Lets the running daemon read its configuration again, and tells how that went."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from dropzone import status
from dropzone.commands import access, output
from dropzone.commands.command import PROBLEM
from dropzone.commands.render_status import reloaded
from dropzone.errors import DropzoneError
from dropzone.settings import Settings

_LOOK_SECONDS = 0.1
# Opening a large zone that was added takes a while.
_PATIENCE_SECONDS = 60.0


def reload(config: Path | None, *, as_json: bool) -> int:
    """Ask each daemon of the zones to reload; print the outcomes; return the exit code.

    Raises:
        ConfigurationError: the settings are wrong; no daemon is asked.
        DropzoneError: no daemon runs, or it gives no answer.

    """
    settings = access.settings(config)
    outcomes = _outcomes(settings)
    if as_json:
        output.print_json({"reloads": list(outcomes.values())})
    else:
        for pid, outcome in outcomes.items():
            _print(pid, outcome)
    return 0 if all(outcome["ok"] for outcome in outcomes.values()) else PROBLEM


def _outcomes(settings: Settings) -> dict[int, dict[str, Any]]:
    # One daemon may serve several zones.
    daemons: dict[int, Path] = {}
    for zone in settings.zones:
        pid = status.server_of(zone.path)
        if pid is not None:
            daemons.setdefault(pid, zone.path)
    if not daemons:
        raise DropzoneError(
            "No daemon serves these zones.",
            hint="It reads its configuration when it starts: dropzone run.",
        )
    return {pid: _ask(pid, root) for pid, root in daemons.items()}


def _ask(pid: int, root: Path) -> dict[str, Any]:
    _check_is_daemon(pid, root)
    asked = time.monotonic()
    os.kill(pid, signal.SIGHUP)
    pause = threading.Event()
    while time.monotonic() - asked < _PATIENCE_SECONDS:
        outcome = status.report_of(root).get("reload")
        if outcome is not None and outcome["began"] >= asked:
            return {"pid": pid, **outcome}
        if status.server_of(root) != pid:
            raise DropzoneError(f"The daemon (process {pid}) ended meanwhile.")
        pause.wait(_LOOK_SECONDS)
    raise DropzoneError(
        f"The daemon (process {pid}) gave no answer in {_PATIENCE_SECONDS:.0f} s.",
        hint="Look into its log; it reloads once it is through its start.",
    )


def _check_is_daemon(pid: int, root: Path) -> None:
    """Make sure that the signal reaches who holds the zone, and is understood.

    In a container processes have other numbers: ours may be somebody else.
    """
    lock = os.stat(root / "state" / "lock")
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            holds = any(_is_same(entry.path, lock) for entry in entries)
        holds = holds or _is_said_to_hold(pid, lock)
    except PermissionError:
        raise DropzoneError(
            f"The daemon (process {pid}) belongs to another user.",
            hint="Run this as the daemon's user, or as root.",
        ) from None
    except FileNotFoundError:
        holds = False
    if not holds:
        raise DropzoneError(
            f"Process {pid}, which serves {root}, is not to be found on this side.",
            hint="Where it runs in a container, ask there: docker exec CONTAINER "
            "dropzone reload.",
        )
    report = status.report_of(root)
    if report.get("pid") == pid and "reload" not in report:
        raise DropzoneError(
            f"The daemon (process {pid}) is older than this command.",
            hint="Restart it.",
        )


def _is_same(path: str, lock: os.stat_result) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (lock.st_dev, lock.st_ino)


def _is_said_to_hold(pid: int, lock: os.stat_result) -> bool:
    """Ask the kernel's list of locks.

    A service with PrivateUsers= lets nobody look at its files but root.
    """
    device = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}"
    wanted = [str(pid), f"{device}:{lock.st_ino}"]
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any(line.split()[4:6] == wanted for line in lines)


def _print(pid: int, outcome: dict[str, Any]) -> None:
    print(f"Daemon {pid}:")
    output.print_all(reloaded(outcome))
    for setting in outcome["changed"]:
        print(f"  Changed: {output.shown(setting)}")
    if outcome["ok"] and not outcome["changed"]:
        print("  Nothing changed.")
