"""Makes a zone's folders, holds its lock, and proves that its renames work."""

import errno
import fcntl
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from dropzone import disk, fsops, zone_rights
from dropzone.errors import ZoneError, ZoneHeld

_PROBE = ".rename-probe"
AREAS = ("input", "processed", "failed", "collections", "state")


def open_zone(root: Path) -> tuple[dict[str, int], int]:
    """Return the descriptors of the zone's folders, and of its held lock.

    Raises:
        ZoneError: another daemon holds the zone, or its folders are not on one mount,
            or may not be used; of the last, nothing was made.
        ServiceUnavailable: the disk is full or failing (``disk``).

    """
    zone_rights.check(root)
    fds: dict[str, int] = {}
    lock = -1
    if restoring(root).exists():
        raise ZoneError(
            f"{root} was only half restored from a backup.",
            hint="Empty the folder and its services, and run dropzone restore again.",
        )
    try:
        _make(root, fds)
        lock = _hold(root, fds["state"])
        _probe(root, fds)
    except (OSError, ZoneError) as error:
        for fd in (*fds.values(), *([lock] if lock >= 0 else [])):
            os.close(fd)
        if isinstance(error, ZoneError):
            raise
        if error.errno in disk.ERRORS:
            raise disk.fault(error) from error
        raise ZoneError(
            f"The zone {root} cannot be used: {error}.",
            hint="The daemon's user must own the zone's folders.",
        ) from error
    return fds, lock


def reopen(root: Path, fds: dict[str, int]) -> list[str]:
    """Open the folders again that somebody replaced by new ones; return their names.

    Raises:
        OSError: one is missing, or was replaced by one on another mount.
        ZoneError: ``state`` was replaced.

    """
    replaced = [name for name in AREAS if _is_another(root / name, fds[name])]
    if "state" in replaced:
        raise ZoneError(
            f"{root / 'state'} was replaced while the daemon runs.",
            hint="Start the daemon again; it recovers what the new folder holds.",
        )
    for name in replaced:
        with fsops.opened(os.open(root / name, fsops.DIRECTORY)) as fd:
            _try_renames(fds["state"], fd)
            # In one step: other threads use the number meanwhile.
            os.dup2(fd, fds[name], inheritable=False)
    return replaced


def missing(root: Path, fds: Mapping[str, int]) -> str:
    """Return what is wrong when ``root`` leads to another zone than was opened."""
    path = root / "state"
    try:
        if _is_another(path, fds["state"]):
            return f"{path} is another folder than the daemon opened."
    except OSError as error:
        return f"{path} is gone: {error.strerror}."
    return ""


def is_current(path: Path, fd: int) -> bool:
    """Return whether ``path`` leads to the folder that is open as ``fd``."""
    try:
        return not _is_another(path, fd)
    except OSError:
        return False


def _is_another(path: Path, fd: int) -> bool:
    there, held = os.stat(path, follow_symlinks=False), os.fstat(fd)
    return (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino)


def _try_renames(one: int, other: int) -> None:
    probe = os.open(_PROBE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=one)
    os.close(probe)
    os.rename(_PROBE, _PROBE, src_dir_fd=one, dst_dir_fd=other)
    os.unlink(_PROBE, dir_fd=other)


def restoring(root: Path) -> Path:
    """Return the file that is there while a backup is being restored into the zone."""
    return root / "state" / "restoring"


def holder_of(root: Path) -> int | None:
    """Return the process that serves the zone now, or None."""
    try:
        fd = os.open(root / "state" / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with fsops.opened(fd):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid_in(fd)
    return None


def _make(root: Path, fds: dict[str, int]) -> None:
    for name in AREAS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("work", "incoming"):
        (root / "state" / name).mkdir(exist_ok=True, mode=0o700)
    paths = {name: root / name for name in AREAS}
    paths["work"] = root / "state" / "work"
    paths["incoming"] = root / "state" / "incoming"
    for name, path in paths.items():
        fds[name] = os.open(path, fsops.DIRECTORY)
    os.fsync(fds["state"])
    with fsops.opened(os.open(root, fsops.DIRECTORY)) as parent:
        os.fsync(parent)


def _hold(root: Path, state: int) -> int:
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=state)
    if not _lock(lock):
        holder = _pid_in(lock)
        os.close(lock)
        raise ZoneHeld(
            f"Another daemon (process {holder or 'unknown'}) serves {root}.",
            hint="Stop it first, or give this one another zone. With "
            "zones.when_held: wait it would take over when that one ends.",
        )
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        os.close(lock)
        raise
    return lock


def _lock(fd: int) -> bool:
    # `dropzone status` holds the lock, shared, for the moment it looks: try again.
    pause = threading.Event()
    for _ in range(10):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(0.05)
        else:
            return True
    return False


def _pid_in(lock: int) -> int | None:
    text = os.pread(lock, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _probe(root: Path, fds: dict[str, int]) -> None:
    # Equal device numbers prove nothing: a rename between two bind mounts of one file
    # system fails all the same.
    name = _PROBE
    here = area = "state"
    probe = os.open(
        name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=fds[here]
    )
    os.close(probe)
    try:
        for area in ("input", "work", "processed", "failed", "state"):
            os.rename(name, name, src_dir_fd=fds[here], dst_dir_fd=fds[area])
            here = area
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise ZoneError(
            f"{root / here} and {root / area} are on different mounts, so files "
            "cannot be renamed between them.",
            hint=f"Mount {root} as a whole, not its sub-folders.",
        ) from error
    finally:
        os.unlink(name, dir_fd=fds[here])
