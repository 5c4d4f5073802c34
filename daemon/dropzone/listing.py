"""What lies in ``input/``: a walk that follows no link and tells what it cannot see."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dropzone import fsops
from dropzone.readiness import Signature

DEPTH_MAX = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that is not a directory in ``input/``; ``path`` is relative to it."""

    path: bytes
    mode: int
    links: int
    signature: Signature


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder or file in ``input/`` that cannot be looked at, and why."""

    path: bytes
    reason: str


def walk(
    root: int, ignores: Callable[[bytes], bool], start: bytes = b""
) -> Iterator[Entry | Unreadable]:
    """Yield what lies below the directory ``root`` (below its folder ``start``).

    Names for which ``ignores`` is true are skipped, folders with all they hold.
    """
    stack = [start]
    while stack:
        folder = stack.pop()
        try:
            with fsops.opened(fsops.open_directory(root, folder)) as fd:
                yield from _list(fd, folder, ignores, stack)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Unreadable(folder, error.strerror or str(error))


def look(root: int, path: bytes) -> Entry | None:
    """Return one entry below ``root``, or None if it is gone or a directory."""
    parent, name = os.path.split(path)
    try:
        with fsops.opened(fsops.open_directory(root, parent)) as fd:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None
    return None if stat.S_ISDIR(status.st_mode) else _entry(path, status)


def parted(directory: int) -> tuple[list[bytes], list[bytes]]:
    """Return the names of the folders in ``directory``, and all others, sorted."""
    folders: list[bytes] = []
    others: list[bytes] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            folder = entry.is_dir(follow_symlinks=False)
            (folders if folder else others).append(os.fsencode(entry.name))
    return sorted(folders), sorted(others)


def _list(
    fd: int, folder: bytes, ignores: Callable[[bytes], bool], stack: list[bytes]
) -> Iterator[Entry | Unreadable]:
    with os.scandir(fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if ignores(name):
                continue
            path = folder + b"/" + name if folder else name
            try:
                if not entry.is_dir(follow_symlinks=False):
                    yield _entry(path, entry.stat(follow_symlinks=False))
                elif path.count(b"/") < DEPTH_MAX:
                    stack.append(path)
                else:
                    yield Unreadable(path, f"lies deeper than {DEPTH_MAX} folders")
            except FileNotFoundError:
                continue
            except OSError as error:
                # A folder may be listed without the right to look at what it holds.
                yield Unreadable(path, error.strerror or str(error))


def _entry(path: bytes, status: os.stat_result) -> Entry:
    return Entry(path, status.st_mode, status.st_nlink, fsops.signature_of(status))
