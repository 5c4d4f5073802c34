"""Decides whether a file in ``input/`` is complete. Pure: the clock is handed in.

Four steps: not a temporary name, a plain file, quiet long enough, nobody writing.
"""

import dataclasses
import fnmatch
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from dropzone.journal import Finding

# Names that programs give to files they are still writing, and to litter of their own.
# From the lists of paperless-ngx, Calibre-Web-Automated, rclone, NiFi and Syncthing.
IGNORED = (
    ".*", "~*", "*~", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart",
    "*.crdownload", "*.download", "*.uploading", "*.part.minio", "*.swp", "*.swx",
    "Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX", "lost+found",
)  # fmt: skip

# A clock that was set back makes a file look as if it came from the future; such an
# age is not believed.
_LONGEST_BELIEVED_AGE = 10 * 365 * 86400.0
# Sums of floats are not exact: less than this left to wait is nothing, or a look at
# the very time it asked for could ask for the same time again.
_GRAIN = 1e-6


class Lease(Enum):
    """What asking the kernel for a read lease says about writers."""

    FREE = auto()
    BUSY = auto()
    UNSUPPORTED = auto()


@dataclass(frozen=True, slots=True)
class Signature:
    """What changes when a file's content or identity changes."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def as_tuple(self) -> tuple[int, ...]:
        return dataclasses.astuple(self)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file as last looked at, and since when (monotonic) it has looked like that.

    ``arrived``: it came by a rename, so it was complete when it appeared.
    """

    signature: Signature
    since: float
    arrived: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The quiet times of a zone in seconds, and its extra ignore patterns."""

    quiet: float = 2.0
    quiet_without_lease: float = 5.0
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """Claim it now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at this monotonic time."""

    until: float


class NameFilter:
    """Tells temporary and hidden names from names that were dropped."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        patterns = [*IGNORED, *extra]
        union = "|".join(fnmatch.translate(pattern) for pattern in patterns)
        self._match = re.compile(union.encode("utf-8"), re.IGNORECASE).match

    def ignores(self, name: bytes) -> bool:
        """Return True for one component of a path that must be left alone."""
        return self._match(name) is not None


def refusal(path: bytes, mode: int, links: int) -> Finding | None:
    """Return why an entry that is not a directory can never be taken, or None."""
    kinds = {
        stat.S_IFLNK: "is a symbolic link",
        stat.S_IFIFO: "is a named pipe",
        stat.S_IFSOCK: "is a socket",
        stat.S_IFCHR: "is a device",
        stat.S_IFBLK: "is a device",
    }
    if kind := kinds.get(stat.S_IFMT(mode)):
        return Finding(path, kind, "Drop the file itself: only plain files are taken.")
    if links > 1:
        return Finding(
            path,
            f"has {links} names (hard links), so it can change after it is taken",
            "Drop a copy instead, for example with: cp --reflink=auto.",
        )
    return None


def sight(
    last: Sighting | None, signature: Signature, now: float, *, arrived: bool = False
) -> Sighting:
    """Return the sighting after a look; an unchanged file keeps its quiet time."""
    if last is not None and last.signature == signature:
        return Sighting(signature, last.since, arrived=arrived or last.arrived)
    return Sighting(signature, now, arrived=arrived)


def decide(
    sighting: Sighting, lease: Lease, rules: Rules, *, now: float, wall: float
) -> Ready | Wait:
    """Return whether the file may be claimed at ``now`` (monotonic seconds).

    ``wall`` is the epoch time, to credit a file with the time it lay still before it
    was first looked at. A free lease proves that no writer has it open; where leases
    are not to be had, only time that was watched counts, and more of it.
    """
    watched = now - sighting.since
    if lease is Lease.BUSY:
        # A close is reported as an event; this is the look that does without it.
        return Wait(now + min(max(rules.quiet, 0.2), 2.0))
    if lease is Lease.UNSUPPORTED:
        missing = rules.quiet_without_lease - watched
    elif sighting.arrived:
        missing = 0.0
    else:
        missing = rules.quiet - max(watched, _age(sighting.signature, wall))
    return Wait(now + missing) if missing > _GRAIN else Ready()


def _age(signature: Signature, wall: float) -> float:
    changed = max(signature.mtime_ns, signature.ctime_ns) / 1e9
    age = wall - changed
    return age if 0 <= age <= _LONGEST_BELIEVED_AGE else 0.0
