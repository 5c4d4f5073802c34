"""Small files of ours beside payload, such as ``NAME.error.json``.

The only files that are ever replaced or deleted outside ``state/``; each names its
owner, a job, and one that does not is payload with an unlucky name: left alone.
"""

import contextlib
import os

from dropzone import fsops

_READ_MAX = 1 << 20
_BLOCK = 1 << 14
# Enough for a commit of the journal and some receipts.
_PROBE_BYTES = 1 << 16


def write(directory: int, name: bytes, content: bytes, owner: str) -> bool:
    """Write a file, whole or not at all, durably; False if the name is not ours."""
    ours = _is_ours(directory, name, owner)
    if ours is False:
        return False
    temporary = b".new-" + name[-200:]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o640, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    if ours:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        try:
            fsops.rename_new(directory, temporary, directory, name)
        except FileExistsError:
            os.unlink(temporary, dir_fd=directory)
            return False
    os.fsync(directory)
    return True


def remove(directory: int, name: bytes, owner: str) -> None:
    """Remove a file that ``write`` made for this owner, if it is there."""
    if _is_ours(directory, name, owner):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def replace(directory: int, name: str, content: bytes) -> None:
    """Replace a file of our own; readers see the old one or the new one.

    Two files take turns under the name and keep their blocks, so that this works on a
    full disk too. Blanks fill the last block.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    aside = f"{name}.new"
    padded = content + b" " * (-len(content) % _BLOCK)
    with fsops.opened(os.open(aside, flags, 0o644, dir_fd=directory)) as fd:
        if os.pwrite(fd, padded, 0) < len(padded):
            return
        os.ftruncate(fd, len(padded))
    if not fsops.exchange(directory, aside, name):
        # The first time: the second of the two is made while there is room.
        replace(directory, name, content)


def try_to_write(directory: int) -> None:
    """Write a small file durably, and remove it; raises what the disk says."""
    name = f".write-probe-{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        with fsops.opened(fd):
            os.write(fd, bytes(_PROBE_BYTES))
            os.fsync(fd)
    finally:
        os.unlink(name, dir_fd=directory)


def _is_ours(directory: int, name: bytes, owner: str) -> bool | None:
    """Return whether what has this name is the owner's; None if nothing has it."""
    try:
        file = fsops.open_plain(directory, name)
    except FileNotFoundError:
        return None
    except OSError:
        return False
    with fsops.opened(file):
        return owner.encode() in os.read(file, _READ_MAX)
