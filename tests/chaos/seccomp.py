"""The kernel's side of the supervisor: one filter that asks before each chosen call.

Linux 5.9 or newer on x86_64, as any user. The filter is inherited by every thread and
child, and survives exec.
"""

import ctypes
import errno
import fcntl
import os
import struct
from dataclasses import dataclass

_libc = ctypes.CDLL(None, use_errno=True)

_NO_NEW_PRIVILEGES, _DIE_WITH_PARENT = 38, 1
_SECCOMP, _PIDFD_GETFD = 317, 438
_SET_FILTER, _NEW_LISTENER = 1, 8
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_X86_64 = 0xC000003E
# Where the filter finds a call's number and its arguments (their lower half).
_NUMBER, _ARGUMENTS, _ARGUMENT_BYTES = 0, 16, 8
_CREATES = os.O_CREAT | os.O_TRUNC
_SIGKILL = 9


@dataclass(frozen=True)
class Kind:
    """A system call: its number, and which arguments say what it works on.

    ``paths`` are pairs of positions, (directory descriptor or None, path). Of a call
    with ``flags`` (their position) only one that makes or empties a file counts.
    """

    number: int
    paths: tuple[tuple[int | None, int], ...] = ()
    descriptor: int | None = None
    flags: int | None = None


#: What changes a disk or speaks to a server.
CHANGES = {
    "write": Kind(1, descriptor=0),
    "pwrite64": Kind(18, descriptor=0),
    "writev": Kind(20, descriptor=0),
    "pwritev": Kind(296, descriptor=0),
    "fsync": Kind(74, descriptor=0),
    "fdatasync": Kind(75, descriptor=0),
    "syncfs": Kind(306, descriptor=0),
    "sync_file_range": Kind(277, descriptor=0),
    "ftruncate": Kind(77, descriptor=0),
    "fallocate": Kind(285, descriptor=0),
    "copy_file_range": Kind(326, descriptor=2),
    "fchmod": Kind(91, descriptor=0),
    "truncate": Kind(76, ((None, 0),)),
    "open": Kind(2, ((None, 0),), flags=1),
    "openat": Kind(257, ((0, 1),), flags=2),
    "rename": Kind(82, ((None, 0), (None, 1))),
    "renameat": Kind(264, ((0, 1), (2, 3))),
    "renameat2": Kind(316, ((0, 1), (2, 3))),
    "unlink": Kind(87, ((None, 0),)),
    "unlinkat": Kind(263, ((0, 1),)),
    "mkdir": Kind(83, ((None, 0),)),
    "mkdirat": Kind(258, ((0, 1),)),
    "rmdir": Kind(84, ((None, 0),)),
    "link": Kind(86, ((None, 0), (None, 1))),
    "linkat": Kind(265, ((0, 1), (2, 3))),
    "symlink": Kind(88, ((None, 1),)),
    "symlinkat": Kind(266, ((1, 2),)),
    "utimensat": Kind(280, ((0, 1),)),
    "connect": Kind(42, descriptor=0),
    "sendto": Kind(44, descriptor=0),
    "sendmsg": Kind(46, descriptor=0),
}
#: A stop before one of these falls between a request and the reading of its answer.
ANSWERS = {"recvfrom": Kind(45, descriptor=0)}

KINDS = {**CHANGES, **ANSWERS}
NAMES = {kind.number: name for name, kind in KINDS.items()}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("operand", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_ushort),
        ("instructions", ctypes.POINTER(_Instruction)),
    )


@dataclass(frozen=True)
class Notification:
    """A thread that is held before a call, until ``let_go``."""

    id: int
    thread: int
    name: str
    arguments: tuple[int, ...]


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends."""
    _libc.prctl(_DIE_WITH_PARENT, _SIGKILL, 0, 0, 0)


def install(names: list[str]) -> None:
    """Put this process and all it will start under the filter, for good."""
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    rows = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _X86_64), (_RETURN, 0, 0, _ALLOW)]
    rows.append((_LOAD, 0, 0, _NUMBER))
    for kind in (KINDS[name] for name in names):
        asked = _asked(kind)
        rows += [(_EQUAL, 0, len(asked), kind.number), *asked]
    rows.append((_RETURN, 0, 0, _ALLOW))
    array = (_Instruction * len(rows))(*(_Instruction(*row) for row in rows))
    program = ctypes.byref(_Program(len(rows), array))
    # The listener's descriptor stays open here until exec closes it.
    if _libc.syscall(_SECCOMP, _SET_FILTER, _NEW_LISTENER, program) < 0:
        raise OSError(ctypes.get_errno(), "the kernel refuses the filter")


def _asked(kind: Kind) -> list[tuple[int, int, int, int]]:
    """Return what the filter does with a call of this kind: ask, or look first.

    A program opens thousands of files to read them. To ask for each of those would
    take most of the time of a run.
    """
    if kind.flags is None:
        return [(_RETURN, 0, 0, _NOTIFY)]
    return [
        (_LOAD, 0, 0, _ARGUMENTS + kind.flags * _ARGUMENT_BYTES),
        (_ANY_BIT, 1, 0, _CREATES),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOTIFY),
    ]


def take_listener(pid: int) -> int:
    """Return a copy of the listener that the process ``pid`` holds, or -1: not yet."""
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{number}")
        except FileNotFoundError:
            continue
        if target == "anon_inode:seccomp notify":
            return take_descriptor(pid, int(number))
    return -1


def take_descriptor(pid: int, number: int) -> int:
    """Return a copy of another process's open descriptor.

    Raises:
        OSError: there is none, or the process is gone.

    """
    pidfd = os.pidfd_open(pid)
    try:
        taken: int = _libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
    finally:
        os.close(pidfd)
    if taken < 0:
        raise OSError(ctypes.get_errno(), "the descriptor cannot be taken")
    return taken


def receive(listener: int) -> Notification | None:
    """Return the next held thread; None if it died meanwhile."""
    buffer = bytearray(80)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EINTR}:
            return None
        raise
    ident, thread, _, number, _, _, *arguments = struct.unpack("=QIIiIQ6Q", buffer)
    return Notification(ident, thread, NAMES[number], tuple(arguments))


def let_go(listener: int, held: Notification) -> None:
    """Let the thread make its call."""
    answer = struct.pack("=QqiI", held.id, 0, 0, _CONTINUE)
    try:
        fcntl.ioctl(listener, _SEND, answer)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def memory(thread: int, address: int, length: int) -> bytes:
    """Return what another process holds at an address; nothing if it is gone."""
    try:
        with open(f"/proc/{thread}/mem", "rb", buffering=0) as file:
            file.seek(address)
            return file.read(length)
    except (OSError, ValueError, OverflowError):
        return b""
