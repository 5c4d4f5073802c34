"""The bytes of one upload: how many count, and adding to them.

What was written counts as long as the machine runs, whoever dies. After a loss of
power only what was synced is believed: a mark beside the bytes says how much, and in
which run of the machine it was written.
"""

import fcntl
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path

from dropzone import fsops

DATA = b"data"
RECORD = b"record.json"
MARK = b"mark"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
# A longer unsynced rest would make the end of an upload slow, and lose more.
_SYNC_BYTES = 1 << 26
_MARK_BYTES = 128


class TooMuch(Exception):
    """More bytes came than the upload has."""


def boot() -> str:
    """Return what names this run of the machine; nothing where that is unknown."""
    return _boot_in(_BOOT)


@functools.lru_cache(maxsize=4)
def _boot_in(file: Path) -> str:
    # It stays the same for as long as we live, and is asked for each upload.
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return ""


def offset_of(folder: int) -> int:
    """Return how many bytes count of the upload whose folder is open.

    Raises:
        FileNotFoundError: its bytes are not there: it landed.

    """
    size = os.stat(DATA, dir_fd=folder, follow_symlinks=False).st_size
    run, synced = _marked(folder)
    return size if run and run == boot() else min(size, synced)


def mark(folder: int, run: str, synced: int, *, durable: bool = False) -> None:
    """Write down how much is synced.

    A mark that is lost believes less than is there, so few must be ``durable``.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    line = f"{run or '-'} {synced}\n".ljust(_MARK_BYTES).encode("ascii")
    with fsops.opened(os.open(MARK, flags, 0o600, dir_fd=folder)) as fd:
        os.pwrite(fd, line, 0)
        if durable:
            os.fdatasync(fd)


def _marked(folder: int) -> tuple[str, int]:
    try:
        fd = os.open(MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return "", 0
    with fsops.opened(fd):
        words = os.pread(fd, _MARK_BYTES, 0).split()
    if len(words) != 2 or not words[1].isdigit():  # noqa: PLR2004 run and offset
        return "", 0
    return words[0].decode("ascii", "replace"), int(words[1])


class Writer:
    """Adds to an upload. One at a time has it; ``close`` it.

    The methods are called from any thread, one after the other; ``close`` waits.
    """

    def __init__(
        self, folder: int, length: int, *, room: Callable[[], None] = lambda: None
    ) -> None:
        """Take the open ``folder`` over; ``room`` raises while nothing may be added.

        Raises:
            BlockingIOError: somebody else adds to it, or removes it.
            FileNotFoundError: it landed, or is gone.

        """
        self.folder = folder
        self._length = length
        self._room = room
        self._lock = threading.Lock()
        self._data = -1
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.offset = offset_of(folder)
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            self._data = os.open(DATA, flags, dir_fd=folder)
            self._begin()
        except OSError:
            self.close()
            raise

    def _begin(self) -> None:
        self._run = boot()
        self._verifies = False
        self._first = self._synced = self.offset
        if os.fstat(self._data).st_size > self.offset:
            os.ftruncate(self._data, self.offset)
            mark(self.folder, self._run, self.offset)
        elif _marked(self.folder)[0] != self._run:
            mark(self.folder, self._run, self.offset)

    @property
    def complete(self) -> bool:
        return self.offset == self._length

    def verify_first(self) -> None:
        """Let nothing that comes count before ``sync``, whoever dies meanwhile."""
        self._verifies = True
        mark(self.folder, "", self.offset)

    def write(self, block: bytes | bytearray) -> None:
        """Add bytes.

        Raises:
            TooMuch: the upload is not that long; nothing was added.
            OSError: the disk does not take it; what it took counts.

        """
        with self._lock:
            if self._data < 0:
                raise BlockingIOError("is closed")
            if self.offset + len(block) > self._length:
                raise TooMuch
            self._room()
            left = memoryview(block)
            while left:
                done = os.pwrite(self._data, left, self.offset)
                self.offset += done
                left = left[done:]
            if not self._verifies and self.offset - self._synced >= _SYNC_BYTES:
                self._sync()

    def sync(self) -> None:
        """Make durable what was added, and let it count.

        Raises:
            OSError: the disk does not take it.

        """
        with self._lock:
            if self._data >= 0 and (self._verifies or self.offset > self._synced):
                self._sync()

    def _sync(self) -> None:
        if self._synced == 0:
            self._sync_record()
        os.fdatasync(self._data)
        mark(self.folder, self._run, self.offset, durable=True)
        self._synced = self.offset
        self._verifies = False

    def _sync_record(self) -> None:
        """Make durable that there is this upload, now that there is something of it."""
        for name in (RECORD, b".", b".."):
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder)
            with fsops.opened(fd):
                os.fsync(fd)

    def take_back(self) -> None:
        """Forget what was added since the beginning."""
        with self._lock:
            if self._data < 0:
                return
            os.ftruncate(self._data, self._first)
            self.offset = self._synced = self._first
            mark(self.folder, self._run, self.offset)
            self._verifies = False

    def finish(self, mtime_ns: int | None) -> None:
        """Make the whole file durable, and let go of it; the folder stays ours."""
        with self._lock:
            if mtime_ns is not None:
                os.utime(self._data, ns=(mtime_ns, mtime_ns))
            os.fsync(self._data)
            os.close(self._data)
            self._data = -1

    def close(self) -> None:
        with self._lock:
            if self._data >= 0:
                os.close(self._data)
                self._data = -1
            if self.folder >= 0:
                os.close(self.folder)
                self.folder = -1
