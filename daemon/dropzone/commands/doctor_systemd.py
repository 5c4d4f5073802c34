"""What ``dropzone doctor`` says about the service of the system."""

import os
import pwd
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from dropzone.commands import service_units as units
from dropzone.commands.diagnosis import Diagnosis, ok, problem, warning
from dropzone.commands.service_units import NAME, SYSTEM_UNITS
from dropzone.settings import Settings
from dropzone.text import display

_CREDENTIALS = Path("/etc/credstore")
_PREFIX = "dropzone."
_SHOWN = (
    "ActiveState", "SubState", "UnitFileState", "ExecMainStatus", "NRestarts",
    "WatchdogUSec", "User", "ReadWritePaths", "NeedDaemonReload",
)  # fmt: skip
_INSTALL = "sudo dropzone install-service"
_ENDS = {
    "2": "the configuration is wrong",
    "78": "a zone cannot be served as it is",
    "203": "its program is gone",
    "217": "its user is gone",
    "226": "a folder that it may write to is gone",
    "243": "a credential cannot be read",
}


def service(settings: Settings) -> Iterator[Diagnosis]:
    """Look at the system's service; nothing is said where none is installed."""
    unit = SYSTEM_UNITS / NAME
    if not unit.exists():
        return
    yield from _files(unit)
    yield from _secrets()
    shown = _show()
    if not shown:
        yield warning(
            "service",
            f"{unit} is installed, and systemd does not answer",
            "Nothing, on a machine that is not booted with systemd.",
        )
        return
    yield _state(shown)
    yield from _settings_of(shown)
    yield from _folders(settings, shown)


def _files(unit: Path) -> Iterator[Diagnosis]:
    try:
        installed = unit.read_text(encoding="utf-8")
    except OSError as error:
        yield warning("service", f"{unit}: {error.strerror}", f"chmod 644 {unit}")
        return
    if installed != units.shipped(NAME):
        yield warning(
            "service, unit",
            f"{unit} is not the one that comes with this version",
            f"{_INSTALL}; own changes belong into systemctl edit dropzone",
        )


def _state(shown: Mapping[str, str]) -> Diagnosis:
    active, code = shown["ActiveState"], shown["ExecMainStatus"]
    if active == "failed":
        why = f": {_ENDS[code]}" if code in _ENDS else ""
        return problem(
            "service",
            f"it ended with exit code {code}{why}, and is not started again",
            "journalctl -u dropzone -n 20 says what to mend; then systemctl start "
            "dropzone",
        )
    if active != "active":
        return warning(
            "service",
            f"it is {active} ({shown['SubState']})",
            "systemctl start dropzone",
        )
    if shown["UnitFileState"] != "enabled":
        return warning(
            "service",
            "it runs, and will not be started at the next boot",
            "sudo systemctl enable dropzone",
        )
    restarts = shown["NRestarts"]
    if restarts != "0":
        return warning(
            "service",
            f"it runs, and had to be started again {restarts} times",
            "journalctl -u dropzone -p err says why; systemctl restart dropzone counts "
            "anew",
        )
    return ok("service", f"runs as {shown['User']}, and is started at boot")


def _settings_of(shown: Mapping[str, str]) -> Iterator[Diagnosis]:
    if shown["WatchdogUSec"] in {"0", "infinity", ""}:
        yield warning(
            "service, watchdog",
            "it is off: a daemon that hangs is not started again",
            "Take WatchdogSec= out of systemctl edit dropzone.",
        )
    if shown["NeedDaemonReload"] == "yes":
        yield warning(
            "service, unit",
            "its files were changed, and systemd has not read them",
            "sudo systemctl daemon-reload; sudo systemctl restart dropzone",
        )


def _folders(settings: Settings, shown: Mapping[str, str]) -> Iterator[Diagnosis]:
    allowed = set(shown["ReadWritePaths"].split())
    for folder in units.writable(settings):
        # systemd does not show paths with spaces so that they could be told apart.
        if " " not in str(folder) and str(folder) not in allowed:
            yield problem(
                "service, folders",
                f"the service may not write to {display(bytes(folder))}",
                f"{_INSTALL}: it writes the folders of the configuration into the unit",
            )
    for zone in settings.zones:
        yield from _owner(zone.path, shown["User"])


def _owner(zone: Path, user: str) -> Iterator[Diagnosis]:
    try:
        owner = pwd.getpwuid(zone.stat().st_uid).pw_name
    except (KeyError, OSError):
        return
    if owner != user:
        shown = display(bytes(zone))
        yield problem(
            "service, owner",
            f"{shown} belongs to {owner}, and the service runs as {user}",
            f"sudo chown -R {user}: {shown}, or {_INSTALL} --as {owner}",
        )


def _secrets() -> Iterator[Diagnosis]:
    asked = {
        line.partition("=")[2].partition(":")[2]
        for line in units.shipped(NAME).splitlines()
        if line.startswith("LoadCredential=")
    }
    try:
        found = sorted(_CREDENTIALS.glob(f"{_PREFIX}*"))
    except OSError:
        return
    for file in found:
        mode = file.stat()
        if mode.st_mode & 0o077 or mode.st_uid != 0:
            yield problem(
                "service, secrets",
                f"{display(bytes(file))} may be read by others than root "
                f"({stat.filemode(mode.st_mode)})",
                f"sudo chown root: {file}; sudo chmod 600 {file}",
            )
        elif file.name not in asked:
            yield warning(
                "service, secrets",
                f"no secret is called {display(os.fsencode(file.name))}",
                f"Known: {', '.join(sorted(asked))}.",
            )


def _show() -> dict[str, str]:
    asked = ["systemctl", "show", NAME, "-p", ",".join(_SHOWN)]
    try:
        done = subprocess.run(
            asked, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    shown = {name: value for name, _, value in pairs}
    return shown if shown.keys() >= set(_SHOWN) else {}
