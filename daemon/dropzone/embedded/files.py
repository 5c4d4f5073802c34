"""The files of a data directory: the lock, private values, logs of bounded size."""

import fcntl
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from dropzone.errors import ZoneError
from dropzone.text import clean

LOG_BYTES = 4 << 20

# Descriptors that mean "this process lives". A fork without exec would keep them open
# after our death, so the child closes them.
_vital: set[int] = set()


def hold(descriptor: int) -> int:
    _vital.add(descriptor)
    return descriptor


def let_go(descriptor: int) -> None:
    _vital.discard(descriptor)
    os.close(descriptor)


def _close_in_child() -> None:
    while _vital:
        os.close(_vital.pop())


os.register_at_fork(after_in_child=_close_in_child)


class Lock:
    """An flock: the kernel frees it with the process, whatever ended that."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def take(self) -> bool:
        if self.held:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = hold(descriptor)
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            let_go(descriptor)


def is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise not_ours(path) from error
    try:
        # Shared, so that two who only ask do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def not_ours(path: Path) -> ZoneError:
    return ZoneError(
        f"{path} belongs to another user.",
        hint="Run the command as the user who runs the daemon, or name another "
        "embedded.directory.",
    )


def make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ZoneError(
            f"The data directory {path} cannot be made: {error.strerror}.",
            hint="Name another place with embedded.directory.",
        ) from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise not_ours(path)


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` so that a crash leaves the old content or the new one."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in ``path``; None where there is none or it is damaged."""
    try:
        tree = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except PermissionError as error:
        raise not_ours(path) from error
    return tree if isinstance(tree, dict) else None


def open_log(path: Path) -> BinaryIO:
    """Open for appending; over the limit, the old log moves to ``NAME.1`` first."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return open(descriptor, "ab", buffering=0)


def trim_log(path: Path) -> None:
    """Copy a log that grew too large to ``NAME.1`` and empty it, while it is written.

    The server has it open for appending, so its next line begins the emptied file. A
    line that comes between the copy and the cut is lost.
    """
    aside = path.with_name(f"{path.name}.1")
    unfinished = path.with_name(f"{path.name}.1.new")
    try:
        if path.stat().st_size <= LOG_BYTES:
            return
        shutil.copyfile(path, unfinished)
        unfinished.chmod(0o600)
        unfinished.replace(aside)
    except FileNotFoundError:
        return
    except OSError:
        # No room for a copy: then the room is worth more than the lines.
        unfinished.unlink(missing_ok=True)
    os.truncate(path, 0)


def last_lines(path: Path, start: int = 0, lines: int = 8) -> str:
    """Return the end of a log, at most ``lines`` lines written after ``start``."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - 4096))
        text = clean(file.read().decode("utf-8", "replace"))
    return "\n".join(text.strip().splitlines()[-lines:])
