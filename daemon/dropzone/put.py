"""Puts files into ``input/`` from outside the daemon: written aside, renamed in.

A file appears in ``input/`` whole and under a name that was free, or not at all.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dropzone import fsops, given, places
from dropzone.errors import ZoneError
from dropzone.text import display

_BLOCK = 1 << 20
_ASIDE = "add-"
_MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class Source:
    """A file to put in: where it is, and its path below ``input/``."""

    file: bytes
    path: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A file that is in ``input/`` now; ``path`` may have got a number added."""

    source: Source
    path: bytes
    size: int
    device: int
    inode: int


class Putter:
    """Puts copies of files into one zone. Use it as a context manager."""

    def __init__(self, root: Path, metadata: Mapping[str, str] | None = None) -> None:
        """Make the folders that are missing; ``metadata`` goes with every file.

        Raises:
            ZoneError: this user may not write there.

        """
        self._metadata = metadata or {}
        self._stack = contextlib.ExitStack()
        try:
            (root / "input").mkdir(parents=True, exist_ok=True)
            incoming = root / "state" / "incoming"
            incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._input = self._open(root / "input")
            self._aside = self._make_aside(incoming)
        except OSError as error:
            self._stack.close()
            raise ZoneError(
                f"Nothing can be written to the zone {root}: {error.strerror}.",
                hint="Run this as the daemon's user, or copy the files into input/.",
            ) from error
        # What root puts in must be the daemon's to read and to move.
        above = os.fstat(self._input)
        self._owner = (above.st_uid, above.st_gid) if os.geteuid() == 0 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def put(self, source: Source, copied: Callable[[int], None]) -> Placed:
        """Copy one file in, durably; ``copied`` is told of every block's size.

        Raises:
            OSError: it cannot be read, or the zone's disk does not take it.
            ZoneError: the zone's file system takes no metadata.

        """
        with self._copy(source.file, copied) as (name, status):
            path = drop_in(
                self._aside, name, self._input, source.path, owner=self._owner
            )
        return Placed(source, path, status.st_size, status.st_dev, status.st_ino)

    @contextlib.contextmanager
    def _copy(
        self, file: bytes, copied: Callable[[int], None]
    ) -> Iterator[tuple[bytes, os.stat_result]]:
        """Lend a durable copy aside; what is left of it afterwards is removed."""
        name = secrets.token_hex(8).encode()
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.ExitStack() as stack:
            source = os.open(file, flags)
            stack.callback(os.close, source)
            was = os.fstat(source)
            if not stat.S_ISREG(was.st_mode):
                raise OSError(0, "is no plain file", file)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            target = os.open(name, flags, 0o640, dir_fd=self._aside)
            stack.callback(os.close, target)
            stack.callback(self._discard, name)
            while block := os.read(source, _BLOCK):
                _write(target, block)
                copied(len(block))
            if self._owner is not None:
                os.fchown(target, *self._owner)
            if self._metadata:
                given.write(target, self._metadata)
            os.utime(target, ns=(was.st_atime_ns, was.st_mtime_ns))
            os.fsync(target)
            yield name, os.fstat(target)

    def _discard(self, name: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._aside)

    def _open(self, path: Path) -> int:
        fd = os.open(path, fsops.DIRECTORY)
        self._stack.callback(os.close, fd)
        return fd

    def _make_aside(self, incoming: Path) -> int:
        """Make a folder for this command alone, held by a lock while it lives."""
        _remove_abandoned(incoming)
        folder = incoming / f"{_ASIDE}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        fd = self._open(folder)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd


def drop_in(
    source: int,
    name: bytes,
    target: int,
    path: bytes,
    *,
    owner: tuple[int, int] | None = None,
) -> bytes:
    """Rename ``name`` of one folder to ``path`` below another, durably.

    Returns the path it got: a name that is taken gets a number added. New folders
    belong to ``owner``.

    Raises:
        OSError: it cannot be moved there.

    """
    folder = os.path.dirname(path)
    with fsops.opened(_folders(target, folder, owner)) as parent:
        for number in range(1, _MOST_NAMES):
            free = places.with_mark(path, str(number)) if number > 1 else path
            try:
                fsops.rename_new(source, name, parent, os.path.basename(free))
            except FileExistsError:
                continue
            os.fsync(parent)
            return free
    raise FileExistsError(0, "every name is taken", display(path))


def _folders(top: int, folder: bytes, owner: tuple[int, int] | None) -> int:
    if owner is None:
        return fsops.make_directories(top, folder, 0o755)
    fd = os.dup(top)
    for part in folder.split(b"/") if folder else ():
        with fsops.opened(fd) as above:
            known = os.path.lexists(b"/proc/self/fd/%d/%b" % (above, part))
            fd = fsops.make_directories(above, part, 0o755)
            if not known:
                os.fchown(fd, *owner)
    return fd


def _write(fd: int, block: bytes) -> None:
    done = 0
    while done < len(block):
        done += os.write(fd, block[done:])


def _remove_abandoned(incoming: Path) -> None:
    """Remove the unfinished copies of commands that were killed."""
    for folder in incoming.glob(f"{_ASIDE}*"):
        try:
            fd = os.open(folder, fsops.DIRECTORY)
        except OSError:
            continue
        with fsops.opened(fd), contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
