"""The only code that removes payload: what was proven to lie in S3 and Postgres.

A file is first renamed to ``state/leaving/JOB``, where nobody else writes, and is
looked at once more. What a crash leaves there is put back.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dropzone import asides, disk, fsops, places
from dropzone.readiness import Lease, Signature
from dropzone.release import REASON_SUFFIX
from dropzone.sessions.objects import FileDigest, digest


class Changed(Exception):
    """The file is not the one that was proven: it stays. The text says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a file looked while it was read, and what was read."""

    signature: Signature
    digest: FileDigest


class Leaving:
    """Looks at files of ``processed/`` and ``failed/``, and removes them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "state" / "leaving"

    def peek(self, area: str, place: bytes) -> Signature | None:
        """Return how a file looks, without reading it; None if it is not there.

        Raises:
            Changed: it is no plain file, or may not be read.

        """
        try:
            with self._parent(area, place) as (folder, name):
                fd = _open(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with fsops.opened(fd):
            return fsops.signature_of(os.fstat(fd))

    def look(self, area: str, place: bytes) -> Seen | None:
        """Read a file once; None if it is not there.

        Raises:
            Changed: it is no plain file, is being written to, or changes.
            ServiceUnavailable: the disk is failing (``disk``).

        """
        try:
            with self._parent(area, place) as (folder, name):
                fd = _open(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(fd, "rb", buffering=0) as file, disk.faults():
            before = fsops.signature_of(os.fstat(fd))
            found = digest(file)
            after = fsops.signature_of(os.fstat(fd))
        if before != after:
            raise Changed("is being changed just now")
        return Seen(before, found)

    def remove(self, area: str, place: bytes, job_id: str, seen: Signature) -> None:
        """Remove exactly the file that was seen.

        Raises:
            Changed: another one lies there now; it stays.
            ServiceUnavailable: the disk is failing (``disk``).

        """
        with disk.faults():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with (
                self._parent(area, place) as (folder, name),
                fsops.opened(os.open(self._folder, fsops.DIRECTORY)) as leaving,
            ):
                aside = os.fsencode(job_id)
                try:
                    fsops.rename_new(folder, name, leaving, aside)
                except FileNotFoundError:
                    raise Changed("was taken away meanwhile") from None
                if not _is_still(leaving, aside, seen):
                    # Who made it lies in wait for the old name.
                    _back(leaving, aside, folder, name, job_id)
                    raise Changed("was changed while it was looked at")
                os.unlink(aside, dir_fd=leaving)

    def remove_reason(self, area: str, reason: bytes, job_id: str) -> None:
        """Remove the file that says why a removed file had failed."""
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            self._parent(area, reason) as (folder, name),
        ):
            asides.remove(folder, name, job_id)

    def put_back(self, area: str, place: bytes, job_id: str) -> bool:
        """Put back what a crash left half-way; False if there is nothing."""
        try:
            fd = os.open(self._folder, fsops.DIRECTORY)
        except FileNotFoundError:
            return False
        with fsops.opened(fd) as leaving, disk.faults():
            if not (self._folder / job_id).exists():
                return False
            parent, name = os.path.split(place)
            with fsops.opened(os.open(self._root / area, fsops.DIRECTORY)) as top:
                folder = fsops.make_directories(top, parent, 0o750)
            with fsops.opened(folder):
                _back(leaving, os.fsencode(job_id), folder, name, job_id)
            return True

    def half_way(self) -> list[str]:
        """Return the jobs whose files a crash left half-way."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self._folder))
        return []

    def is_there(self, area: str, place: bytes) -> bool:
        return os.path.lexists(os.path.join(self._area(area), place))

    def drop_empty(self, area: str, place: bytes) -> None:
        """Remove the folders of the area that a removed file leaves empty."""
        parent = os.path.dirname(place)
        while parent:
            try:
                os.rmdir(os.path.join(self._area(area), parent))
            except OSError:
                return
            parent = os.path.dirname(parent)

    def _area(self, area: str) -> bytes:
        return os.fsencode(self._root / area)

    @contextlib.contextmanager
    def _parent(self, area: str, place: bytes) -> Iterator[tuple[int, bytes]]:
        parent, name = os.path.split(place)
        with fsops.opened(os.open(self._root / area, fsops.DIRECTORY)) as top:
            folder = fsops.open_directory(top, parent)
        with fsops.opened(folder):
            yield folder, name


def reason_of(place: bytes, job_id: str) -> bytes:
    """Return where the reason of a failed file lies that no journal names."""
    return places.beside(place, REASON_SUFFIX, job_id)


def _open(folder: int, name: bytes) -> int:
    try:
        return fsops.open_plain(folder, name)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise Changed(f"cannot be read: {error.strerror}") from error


def _is_still(folder: int, name: bytes, seen: Signature) -> bool:
    try:
        file = fsops.open_plain(folder, name)
    except OSError:
        return False
    with fsops.opened(file):
        now = fsops.signature_of(os.fstat(file))
        # The rename itself changes the ctime.
        same = replace(now, ctime_ns=seen.ctime_ns) == seen
        return same and fsops.lease(file) is not Lease.BUSY


def _back(leaving: int, aside: bytes, folder: int, name: bytes, job_id: str) -> None:
    try:
        fsops.rename_new(leaving, aside, folder, name)
    except FileExistsError:
        # Something else has the name by now: both stay.
        fsops.rename_new(leaving, aside, folder, places.with_mark(name, job_id))
