"""The folder that holds backups: contents by their hash, shared by all of them.

    blobs/ab/abcd...            one content each, named by its SHA-256
    backups/NAME.jsonl          what one backup holds; without it there is no backup
    lock

A content is written aside and renamed; what lies in ``blobs`` is whole.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from dropzone import fsops
from dropzone.errors import DropzoneError, ServiceUnavailable, UsageError, ZoneHeld

_BLOCK = 1 << 20
_SUFFIX = ".jsonl"
_ASIDE = ".aside"


class Damaged(DropzoneError):
    """The backup is not what it was when it was written."""


class Vault:
    """Reads and writes one folder of backups."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._backups = root / "backups"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder if need be, and hold it for one process.

        Raises:
            ZoneHeld: another process writes to it.
            ServiceUnavailable: it cannot be written (``disk``).

        """
        with explained(self.root):
            self._blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._backups.mkdir(exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            lock = os.open(self.root / "lock", flags, 0o600)
        with fsops.opened(lock):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ZoneHeld(
                    f"Another process is writing a backup to {self.root}.",
                    hint="Wait until it is done.",
                ) from None
            with explained(self.root):
                for left in self._blobs.glob(f"*{_ASIDE}"):
                    left.unlink()
                yield

    def names(self) -> list[str]:
        """Return the backups that are whole, the oldest first."""
        found = (path.name for path in self._backups.glob(f"*{_SUFFIX}"))
        return sorted(name.removesuffix(_SUFFIX) for name in found)

    def path_of(self, name: str) -> Path:
        return self._backups / f"{name}{_SUFFIX}"

    def blob(self, sha256: str) -> Path:
        return self._blobs / sha256[:2] / sha256

    def aside(self) -> Path:
        """Return a new name on the same disk, for ``take``."""
        return self._blobs / f"{secrets.token_hex(8)}{_ASIDE}"

    def take(self, aside: Path) -> tuple[str, int]:
        """Make a content of a file that was written aside; return hash and size."""
        with aside.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
        self._place(aside, sha256)
        return sha256, size

    def put(self, file: BinaryIO | FileIO, most: int | None = None) -> tuple[str, int]:
        """Store what a file holds, up to ``most`` bytes; return hash and size."""
        aside = self.aside()
        digest, size = hashlib.sha256(), 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(aside, flags, 0o600), "wb", buffering=0) as out:
                while block := file.read(_left(most, size)):
                    digest.update(block)
                    size += len(block)
                    out.write(block)
            sha256 = digest.hexdigest()
            self._place(aside, sha256)
        finally:
            aside.unlink(missing_ok=True)
        return sha256, size

    def get(self, sha256: str, size: int, write: Callable[[bytes], object]) -> None:
        """Hand a content over block by block.

        Raises:
            Damaged: it is gone, or is not what was written.

        """
        digest, found = hashlib.sha256(), 0
        try:
            with self.blob(sha256).open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
                    found += len(block)
                    write(block)
        except FileNotFoundError:
            raise _damaged(self.blob(sha256), "is gone") from None
        if digest.hexdigest() != sha256 or found != size:
            raise _damaged(self.blob(sha256), "was changed")

    def check_size(self, sha256: str, size: int) -> None:
        """Check without reading that a content is there.

        Raises:
            Damaged: it is gone, or has another size.

        """
        try:
            found = self.blob(sha256).stat().st_size
        except FileNotFoundError:
            raise _damaged(self.blob(sha256), "is gone") from None
        if found != size:
            told = f"has {found} bytes instead of {size}"
            raise _damaged(self.blob(sha256), told)

    def has(self, sha256: str, size: int) -> bool:
        try:
            return self.blob(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def sync(self) -> None:
        """Make everything durable that was put in."""
        with fsops.opened(os.open(self.root, fsops.DIRECTORY)) as fd:
            fsops.sync_volume(fd)

    def prune(self, keep: int, named_by: Callable[[str], Iterator[str]]) -> list[str]:
        """Remove all but the youngest backups, and contents that none names.

        ``named_by`` yields the hashes that a backup names. Returns what was removed.
        """
        names = self.names()
        gone = names[: max(0, len(names) - keep)]
        wanted = {sha256 for name in names[len(gone) :] for sha256 in named_by(name)}
        for name in gone:
            self.path_of(name).unlink()
        if gone:
            for blob in self._blobs.glob("*/*"):
                if blob.name not in wanted:
                    blob.unlink()
        return gone

    def _place(self, aside: Path, sha256: str) -> None:
        blob = self.blob(sha256)
        if self.has(sha256, aside.stat().st_size):
            aside.unlink()
            return
        blob.parent.mkdir(exist_ok=True, mode=0o700)
        aside.rename(blob)


@contextmanager
def explained(where: Path) -> Iterator[None]:
    """Turn what the system says of a backup's disk into a sentence."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (PermissionError, NotADirectoryError)):
            raise UsageError(
                f"{error.filename or where} cannot be used: {error.strerror}.",
                hint="Name a folder that this user may read and write.",
            ) from error
        raise ServiceUnavailable(
            "disk",
            f"The backup cannot go on at {where}: {error.strerror}.",
            hint="Free some space there, or use another disk. What was copied stays, "
            "and the next try goes on with it; no backup was made yet.",
        ) from error


def _left(most: int | None, done: int) -> int:
    return _BLOCK if most is None else min(_BLOCK, most - done)


def _damaged(path: Path, what: str) -> Damaged:
    return Damaged(
        f"The backup is damaged: {path} {what}.",
        hint="Take another backup (--backup NAME), or another copy of this folder.",
    )
