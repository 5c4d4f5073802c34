"""The unit files that come with dropzone, and what in them is a machine's own."""

import importlib.resources
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dropzone
from dropzone.errors import UsageError
from dropzone.settings import Settings
from dropzone.text import display

NAME = "dropzone.service"
USER = "dropzone"
SYSTEM_CONFIG = Path("/etc/dropzone/config.yaml")
SYSTEM_ZONE = Path("/srv/dropzone")
SYSTEM_UNITS = Path("/etc/systemd/system")
#: What the system's unit does not let the service see.
_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108


@dataclass(frozen=True, slots=True)
class Service:
    """What is to be installed: whose, with which command, over which folders."""

    of_user: bool
    user: str
    config: Path
    folders: tuple[Path, ...]
    zones: tuple[Path, ...]

    @property
    def units(self) -> Path:
        """The folder of the unit files."""
        return user_units() if self.of_user else SYSTEM_UNITS

    @property
    def systemctl(self) -> tuple[str, ...]:
        return ("systemctl", "--user") if self.of_user else ("systemctl",)


def user_units() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "systemd" / "user"


def user_config() -> Path:
    """Where the configuration of a user's own service lies."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "dropzone" / "config.yaml"


def shipped(name: str) -> str:
    """Return a unit file as it comes with this version."""
    inside = importlib.resources.files("dropzone") / "units" / name
    if inside.is_file():
        return inside.read_text(encoding="utf-8")
    # A checkout that is installed in place has them beside the source.
    return (_package().parents[1] / "systemd" / name).read_text(encoding="utf-8")


def unit_of(service: Service) -> str:
    return shipped("dropzone-user.service" if service.of_user else NAME)


def writable(settings: Settings) -> tuple[Path, ...]:
    """Return the folders that the daemon writes to, each once."""
    folders = [zone.path for zone in settings.zones]
    folders.append(settings.services_directory)
    if settings.log.file is not None:
        folders.append(settings.log.file.parent)
    outer: list[Path] = []
    for folder in folders:
        if not any(one == folder or one in folder.parents for one in outer):
            outer.append(folder)
    return tuple(outer)


def drop_in(service: Service) -> str:
    """Return what of the unit is particular to this machine."""
    command = [*program(), "run", "--config", str(service.config)]
    lines = [
        "# Written by `dropzone install-service`, and written anew by the next one.",
        "# Your own changes belong into `systemctl edit dropzone`.",
        "[Unit]",
        *(f"RequiresMountsFor={_quoted(folder)}" for folder in service.folders),
        "",
        "[Service]",
        "ExecStart=",
        f"ExecStart={' '.join(_argument(word) for word in command)}",
    ]
    if not service.of_user:
        lines += [f"User={service.user}", f"Group={_group(service.user)}"]
        for name in ("ReadWritePaths", "NoExecPaths"):
            lines.append(f"{name}=")
            lines += [f"{name}={_quoted(folder)}" for folder in service.folders]
    return "\n".join(lines) + "\n"


def tmpfiles(service: Service) -> str:
    """Return the rules that make the zones' folders, and keep their rights."""
    lines = shipped("dropzone.tmpfiles").splitlines()
    head = [line for line in lines if line.startswith("#")]
    rules = lines[len(head) :]
    owner = f"{service.user} {_group(service.user)}"
    made = [
        rule.replace(str(SYSTEM_ZONE), _quoted(zone))
        .replace(f"{USER} {USER}", owner)
        .replace(f"user:{USER}:", f"user:{service.user}:")
        for zone in service.zones
        for rule in rules
    ]
    others = [folder for folder in service.folders if folder not in service.zones]
    made += [f"d  {_quoted(folder)} 0750 {owner} -" for folder in others]
    return "\n".join([*head, *made]) + "\n"


def first_config(zone: Path) -> str:
    """Return a configuration that names the zone, and leaves the rest as it is."""
    name = str(zone).replace("'", "''")
    return (
        "# Every other setting has a default: `dropzone config show` lists them, and\n"
        "# `dropzone config check` tells what is wrong here.\n"
        f"zones:\n  - path: '{name}'\n"
    )


def program() -> list[str]:
    """Return how this dropzone is started."""
    script = Path(sys.prefix) / "bin" / "dropzone"
    return [str(script)] if script.exists() else [sys.executable, "-m", "dropzone"]


def places() -> list[Path]:
    """Return the folders that this dropzone is run from."""
    found = {Path(sys.prefix), Path(sys.base_prefix), _package()}
    return sorted(found)


def hidden(paths: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Return those that the system's unit hides, with the folder that hides each."""
    return [
        (path, above)
        for path in paths
        for above in _HIDDEN
        if above == path or above in path.resolve().parents
    ]


def check_names(paths: Sequence[Path]) -> None:
    """Refuse what a unit file cannot hold.

    Raises:
        UsageError: a path has a line break or another control character.

    """
    for path in paths:
        if not str(path).isprintable():
            raise UsageError(
                f"{display(bytes(path))} has characters that a unit file cannot hold.",
                hint="Give it another name.",
            )


def _package() -> Path:
    return Path(dropzone.__file__).parent


def _group(user: str) -> str:
    import grp
    import pwd

    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        # It is made with a group of its own name.
        return user


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if " " in escaped or '"' in escaped else escaped


def _argument(word: str) -> str:
    plain = word.replace("$", "$$")
    return _quoted(Path(plain))
