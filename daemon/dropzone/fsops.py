"""File system calls that Python does not offer, or not safely enough.

Everything works on directory descriptors and single name components, so that a path
that is swapped for a link between check and use leads nowhere.
"""

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from dropzone.readiness import Lease, Signature

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_LONGEST = (1 << 63) - 1
# More than struct statfs has anywhere; its first field tells the kind.
_STATFS_LONGS = 32
# From statfs(2). FUSE may be anything, a network share included.
_REMOTE = {
    0x6969: "nfs", 0x517B: "smb", 0xFE534D42: "smb", 0xFF534D42: "cifs",
    0x01021997: "9p", 0x65735546: "fuse", 0x00C36400: "ceph", 0x5346414F: "afs",
    0x0BD00BD0: "lustre", 0x01161970: "gfs2", 0x7461636F: "ocfs2",
    0x47504653: "gpfs", 0x786F4256: "vboxsf", 0xBACBACBC: "vmhgfs",
}  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)

#: From this many files on, one sync of the volume is cheaper than one for each file.
SYNC_TOGETHER = 8
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def signature_of(status: os.stat_result) -> Signature:
    """Return what of a file's status shows a change, as databases can hold it."""
    return Signature(
        _signed(status.st_dev),
        _signed(status.st_ino),
        status.st_size,
        _bounded(status.st_mtime_ns),
        _bounded(status.st_ctime_ns),
    )


def _signed(number: int) -> int:
    # Some file systems use all 64 bits of an inode number.
    return number - (1 << 64) if number >> 63 else number


def _bounded(nanoseconds: int) -> int:
    # A time after the year 2262 does not fit; any program may set one.
    return max(-_LONGEST, min(nanoseconds, _LONGEST))


@contextmanager
def opened(fd: int) -> Iterator[int]:
    """Close the descriptor at the end of the block."""
    try:
        yield fd
    finally:
        os.close(fd)


def open_directory(parent: int, parts: bytes) -> int:
    """Open a relative directory, one component at a time, following no link."""
    fd = os.dup(parent)
    try:
        for name in parts.split(b"/") if parts else ():
            deeper = os.open(name, DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = deeper
    except OSError:
        os.close(fd)
        raise
    return fd


def make_directories(parent: int, parts: bytes, mode: int, *, sync: bool = True) -> int:
    """Make what is missing of a relative directory, and open it."""
    fd = os.dup(parent)
    try:
        for name in parts.split(b"/") if parts else ():
            try:
                os.mkdir(name, mode, dir_fd=fd)
                if sync:
                    os.fsync(fd)
            except FileExistsError:
                pass
            deeper = os.open(name, DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = deeper
    except OSError:
        os.close(fd)
        raise
    return fd


def open_plain(directory: int, name: bytes) -> int:
    """Open a plain file for reading; never hangs on a pipe, never follows a link.

    Raises:
        OSError: it is not a plain file (ELOOP for a link, EINVAL otherwise), or it
            may not be read.

    """
    path = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with opened(path):
        mode = os.fstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, "is a symbolic link")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is not a plain file")
        # The descriptor pins the inode that was checked; its name may be swapped.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{path}", flags)


def lease(fd: int) -> Lease:
    """Ask for a read lease and give it back: refused while any writer is there.

    A writer that comes in that moment makes the kernel send SIGIO; the daemon ignores
    that signal.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return Lease.BUSY
    except OSError:
        return Lease.UNSUPPORTED
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Lease.FREE


def remote_file_system(fd: int) -> str:
    """Return the name of the file system if it may be changed by other machines."""
    status = (ctypes.c_long * _STATFS_LONGS)()
    if _libc.fstatfs(fd, ctypes.byref(status)) != 0:
        return ""
    return _REMOTE.get(status[0] & 0xFFFFFFFF, "")


def rename_new(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Rename without ever replacing anything.

    Raises:
        FileExistsError: the target name is taken.

    """
    done = _libc.renameat2(source, name, target, new_name, _RENAME_NOREPLACE)
    if done == 0:
        return
    number = ctypes.get_errno()
    if number not in {errno.EINVAL, errno.ENOSYS}:
        raise OSError(number, os.strerror(number), os.fsdecode(new_name))
    # Some FUSE file systems know no RENAME_NOREPLACE. The target directories are
    # written by this process only, so looking first is enough there.
    try:
        os.stat(new_name, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    else:
        raise FileExistsError(errno.EEXIST, "is taken", os.fsdecode(new_name))


def exchange(directory: int, name: str, other: str) -> bool:
    """Let two files of a directory swap their names.

    False if there was no ``other``: then ``name`` has its name now.
    """
    one, two = os.fsencode(name), os.fsencode(other)
    if _libc.renameat2(directory, one, directory, two, _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number not in {errno.ENOENT, errno.EINVAL, errno.ENOSYS}:
        raise OSError(number, os.strerror(number), other)
    os.rename(name, other, src_dir_fd=directory, dst_dir_fd=directory)
    # Where names cannot be swapped, one file has to do.
    return number != errno.ENOENT


def sync_volume(fd: int) -> None:
    """Write everything of the file system that holds ``fd`` to the disk."""
    if _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make durable which names a directory holds."""
    with opened(os.open(path, DIRECTORY)) as fd:
        os.fsync(fd)
