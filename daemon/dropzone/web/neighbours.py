"""Which user of this machine is at the other end of a connection over loopback."""

import ipaddress
import os
import socket
import struct
from pathlib import Path

_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
_LOCAL, _REMOTE, _USER = 1, 2, 7
_ROOT = 0


def is_our_own(peer: tuple[str, int] | None, here: tuple[str, int] | None) -> bool:
    """Return whether the peer runs as the daemon's user or as root.

    False also for who cannot be found.
    """
    if peer is None or here is None:
        return False
    user = user_of(peer, here)
    return user is not None and user in {os.geteuid(), _ROOT}


def user_of(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    """Return the user whose socket is at ``peer`` and is connected with ``here``."""
    for version, table in _TABLES.items():
        wanted = _place(peer, version), _place(here, version)
        if None in wanted:
            continue
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if (fields[_LOCAL], fields[_REMOTE]) == wanted:
                return int(fields[_USER])
    return None


def _place(address: tuple[str, int], version: int) -> str | None:
    """Return an address as the kernel's tables have it; None if not of that kind."""
    try:
        parsed = ipaddress.ip_address(address[0].partition("%")[0])
    except ValueError:
        return None
    if version == 6 and parsed.version == 4:  # noqa: PLR2004
        # A socket for both kinds has those of version 4 like this.
        parsed = ipaddress.ip_address(f"::ffff:{parsed}")
    if parsed.version != version:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004
    packed = socket.inet_pton(family, str(parsed))
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{address[1]:04X}"
