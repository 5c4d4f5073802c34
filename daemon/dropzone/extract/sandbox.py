"""Confines this process for good: no files but the interpreter's own, no network.

Landlock and seccomp by their system calls, where the kernel has them; ``lock_down``
says how far it came, and nothing here fails for lack of support.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterator
from importlib.util import find_spec

_NO_NEW_PRIVILEGES = 38
_SECCOMP, _FILTER = 22, 2

# Landlock's system calls have the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIRECTORY = 1 << 2, 1 << 3
# How many file rights each version of Landlock knows; later versions add none.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_LATER_FILE_RIGHTS = 16
_TCP_SINCE, _SCOPES_SINCE = 4, 6
_TCP_BIND_AND_CONNECT = 0b11
_SCOPE_SOCKETS_AND_SIGNALS = 0b11

_LIBRARIES = ("numpy", "pypdfium2", "pypdfium2_raw", "xberg", "dropzone")
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom",
)  # fmt: skip

# x86_64: networking (socketpair stays: event loops need it), exec, new processes,
# other processes' memory, signals to others, keys, mounts, and the riskier rest.
_DENIED = (
    41, 42, 43, 49, 50, 57, 58, 59, 62, 101, 129, 155, 161, 165, 166, 175, 176, 200,
    246, 248, 249, 250, 272, 288, 297, 298, 304, 308, 310, 311, 313, 320, 321, 322,
    323, 424, 425, 426, 427, 434, 438,
)  # fmt: skip
_CLONE, _CLONE3, _CLONE_THREAD = 56, 435, 0x10000
# tgkill, which abort() needs, and prlimit64: for this process alone.
_TGKILL, _PRLIMIT = 234, 302
_AUDIT_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38

_libc = ctypes.CDLL(None, use_errno=True)


def lock_down() -> str:
    """Confine this process and its threads to come; return the level reached.

    ``landlock+seccomp``, ``landlock``, ``seccomp`` or ``limits`` (only what the caller
    set by resource limits).
    """
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    reached = [
        name
        for name, apply in (("landlock", _landlock), ("seccomp", _seccomp))
        if apply()
    ]
    return "+".join(reached) or "limits"


def landlock_version() -> int:
    """Return the kernel's Landlock version, 0 where it has none. Changes nothing."""
    version: int = _libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return max(0, version)


def _landlock() -> bool:
    version = landlock_version()
    if not version:
        return False
    rights = (1 << _FILE_RIGHTS.get(version, _LATER_FILE_RIGHTS)) - 1
    attributes = struct.pack("=Q", rights)
    if version >= _TCP_SINCE:
        attributes += struct.pack("=Q", _TCP_BIND_AND_CONNECT)
    if version >= _SCOPES_SINCE:
        attributes += struct.pack("=Q", _SCOPE_SOCKETS_AND_SIGNALS)
    rules = _libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        for path in _readable():
            _allow_reading(rules, path)
        return bool(_libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _readable() -> Iterator[str]:
    """Yield what imports still need: parsers are imported when they are used."""
    yield from (sys.prefix, sys.base_prefix, *_SYSTEM)
    for name in _LIBRARIES:
        spec = find_spec(name)
        if spec and spec.origin:
            folder = os.path.dirname(spec.origin)
            # A checkout lies among files that are none of the parser's business.
            yield folder if name == "dropzone" else os.path.dirname(folder)


def _allow_reading(rules: int, path: str) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights = _READ_FILE | (_READ_DIRECTORY if os.path.isdir(path) else 0)
        rule = struct.pack("=Qi", rights, beneath)
        _libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)


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


def _seccomp() -> bool:
    if platform.machine() != "x86_64" or sys.maxsize < 1 << 32:
        return False
    rows = [_Instruction(*row) for row in _filter()]
    array = (_Instruction * len(rows))(*rows)
    program = ctypes.byref(_Program(len(rows), array))
    return bool(_libc.prctl(_SECCOMP, _FILTER, program, 0, 0) == 0)


def _filter() -> Iterator[tuple[int, int, int, int]]:
    """Yield the filter: known calls are refused, threads pass, processes do not."""
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    number, architecture, first_argument = 0, 4, 16
    yield load, 0, 0, architecture
    yield equal, 1, 0, _AUDIT_X86_64
    yield give, 0, 0, _KILL
    yield load, 0, 0, number
    yield at_least, 0, 1, _X32_BIT
    yield give, 0, 0, _KILL
    for call in _DENIED:
        yield equal, 0, 1, call
        yield give, 0, 0, _ERRNO | _EPERM
    # "Not there" makes the C library use clone, whose flags can be looked at.
    yield equal, 0, 1, _CLONE3
    yield give, 0, 0, _ERRNO | _ENOSYS
    yield equal, 0, 3, _CLONE
    yield load, 0, 0, first_argument
    yield any_bit, 1, 0, _CLONE_THREAD
    yield give, 0, 0, _ERRNO | _EPERM
    for call, own in ((_TGKILL, os.getpid()), (_PRLIMIT, 0)):
        yield equal, 0, 4, call
        yield load, 0, 0, first_argument
        yield equal, 1, 0, own
        yield give, 0, 0, _ERRNO | _EPERM
        yield give, 0, 0, _ALLOW
    yield give, 0, 0, _ALLOW
