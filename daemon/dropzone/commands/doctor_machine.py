"""What ``dropzone doctor`` looks at on this machine: folders, disk, kernel limits."""

import contextlib
import errno
import os
import secrets
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from dropzone import fsops, inotify, status
from dropzone.commands.diagnosis import Diagnosis, ok, problem, warning
from dropzone.commands.output import size
from dropzone.errors import DropzoneError, ZoneError
from dropzone.journal import Journal
from dropzone.readiness import Lease
from dropzone.room import FREE_INODES
from dropzone.settings import Zone
from dropzone.text import display

_MEGABYTE = 1_000_000
_LITTLE_SPACE, _NO_SPACE = 1000 * _MEGABYTE, 16 * _MEGABYTE
_FEW_INODES = 10_000
_WATCH_SHARE = 0.9
_MORE_ROOM = "Free some space: every file is kept in processed/ and in S3."
_MOUNTED_WHOLE = "Mount the zone as a whole, not its sub-folders."


def zone(one: Zone, free_megabytes: float) -> Iterator[Diagnosis]:
    """Look at the folders of one zone; nothing of it is changed for good.

    With less than ``free_megabytes`` free on its disk the daemon takes no files.
    """
    root = one.path
    checked = f"zone {one.name}"
    try:
        pid = status.server_of(root)
    except ZoneError as error:
        yield problem(checked, error.message, error.hint)
        return
    if not (root / "input").is_dir() or not (root / "state").is_dir():
        yield _not_made(checked, root)
        return
    yield (
        ok(checked, f"served by process {pid}")
        if pid is not None
        else warning(checked, "no daemon serves it", "Start it: dropzone run")
    )
    yield from _journal(checked, root)
    yield from _folders(checked, root)
    yield from _space(checked, root, free_megabytes)


def _journal(checked: str, root: Path) -> Iterator[Diagnosis]:
    """Look whether this version can read the journal; nothing where it can."""
    path = root / "state" / "journal.sqlite"
    if not path.exists():
        return
    try:
        Journal(path, create=False).close()
    except DropzoneError as error:
        yield problem(f"{checked}, journal", error.message, error.hint)


def watches(zones: Sequence[Zone]) -> Iterator[Diagnosis]:
    """Compare the kernel's limits on file events with what the zones need."""
    folders = sum(_count_folders(one.path / "input") for one in zones if one.events)
    most = inotify.limit("max_user_watches")
    instances = inotify.limit("max_user_instances")
    if most is None or instances is None:
        yield warning(
            "file events",
            "this kernel has no inotify, so the folders are scanned instead",
            "New files are then found within zones.poll_seconds.",
        )
        return
    used_watches, used_instances = inotify.in_use()
    told = (
        f"{used_watches} of {most} watches and {used_instances} of {instances} "
        f"instances of this user are in use, {most - used_watches} and "
        f"{instances - used_instances} are left; the zones have {folders} folders"
    )
    short = (
        used_watches + folders > most * _WATCH_SHARE
        or used_instances >= instances * _WATCH_SHARE
    )
    if short:
        yield warning(
            "file events",
            f"{told}. Without a free one, folders are scanned instead",
            f"As root: {inotify.raise_limit('max_user_watches')}; "
            f"{inotify.raise_limit('max_user_instances')}",
        )
    else:
        yield ok("file events", told)


def _not_made(checked: str, root: Path) -> Diagnosis:
    shown = _shown(root)
    above = next(folder for folder in root.parents if folder.is_dir())
    if os.access(above, os.W_OK | os.X_OK):
        return ok(checked, f"{shown} is not there yet; 'dropzone run' makes it")
    return problem(
        checked,
        f"{shown} is not there, and this user may not make it",
        _if_read_only(above)
        or f"As root: mkdir -p {_word(root)} && chown {os.geteuid()} {_word(root)}",
    )


def _folders(checked: str, root: Path) -> Iterator[Diagnosis]:
    """Rename a probe through the folders, as the daemon does with every file."""
    # Hidden, so a running daemon leaves it alone.
    name = f".doctor-{secrets.token_hex(6)}"
    here = root / "state" / name
    try:
        here.touch(mode=0o600)
    except OSError as error:
        yield _unwritable(checked, root / "state", error)
        return
    try:
        yield _lease(checked, here)
        for area in ("input", "processed", "failed", "state"):
            try:
                there = root / area / name
                here.rename(there)
            except OSError as error:
                yield _unrenamed(checked, here.parent, root / area, error)
                return
            here = there
        yield ok(f"{checked}, folders", "all on one mount, and files can be moved")
    finally:
        with contextlib.suppress(OSError):
            here.unlink()


def _unrenamed(checked: str, source: Path, target: Path, error: OSError) -> Diagnosis:
    if error.errno == errno.EXDEV:
        told = f"{_shown(source)} and {_shown(target)} are on different mounts"
        return problem(f"{checked}, folders", told, _MOUNTED_WHOLE)
    if error.errno == errno.ENOENT:
        return warning(
            f"{checked}, folders",
            f"{_shown(target)} is missing",
            "The daemon makes it when it starts.",
        )
    return _unwritable(checked, target, error)


def _unwritable(checked: str, folder: Path, error: OSError) -> Diagnosis:
    return problem(
        f"{checked}, folders",
        f"{_shown(folder)} cannot be written: {error.strerror}",
        _if_read_only(folder) or f"As root: chown -R {os.geteuid()} {_word(folder)}",
    )


def _if_read_only(folder: Path) -> str:
    """Return what helps where no owner may write; nothing elsewhere."""
    try:
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    except OSError:
        return ""
    place = f"$(stat -c %m {_word(folder)})"
    return f"As root: mount -o remount,rw {place}" if read_only else ""


def _shown(path: Path) -> str:
    return display(bytes(path))


def _word(path: Path) -> str:
    """Return the path as a command has it."""
    return shlex.quote(_shown(path))


def _lease(checked: str, probe: Path) -> Diagnosis:
    fd = os.open(probe, os.O_RDONLY | os.O_CLOEXEC)
    with fsops.opened(fd):
        supported = fsops.lease(fd) is not Lease.UNSUPPORTED
    if supported:
        return ok(f"{checked}, leases", "open writers are seen at once")
    return warning(
        f"{checked}, leases",
        "this file system does not tell who writes to a file, so a file must lie "
        "still for zones.quiet_seconds_without_lease",
        "Rename files into input/ when they are complete, or use a local disk.",
    )


def _space(checked: str, root: Path, free_megabytes: float) -> Iterator[Diagnosis]:
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    told = f"{size(free)} are free"
    # Some file systems have no fixed number of files, and say 0.
    fit = disk.f_favail if disk.f_files else _FEW_INODES
    if disk.f_files:
        told += f", and {fit} more files fit"
    waits = free < free_megabytes * _MEGABYTE or fit < FREE_INODES
    if waits:
        told += "; the daemon takes no file until there is more"
    if waits or free < _NO_SPACE:
        yield problem(f"{checked}, disk", told, _MORE_ROOM)
    elif free < _LITTLE_SPACE or fit < _FEW_INODES:
        yield warning(f"{checked}, disk", told, _MORE_ROOM)
    else:
        yield ok(f"{checked}, disk", told)


def _count_folders(top: Path) -> int:
    return sum(1 for _ in os.walk(os.fsencode(top)))
