"""What ``dropzone doctor`` says about where dropzone runs: user, limits, container."""

import os
import pwd
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from dropzone import status, zone_rights
from dropzone.commands.diagnosis import Diagnosis, ok, warning
from dropzone.errors import ZoneError
from dropzone.settings import Zone
from dropzone.text import display

# Each pool and each parser takes some; 1,024 is what systems give by default.
_FILES = 1024
_LOST = {
    "tmpfs": "lies in memory, and is lost when the machine stops",
    "ramfs": "lies in memory, and is lost when the machine stops",
    "overlay": "lies in the container's own layer, and is lost with it",
}


def here(zones: Sequence[Zone]) -> Iterator[Diagnosis]:
    """Look at this process and the place of the zones."""
    yield ok("surroundings", f"{_kind()}, user {_name(os.geteuid())}")
    yield _open_files()
    for zone in zones:
        yield from _user(zone)
        yield from _place(zone)


def _kind() -> str:
    if zone_rights.in_container():
        return "in a container"
    if "INVOCATION_ID" in os.environ:
        return "in a systemd unit"
    booted = Path("/run/systemd/system").is_dir()
    return "on a machine with systemd" if booted else "on a machine without systemd"


def _open_files() -> Diagnosis:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = f"this process may open {soft} files"
    if soft >= _FILES:
        return ok("open files", told)
    return warning(
        "open files",
        f"{told}, and {_FILES} are wanted",
        f"ulimit -n {_FILES}, or LimitNOFILE={_FILES} in the systemd unit"
        + (f"; as root, for the limit is {hard}" if hard < _FILES else ""),
    )


def _user(zone: Zone) -> Iterator[Diagnosis]:
    """Compare this user with that of the daemon, or else with the zone's owner."""
    try:
        pid = status.server_of(zone.path)
        place = Path("/proc", str(pid)) if pid is not None else zone.path / "state"
        owner = place.stat().st_uid
    except (OSError, ZoneError):
        return
    if owner == os.geteuid():
        return
    whose = "the daemon runs as" if pid is not None else "the folders belong to"
    told = f"{whose} {_name(owner)}, and this is {_name(os.geteuid())}"
    yield warning(
        f"zone {zone.name}, user",
        f"{told}: what holds for one user need not hold for the other",
        f"sudo -u '#{owner}' dropzone doctor",
    )


def _place(zone: Zone) -> Iterator[Diagnosis]:
    kind = _file_system(zone.path)
    checked = f"zone {zone.name}, place"
    if lost := _LOST.get(kind):
        shown = display(bytes(zone.path))
        yield warning(
            checked,
            f"{shown} {lost}",
            "Set zones.path to a folder on a disk, or mount a volume there: "
            f"docker run -v dropzone:{shown}",
        )
    elif kind:
        yield ok(checked, f"on {kind}")


def _file_system(path: Path) -> str:
    """Return the type of the file system that ``path`` is on, or will be."""
    path = path.resolve()
    best, kind = -1, ""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        place = Path(_unescaped(before.split()[4]))
        depth = len(place.parts)
        # Later mounts cover earlier ones.
        if depth >= best and (place == path or place in path.parents):
            best, kind = depth, after.split()[0]
    return kind


def _unescaped(name: str) -> str:
    return name.encode().decode("unicode_escape") if "\\" in name else name


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
