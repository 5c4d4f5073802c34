"""What one backup holds: a header, a line for each file, and a hash over all of it."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from dropzone.backup.vault import Damaged
from dropzone.errors import ConfigurationError

#: Of this file and of the folder; a backup of a newer one is refused.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the backup: ``path`` in it as bytes, its content, mode and time."""

    path: bytes
    sha256: str
    size: int
    mode: int = 0o640
    mtime_ns: int = 0
    #: As it lay where it was copied from, to find it unchanged next time.
    inode: int = 0
    #: No program can set it: what was edited in secret shows.
    ctime_ns: int = 0
    #: What a person said of it (see dropzone.given), as text.
    given: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """What a restore must know. ``zones`` are names; ``schemas`` numbers by name.

    ``has`` names the services whose content is in it: postgres, s3, mlflow.
    """

    version: str
    made_at: str
    zones: tuple[str, ...]
    has: tuple[str, ...]
    schemas: dict[str, int]
    mlflow_directory: str
    format: int = FORMAT
    left_out: tuple[str, ...] = field(default=())


def write(path: Path, header: Header, entries: Iterable[Entry]) -> tuple[int, int]:
    """Write it aside, durably, and rename it; return how many files and bytes."""
    aside = path.with_name(f"{path.name}.new")
    digest, files, size = hashlib.sha256(), 0, 0
    with aside.open("wb") as out:

        def line(tree: dict[str, Any]) -> None:
            text = json.dumps(tree, ensure_ascii=True).encode() + b"\n"
            digest.update(text)
            out.write(text)

        line(asdict(header))
        for entry in entries:
            tree = asdict(entry) | {"path": quote(entry.path)}
            if not entry.given:
                del tree["given"]
            line(tree)
            files += 1
            size += entry.size
        end = {"files": files, "bytes": size, "sha256": digest.hexdigest()}
        out.write(json.dumps(end).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())
    aside.replace(path)
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return files, size


def read_header(path: Path) -> Header:
    """Check the whole file against its hash, and return the header.

    Raises:
        Damaged: it is not what was written.
        ConfigurationError: it is of a newer version.

    """
    digest, last = hashlib.sha256(), b""
    with path.open("rb") as lines:
        first = lines.readline()
        digest.update(first)
        for line in lines:
            digest.update(last)
            last = line
    try:
        header = json.loads(first)
        if header["format"] > FORMAT:
            raise _newer(path, f"format {header['format']}; this one knows {FORMAT}")
        if json.loads(last)["sha256"] != digest.hexdigest():
            raise _not_whole(path)
        return Header(**{**header, "zones": tuple(header["zones"])})
    except (ValueError, TypeError, KeyError) as error:
        raise _not_whole(path) from error


def entries(path: Path) -> Iterator[Entry]:
    """Yield the files of a backup whose header was read."""
    with path.open("rb") as lines:
        next(lines)
        for line in lines:
            tree = json.loads(line)
            if "path" in tree:
                yield Entry(**tree | {"path": unquote_to_bytes(tree["path"])})


def check_schemas(path: Path, header: Header, known: dict[str, int]) -> None:
    """Check that this version can read what the backup holds.

    Raises:
        ConfigurationError: it was made by a newer version.

    """
    for name, number in header.schemas.items():
        if number > known.get(name, number):
            told = f"{name} has schema {number}; this one knows {known[name]}"
            raise _newer(path, told)


def _newer(path: Path, told: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} was made by a newer dropzone ({told}).",
        hint="Install that version or a later one, and restore with it.",
    )


def _not_whole(path: Path) -> Damaged:
    return Damaged(
        f"The backup is damaged: {path} is not what was written.",
        hint="Take another backup (--backup NAME), or another copy of this folder.",
    )
