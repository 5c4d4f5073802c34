"""How much of a zone's disk stays free: what is taken must also be finished.

Files that wait in ``input/`` cost nothing more; a disk that is full stops the journal,
the receipts and the servers that keep their data in the zone.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dropzone.errors import ServiceUnavailable
from dropzone.journal import Finding, Journal
from dropzone.listing import Entry
from dropzone.text import display

# Every claim makes a folder, and so do the moves to the ends of what was claimed.
FREE_INODES = 200
# 10 MB of words became 50 MB of tables and 100 MB of write-ahead log in Postgres.
_INDEX_FACTOR = 15
_RECKON_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Growth:
    """What a file adds to the zone's disk beside itself, in bytes.

    ``copied``: its object is kept there too. ``indexed``: so is what is made of its
    text, which is of no more than ``text_bytes``.
    """

    copied: bool
    indexed: bool
    text_bytes: int

    def of(self, size: int, text: int) -> int:
        """Return the growth for ``size`` bytes, ``text`` of them in texts."""
        return self.copied * size + self.indexed * text * _INDEX_FACTOR

    @property
    def none(self) -> bool:
        return not self.copied and not self.indexed


class Room:
    """Tells which files may be taken now; used by one thread."""

    def __init__(
        self,
        disk: Callable[[], os.statvfs_result],
        journal: Journal,
        growth: Growth,
        floor: int,
        servers_disk: Callable[[], os.statvfs_result] | None = None,
    ) -> None:
        """``floor`` is how many bytes stay free (``limits.free_megabytes``).

        ``servers_disk`` is that of the embedded servers, where it is another one.
        """
        self._servers_disk = servers_disk
        self._disk = disk
        self._journal = journal
        self._growth = growth
        self._floor = floor
        self._promised = 0
        self._reckoned = float("-inf")

    def update(self, growth: Growth, floor: int) -> None:
        """Take new limits, for the files that are looked at next."""
        self._growth, self._floor = growth, floor

    def check(self) -> None:
        """Check that any file may be taken.

        Raises:
            ServiceUnavailable: too little is free (``disk``).

        """
        self._left()

    def sort(self, ready: Sequence[Entry]) -> tuple[Sequence[Entry], list[Finding]]:
        """Return which of the files have room, and why the others wait.

        Raises:
            ServiceUnavailable: too little is free for any (``disk``).

        """
        left = self._left()
        if self._growth.none:
            return ready, []
        fitting, findings = [], []
        left -= self._under_way()
        for entry in ready:
            size = entry.signature.size
            needs = self._growth.of(size, min(size, self._growth.text_bytes))
            if needs > max(0, left):
                findings.append(_too_large(entry, needs, left))
                continue
            left -= needs
            self._promised += needs
            fitting.append(entry)
        return fitting, findings

    def _left(self) -> int:
        self._check_servers()
        disk = self._disk()
        free = disk.f_bavail * disk.f_frsize
        if free < self._floor:
            raise ServiceUnavailable(
                "disk",
                f"Only {_mb(free)} are free on the zone's disk, and {_mb(self._floor)} "
                "stay free (limits.free_megabytes).",
                hint="Free some space; the daemon goes on by itself.",
            )
        # Some file systems have no fixed number of files, and say 0.
        if disk.f_files and disk.f_favail < FREE_INODES:
            raise ServiceUnavailable(
                "disk",
                f"Only {disk.f_favail} more files fit on the zone's disk, and "
                f"{FREE_INODES} are needed to go on.",
                hint="Remove files, or make a file system with more inodes.",
            )
        return free - self._floor

    def _check_servers(self) -> None:
        if self._servers_disk is None:
            return
        disk = self._servers_disk()
        free = disk.f_bavail * disk.f_frsize
        if free < self._floor:
            raise ServiceUnavailable(
                "disk",
                f"Only {_mb(free)} are free on the disk of the embedded servers, and "
                f"{_mb(self._floor)} stay free (limits.free_megabytes).",
                hint="Free some space there; the daemon goes on by itself.",
            )

    def _under_way(self) -> int:
        """Return what the jobs under way will still add, reckoned now and then."""
        now = time.monotonic()
        if now - self._reckoned > _RECKON_SECONDS:
            row = self._journal.rows("unstored", text=self._growth.text_bytes)[0]
            self._promised = self._growth.of(row["bytes"], row["text"])
            self._reckoned = now
        return self._promised


def _too_large(entry: Entry, needs: int, left: int) -> Finding:
    return Finding(
        entry.path,
        f"needs {_mb(needs)} on the zone's disk to be stored and indexed, and "
        f"{_mb(max(0, left))} can be used",
        f"Free some space, or move {display(os.path.basename(entry.path))} away.",
    )


def _mb(number: int) -> str:
    return f"{number / 1_000_000:,.0f} MB"
