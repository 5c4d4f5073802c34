"""Lets test files act as poison, from outside the product; put on PYTHONPATH.

A file that holds ``POISON daemon`` kills the daemon that hands it to a parser; one with
``POISON segv`` or ``POISON hang`` acts inside the parser that reads it.
"""

import ctypes
import os
import signal
import socket

_send_fds, _pread = socket.send_fds, os.pread
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


socket.send_fds, os.pread = send_fds, pread
