"""The uploads of one zone on its disk: begun, found, landed in ``input/``, removed.

Nothing is kept in memory. Methods may be called from any thread and wait for the disk.
"""

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dropzone import fsops, given, places
from dropzone.put import drop_in
from dropzone.uploads.record import State, Upload, Wanted
from dropzone.uploads.writing import DATA, MARK, RECORD, Writer, boot, mark, offset_of

_ID = re.compile("[0-9a-f]{32}")
_RECORD_MOST = 1 << 20
# How many numbers a name may have got that was taken, when a crash hides which.
_NUMBERS = 50
# What a crash left of a beginning or an end, and of landed ones so many are kept.
_LITTER_SECONDS = 3600.0
_MOST_LANDED = 10_000


@dataclass(frozen=True, slots=True)
class Tidied:
    """What a pass did: uploads that ended unfinished, and that landed late."""

    expired: tuple[State, ...]
    landed: tuple[Upload, ...]


class Shelf:
    """The folder ``state/uploads`` of the zone at ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def begin(self, wanted: Wanted) -> Upload:
        """Begin an upload. It is durable when its first bytes are.

        Raises:
            ZoneError: something is given, and the file system cannot keep it.
            OSError: the disk does not take it.

        """
        upload_id = secrets.token_hex(16)
        name = upload_id.encode()
        with self._folder(b"open", make=True) as top:
            os.mkdir(name, 0o700, dir_fd=top)
            try:
                with fsops.opened(fsops.open_directory(top, name)) as folder:
                    upload = self._fill(folder, upload_id, wanted)
            except BaseException:
                self._remove(top, name)
                raise
        return upload

    def _fill(self, folder: int, upload_id: str, wanted: Wanted) -> Upload:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with fsops.opened(os.open(DATA, flags, 0o640, dir_fd=folder)) as data:
            if wanted.given:
                given.write(data, wanted.given)
            inode = fsops.signature_of(os.fstat(data)).inode
        mark(folder, boot(), 0)
        upload = Upload(upload_id, wanted, time.time(), inode)
        _write(folder, RECORD, upload.dump())
        return upload

    # Looking

    def find(self, upload_id: str) -> State | None:
        """Return an upload, unfinished or landed."""
        if not is_id(upload_id):
            return None
        with contextlib.suppress(FileNotFoundError), self._folder(b"open") as top:
            if (state := self._state(top, upload_id.encode())) is not None:
                return state
        with contextlib.suppress(FileNotFoundError), self._folder(b"landed") as landed:
            return self._landed_state(landed, f"{upload_id}.json".encode())
        return None

    def unfinished(self) -> list[State]:
        """Return all that have not landed."""
        with contextlib.suppress(FileNotFoundError), self._folder(b"open") as top:
            states = [self._state(top, name) for name in _names(top)]
            return [state for state in states if state is not None]
        return []

    def _state(self, top: int, name: bytes) -> State | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
            with fsops.opened(fsops.open_directory(top, name)) as folder:
                upload = Upload.load(_read(folder, RECORD))
                try:
                    offset = offset_of(folder)
                    written = os.stat(DATA, dir_fd=folder).st_mtime
                except FileNotFoundError:
                    # It is in input already, and that is about to be written down.
                    offset, written = upload.wanted.length, 0.0
            return State(upload, offset, max(upload.created_at, written))
        return None

    def _landed_state(self, landed: int, name: bytes) -> State | None:
        with contextlib.suppress(ValueError):
            upload = Upload.load(_read(landed, name))
            return State(upload, upload.wanted.length, upload.landed_at or 0.0)
        return None

    # Adding and ending

    def writer(
        self, upload: Upload, *, room: Callable[[], None] = lambda: None
    ) -> Writer:
        """Return what adds bytes to it.

        Raises:
            BlockingIOError: somebody else adds to it, or removes it.
            FileNotFoundError: it landed, or is gone.

        """
        with self._folder(b"open") as top:
            folder = fsops.open_directory(top, upload.id.encode())
        return Writer(folder, upload.wanted.length, room=room)

    def land(self, upload: Upload, writer: Writer) -> Upload:
        """Rename a complete file into ``input/``, durably; a taken name gets a number.

        Raises:
            OSError: it cannot be moved there; it stays, complete.

        """
        writer.finish(upload.wanted.mtime_ns)
        area = os.open(self._root / "input", fsops.DIRECTORY)
        with fsops.opened(area) as target:
            path = drop_in(writer.folder, DATA, target, upload.wanted.path)
        return self._note_landed(upload, path)

    def settle(self, upload: Upload) -> Upload | None:
        """Land a complete upload that a crash, or a full disk, left behind.

        None while somebody works on it, or if there is nothing left to do.

        Raises:
            OSError: it cannot be moved into ``input/``.

        """
        try:
            with contextlib.closing(self.writer(upload)) as writer:
                return self.land(upload, writer) if writer.complete else None
        except BlockingIOError:
            return None
        except FileNotFoundError:
            with self._held(upload.id) as folder:
                # Its record is gone when it was removed, or noted, since we looked.
                if folder is None or not _has(folder, RECORD):
                    return None
                return self._note_landed(upload, self._place_of(upload))

    def remove(self, upload: Upload) -> bool:
        """Remove an unfinished upload; False while somebody adds to it."""
        with self._held(upload.id) as folder, self._folder(b"open") as top:
            if folder is not None:
                self._remove(top, upload.id.encode())
            return folder is not None

    def tidy(self, lasting: float, now: float) -> Tidied:
        """Remove what ended by then (``State.ends_at``), land what is complete."""
        expired: list[State] = []
        landed: list[Upload] = []
        for state in self.unfinished():
            settled = None
            if state.complete:
                # Who uploaded it was told why it cannot land, if it cannot.
                with contextlib.suppress(OSError):
                    settled = self.settle(state.upload)
            if settled is not None:
                landed.append(settled)
            elif now > state.ends_at(lasting) and self.remove(state.upload):
                expired.append(state)
        self._sweep(lasting, now)
        return Tidied(tuple(expired), tuple(landed))

    def _sweep(self, lasting: float, now: float) -> None:
        """Remove what crashes left half-way, and records of what landed long ago."""
        with contextlib.suppress(FileNotFoundError), self._folder(b"open") as top:
            for changed, name in _by_age(top):
                if now - changed < _LITTER_SECONDS:
                    break
                if self._state(top, name) is None:
                    self._remove(top, name)
        with contextlib.suppress(FileNotFoundError), self._folder(b"landed") as landed:
            known = _by_age(landed)
            for number, (changed, name) in enumerate(known, _MOST_LANDED - len(known)):
                if number < 0 or now - changed > lasting:
                    os.unlink(name, dir_fd=landed)

    # Inside

    def _note_landed(self, upload: Upload, path: bytes | None) -> Upload:
        # Not durable: where the bytes are gone and no note is, it is made again.
        noted = replace(upload, landed=path, landed_at=time.time())
        with self._folder(b"landed", make=True) as landed:
            name = f"{upload.id}.json".encode()
            _write(landed, name, noted.dump())
        with self._folder(b"open") as top:
            self._remove(top, upload.id.encode())
        return noted

    def _place_of(self, upload: Upload) -> bytes | None:
        """Return where in ``input/`` the file lies, if it still does."""
        base = os.fsencode(self._root / "input")
        for path in names_of(upload.wanted.path):
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(base, path))
                if fsops.signature_of(status).inode == upload.inode:
                    return path
        return None

    @contextlib.contextmanager
    def _held(self, upload_id: str) -> Iterator[int | None]:
        """Lend the folder of an unfinished upload; None while another has it."""
        with contextlib.ExitStack() as stack:
            try:
                top = stack.enter_context(self._folder(b"open"))
                folder = fsops.open_directory(top, upload_id.encode())
                stack.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, FileNotFoundError):
                yield None
            else:
                yield folder

    def _remove(self, top: int, name: bytes) -> None:
        # The record first: without the bytes it would say that they landed.
        with contextlib.suppress(FileNotFoundError):
            with fsops.opened(fsops.open_directory(top, name)) as folder:
                for part in (RECORD, DATA, MARK):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(part, dir_fd=folder)
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=top)

    @contextlib.contextmanager
    def _folder(self, name: bytes, *, make: bool = False) -> Iterator[int]:
        path = b"uploads/" + name
        with fsops.opened(os.open(self._root / "state", fsops.DIRECTORY)) as state:
            if make:
                folder = fsops.make_directories(state, path, 0o700)
            else:
                folder = fsops.open_directory(state, path)
        with fsops.opened(folder):
            yield folder


def is_id(text: str) -> bool:
    """Return whether this could name an upload."""
    return _ID.fullmatch(text) is not None


def names_of(path: bytes) -> Iterator[bytes]:
    """Yield the names that a file may have got that was to be called ``path``."""
    yield path
    for number in range(2, _NUMBERS):
        yield places.with_mark(path, str(number))


def _names(folder: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(folder)]


def _by_age(folder: int) -> list[tuple[float, bytes]]:
    """Return when each entry changed, and its name, the oldest first."""
    found = []
    for name in _names(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append((os.stat(name, dir_fd=folder).st_mtime, name))
    return sorted(found)


def _has(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def _write(folder: int, name: bytes, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with fsops.opened(os.open(name, flags, 0o600, dir_fd=folder)) as fd:
        left = memoryview(content)
        while left:
            left = left[os.write(fd, left) :]


def _read(folder: int, name: bytes) -> bytes:
    with fsops.opened(fsops.open_plain(folder, name)) as fd:
        return os.read(fd, _RECORD_MOST)
