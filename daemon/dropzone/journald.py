"""Sends log events to systemd's journal with their keys as fields, not as text.

The native protocol of systemd-journald, in the standard library. ``journalctl -o json``
shows the fields, ``journalctl DROPZONE_JOB=...`` finds by them.
"""

import contextlib
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any, TextIO

import structlog

SOCKET = "/run/systemd/journal/socket"
_PRIORITIES = {
    "critical": 2,
    "exception": 3,
    "error": 3,
    "warning": 4,
    "warn": 4,
    "info": 6,
    "debug": 7,
}
# What the journal has a name of its own for, or what it adds itself.
_CODE = {"pathname": "CODE_FILE", "lineno": "CODE_LINE", "func_name": "CODE_FUNC"}
_OWN = frozenset({"event", "level", "timestamp", "exception", *_CODE})
_NAME = re.compile(r"[^A-Z0-9_]+")
_NAME_CHARACTERS = 64
_BUFFER_BYTES = 8 << 20
_TOO_BIG = frozenset({errno.EMSGSIZE, errno.ENOBUFS})


def is_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether what is written to ``stream`` goes straight to the journal."""
    try:
        there = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


class Sender:
    """The last of structlog's processors: it sends the event, which then is dropped.

    What the journal does not take is returned as a line of text, with its priority in
    front, for whoever writes to stderr: no event is lost.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path or SOCKET
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Most events with a traceback fit then, and need no file of their own.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def __call__(self, _logger: object, _method: str, event: dict[str, Any]) -> str:
        told = fields(event)
        try:
            self._send(packed(told))
        except OSError:
            return f"<{told['PRIORITY']}>{_one_line(told['MESSAGE'])}"
        raise structlog.DropEvent

    def close(self) -> None:
        self._socket.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, self._path)
        except OSError as error:
            # Too big for a datagram: the journal takes a sealed file in memory.
            if error.errno not in _TOO_BIG:
                raise
            with _sealed(data) as fd:
                ancillary = [
                    (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))
                ]
                self._socket.sendmsg([], ancillary, 0, self._path)


def fields(event: Mapping[str, Any]) -> dict[str, str]:
    """Return an event of structlog as the fields of a journal entry."""
    level = str(event.get("level", "info"))
    told = {
        "MESSAGE": _message(event),
        "PRIORITY": str(_PRIORITIES.get(level, 6)),
        "SYSLOG_IDENTIFIER": "dropzone",
        "DROPZONE_EVENT": _text(event.get("event", "")),
        **{ours: _text(event[key]) for key, ours in _CODE.items() if key in event},
    }
    if "exception" in event:
        told["DROPZONE_EXCEPTION"] = _text(event["exception"])
    for key, value in event.items():
        if key not in _OWN and value is not None:
            told[_name(key)] = _text(value)
    return told


def packed(told: Mapping[str, str]) -> bytes:
    """Return the fields as the journal's protocol wants them."""
    parts = []
    for name, value in told.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts += [name.encode(), b"\n", struct.pack("<Q", len(data)), data, b"\n"]
        else:
            parts += [name.encode(), b"=", data, b"\n"]
    return b"".join(parts)


def _message(event: Mapping[str, Any]) -> str:
    """Return the line that people read: the event, and what it is about."""
    keys = (key for key in event if key not in _OWN and event[key] is not None)
    about = " ".join(f"{key}={_quoted(_text(event[key]))}" for key in keys)
    line = f"{_text(event.get('event', ''))} {about}".rstrip()
    return f"{line}\n{event['exception']}" if "exception" in event else line


def _quoted(value: str) -> str:
    # Not character by character in Python: a value may be of many megabytes.
    plain = value.split(maxsplit=1) == [value] and not any(c in value for c in "\"'=")
    return value if plain else '"' + value.replace('"', '\\"') + '"'


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _name(key: str) -> str:
    return f"DROPZONE_{_NAME.sub('_', key.upper())}"[:_NAME_CHARACTERS]


def _one_line(message: str) -> str:
    return message.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")


@contextlib.contextmanager
def _sealed(data: bytes) -> Any:
    fd = os.memfd_create("dropzone-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
        yield fd
    finally:
        os.close(fd)
