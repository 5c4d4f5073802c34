"""Lets files and file systems misbehave, from outside the product; on PYTHONPATH.

A file that holds ``POISON daemon`` kills the daemon that hands it to a parser; one with
``POISON segv`` or ``POISON hang`` acts inside the parser that reads it. With
``POISON_NO_LEASES`` in the environment the file system grants no leases.
"""

import ctypes
import errno
import fcntl
import os
import signal
import socket

_send_fds, _pread, _fcntl = socket.send_fds, os.pread, fcntl.fcntl
_BYTES = 64


def send_fds(sock, buffers, fds, *more):
    if _pread(fds[0], _BYTES, 0).startswith(b"POISON daemon"):
        os.kill(os.getpid(), signal.SIGKILL)
    return _send_fds(sock, buffers, fds, *more)


def pread(fd, count, at):
    data = _pread(fd, count, at)
    if data.startswith(b"POISON segv"):
        ctypes.string_at(0)
    while data.startswith(b"POISON hang"):
        pass
    return data


def no_lease(fd, command, *more):
    if command == fcntl.F_SETLEASE:
        raise OSError(errno.EINVAL, "no leases here")
    return _fcntl(fd, command, *more)


if "POISON_NO_LEASES" in os.environ:
    fcntl.fcntl = no_lease
socket.send_fds, os.pread = send_fds, pread
