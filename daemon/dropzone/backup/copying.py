"""Copies files of a running installation into the vault, unchanged ones not again."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path

from dropzone import fsops, given, listing
from dropzone.backup import manifest
from dropzone.backup.manifest import Entry
from dropzone.backup.vault import Damaged, Vault, explained
from dropzone.readiness import Lease

_FILE_MODE = 0o640


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that was copied, and which one it was, to know it at another place."""

    entry: Entry
    device: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder that was not copied, and why."""

    path: bytes
    reason: str


class Copier:
    """Knows what the last backup held: what looks the same is not read again."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: dict[tuple[int, ...], str] = {}
        self.read_bytes = 0
        for name in vault.names()[-1:]:
            path = vault.path_of(name)
            try:
                manifest.read_header(path)
            except Damaged:
                # Then everything is read again.
                continue
            for entry in manifest.entries(path):
                if entry.inode:
                    times = (entry.mtime_ns, entry.ctime_ns)
                    self._known[entry.inode, entry.size, *times] = entry.sha256

    def tree(
        self, root: Path, below: bytes, *, quiet: bool = False
    ) -> Iterator[Copied | LeftOut]:
        """Copy the plain files of a folder; ``below`` is their place in the backup.

        What vanishes meanwhile is no matter. With ``quiet``, what somebody writes to is
        left out.
        """
        try:
            top = os.open(root, fsops.DIRECTORY)
        except FileNotFoundError:
            return
        with fsops.opened(top), explained(root):
            for found in listing.walk(top, lambda _name: False):
                if isinstance(found, listing.Unreadable):
                    yield LeftOut(found.path, found.reason)
                    continue
                copied = self._one(top, found.path, quiet=quiet)
                if isinstance(copied, Copied):
                    path = os.path.join(below, found.path)
                    yield replace(copied, entry=replace(copied.entry, path=path))
                elif copied is not None:
                    yield copied

    def file(self, path: Path, place: bytes, most: int | None = None) -> Entry | None:
        """Copy one file, its first ``most`` bytes; None if it is not there."""
        try:
            with path.open("rb") as file:
                sha256, size = self._vault.put(file, most)
        except FileNotFoundError:
            return None
        return Entry(place, sha256, size, _FILE_MODE, path.stat().st_mtime_ns)

    def at(self, root: Path, path: bytes) -> Copied | None:
        """Copy one file below ``root``; None if it is not there any more."""
        try:
            top = os.open(root, fsops.DIRECTORY)
        except FileNotFoundError:
            return None
        with fsops.opened(top), explained(root):
            copied = self._one(top, path, quiet=False)
        return copied if isinstance(copied, Copied) else None

    def _one(self, top: int, path: bytes, *, quiet: bool) -> Copied | LeftOut | None:
        parent, name = os.path.split(path)
        try:
            with fsops.opened(fsops.open_directory(top, parent)) as folder:
                fd = fsops.open_plain(folder, name)
        except OSError as error:
            if isinstance(error, PermissionError):
                return LeftOut(path, "may not be read")
            # Gone, or no plain file: no content of ours.
            return None
        with os.fdopen(fd, "rb", buffering=0) as file:
            before = os.fstat(fd)
            if quiet and fsops.lease(fd) is Lease.BUSY:
                return LeftOut(path, "is being written")
            sha256, size = self._content(file, before)
            said = given.raw(fd) or b""
            after = os.fstat(fd)
            if quiet and fsops.signature_of(before) != fsops.signature_of(after):
                return LeftOut(path, "is being written")
        entry = Entry(
            path,
            sha256,
            size,
            stat.S_IMODE(before.st_mode),
            before.st_mtime_ns,
            before.st_ino,
            before.st_ctime_ns,
            os.fsdecode(said),
        )
        return Copied(entry, before.st_dev)

    def _content(self, file: FileIO, status: os.stat_result) -> tuple[str, int]:
        times = (status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get((status.st_ino, status.st_size, *times))
        if known is not None and self._vault.has(known, status.st_size):
            return known, status.st_size
        sha256, size = self._vault.put(file)
        self.read_bytes += size
        return sha256, size
