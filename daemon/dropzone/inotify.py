"""The kernel's limits on file events: how high they are, what is used, what to do."""

import contextlib
import errno
import os
from pathlib import Path

# The same limits under two names: of the machine, and of a user namespace.
_FILES = {
    "max_user_watches": ("fs/inotify/max_user_watches", "user/max_inotify_watches"),
    "max_user_instances": (
        "fs/inotify/max_user_instances",
        "user/max_inotify_instances",
    ),
    "max_queued_events": ("fs/inotify/max_queued_events",),
}
_AT_LEAST = {
    "max_user_watches": 524_288,
    "max_user_instances": 1024,
    "max_queued_events": 65_536,
}


def limit(name: str) -> int | None:
    """Return the lowest limit of that name that holds here; None without inotify."""
    found = []
    for file in _FILES[name]:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path("/proc/sys", file).read_text()))
    return min(found, default=None)


def in_use() -> tuple[int, int]:
    """Return the watches and instances of this user's processes."""
    watched = instances = 0
    user = os.geteuid()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == user:
                for descriptor in (process / "fdinfo").iterdir():
                    lines = descriptor.read_text().splitlines()
                    count = sum(line.startswith("inotify wd:") for line in lines)
                    watched += count
                    instances += bool(count)
    return watched, instances


def raise_limit(name: str) -> str:
    """Return the command that makes the limit higher."""
    wanted = max(2 * (limit(name) or 0), _AT_LEAST[name])
    return f"sysctl fs.inotify.{name}={wanted}"


def explained(error: OSError) -> tuple[str, str]:
    """Return why there are no file events, with numbers, and what to do about it."""
    watches, instances = in_use()
    if error.errno == errno.ENOSPC:
        told = (
            f"the limit of {limit('max_user_watches')} inotify watches is reached "
            f"({watches} are seen in use by this user)"
        )
        return told, f"As root: {raise_limit('max_user_watches')}"
    if error.errno == errno.EMFILE:
        told = (
            f"the limit of {limit('max_user_instances')} inotify instances is reached "
            f"({instances} are seen in use by this user)"
        )
        return told, f"As root: {raise_limit('max_user_instances')}"
    return error.strerror or str(error), ""
