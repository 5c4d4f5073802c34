"""Finds the files that ``dropzone add`` is to put in, and says what it leaves out."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dropzone.errors import UsageError
from dropzone.listing import DEPTH_MAX
from dropzone.put import Source
from dropzone.readiness import NameFilter
from dropzone.text import display


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in an added folder that is not put in; ``temporary`` by its name."""

    file: bytes
    reason: str
    temporary: bool = False


def collection(name: str, names: NameFilter) -> bytes:
    """Return the folder below ``input/`` that ``name`` stands for.

    Raises:
        UsageError: no collection can have this name.

    """
    folder = os.fsencode(name)
    hint = "A collection is one folder of input/, for example: papers."
    if not folder or b"/" in folder or folder in {b".", b".."}:
        raise UsageError(f"{display(name)!r} is no name for a collection.", hint=hint)
    if names.ignores(folder):
        raise UsageError(
            f"A collection may not be called {display(name)!r}: hidden and temporary "
            "names are left alone.",
            hint=hint,
        )
    return folder


def files(
    arguments: Iterable[Path], below: bytes, zone: Path, names: NameFilter
) -> tuple[list[Source], list[LeftOut]]:
    """Return what is to be put in ``below`` a folder of ``input/``, and what is not.

    A folder comes with its own name, as with ``cp -r``.

    Raises:
        UsageError: an argument names nothing that can be put in.

    """
    sources: list[Source] = []
    left: list[LeftOut] = []
    for argument in arguments:
        for found in _argument(os.fsencode(argument), below, zone, names):
            if isinstance(found, Source):
                sources.append(found)
            else:
                left.append(found)
    return sources, left


def _argument(
    argument: bytes, below: bytes, zone: Path, names: NameFilter
) -> Iterator[Source | LeftOut]:
    shown = display(argument)
    name = os.path.basename(os.path.abspath(argument))
    # A link that is named on purpose stands for the file it leads to.
    real = os.path.realpath(argument)
    try:
        status = os.stat(real)
    except OSError as error:
        raise UsageError(f"{shown} cannot be added: {error.strerror}.") from error
    if not name or names.ignores(name):
        raise UsageError(
            f"{shown} would be left alone: hidden and temporary names such as "
            f"{display(name)!r} are not taken.",
            hint="Rename it first, or rename a copy into input/.",
        )
    path = below + b"/" + name if below else name
    if stat.S_ISDIR(status.st_mode):
        _outside(real, os.fsencode(zone), shown)
        yield from _folder(real, path, names)
    elif stat.S_ISREG(status.st_mode):
        yield Source(real, path, status.st_size)
    else:
        raise UsageError(f"{shown} is neither a plain file nor a folder.")


def _outside(folder: bytes, zone: bytes, shown: str) -> None:
    zone = os.path.realpath(zone)
    if os.path.commonpath([folder, zone]) in {folder, zone}:
        raise UsageError(
            f"{shown} holds the zone {display(zone)}, or lies in it.",
            hint="Name the files to add instead.",
        )


def _folder(
    folder: bytes, path: bytes, names: NameFilter
) -> Iterator[Source | LeftOut]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield LeftOut(folder, error.strerror or "cannot be read")
        return
    for entry in entries:
        yield from _entry(entry, path + b"/" + entry.name, names)


def _entry(
    entry: "os.DirEntry[bytes]", path: bytes, names: NameFilter
) -> Iterator[Source | LeftOut]:
    if names.ignores(entry.name):
        yield LeftOut(entry.path, "has a hidden or temporary name", temporary=True)
    elif entry.is_dir(follow_symlinks=False):
        if path.count(b"/") < DEPTH_MAX:
            yield from _folder(entry.path, path, names)
        else:
            yield LeftOut(entry.path, f"lies deeper than {DEPTH_MAX} folders")
    elif entry.is_file(follow_symlinks=False):
        yield Source(entry.path, path, entry.stat(follow_symlinks=False).st_size)
    elif entry.is_symlink():
        yield LeftOut(entry.path, "is a symbolic link")
    else:
        yield LeftOut(entry.path, "is not a plain file")
