"""The folders of a zone, and the only code that moves files.

Place is state: ``input/`` waits, ``state/work/JOB/`` is claimed, ``processed/`` and
``failed/`` are the ends. Payload is only ever renamed: never copied, never
overwritten, never deleted.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropzone import (
    asides,
    claiming,
    disk,
    fsops,
    listing,
    places,
    work_folders,
    zone_opening,
)
from dropzone.claiming import Claim
from dropzone.errors import ServiceUnavailable, SourceChanged
from dropzone.readiness import Lease, Signature
from dropzone.text import display


@dataclass(frozen=True, slots=True)
class Move:
    """A claimed file and its end: ``place`` below the folder ``area``."""

    job_id: str
    path: bytes
    area: str
    place: bytes


class ZoneFolders:
    """The folders of one zone, opened once; every access goes through them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None
        self._fds: dict[str, int] = {}

    def open(self) -> None:
        """Make the folders, hold the zone's lock, and prove that renames work.

        Raises:
            ZoneError: another daemon holds the zone, or its folders are not on one
                mount, or may not be used.

        """
        self._fds, self._lock = zone_opening.open_zone(self.root)

    def close(self) -> None:
        """Let the zone go."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def remote(self) -> str:
        """The file system of ``input``, if other machines can write to it."""
        return fsops.remote_file_system(self._fds["input"])

    def refresh(self) -> bool:
        """Open folders again that were replaced; True if ``input`` was one of them.

        Raises:
            ServiceUnavailable: a folder is missing, or on another mount (``disk``).
            ZoneError: ``state`` was replaced, and our lock and journal with it.

        """
        with disk.faults():
            return "input" in zone_opening.reopen(self.root, self._fds)

    def check_present(self) -> None:
        """Check that the zone still is where its path leads to.

        Work must not go on otherwise: what is reached by path, like the files of the
        servers inside the zone, would be made below a mount point.

        Raises:
            ServiceUnavailable: it was renamed, unmounted or replaced (``disk``).

        """
        gone = zone_opening.missing(self.root, self._fds)
        if gone:
            raise ServiceUnavailable(
                "disk", gone, hint="Mount it, or put it back; the daemon then goes on."
            )

    def try_to_write(self) -> None:
        """Write a small file to the zone's disk, durably, and remove it.

        Raises:
            ServiceUnavailable: the disk does not take it (``disk``).

        """
        with disk.faults():
            asides.try_to_write(self._fds["state"])

    def write_report(self, name: str, content: bytes) -> None:
        """Replace a file of ``state``, for readers of the moment only.

        Worth no sync, and no trouble when the disk is full.
        """
        with contextlib.suppress(OSError):
            asides.replace(self._fds["state"], name, content)

    def is_input(self) -> bool:
        """Return whether the folder that is called ``input`` is the one we read."""
        return zone_opening.is_current(self.root / "input", self._fds["input"])

    @property
    def work(self) -> Path:
        return self.root / "state" / "work"

    # Looking

    def walk(
        self, ignores: Callable[[bytes], bool], start: bytes = b""
    ) -> Iterator[listing.Entry | listing.Unreadable]:
        """Yield what lies in ``input/`` (below ``start``), following no link.

        Names for which ``ignores`` is true are skipped, folders with all they hold.
        """
        return listing.walk(self._fds["input"], ignores, start)

    def look(self, path: bytes) -> listing.Entry | None:
        """Return one entry of ``input/``, or None if it is gone or a directory."""
        return listing.look(self._fds["input"], path)

    def lease(self, path: bytes) -> Lease:
        """Tell whether somebody has this file of ``input/`` open for writing.

        Raises:
            OSError: it may not be read, or is no plain file any more.

        """
        parent, name = os.path.split(path)
        with contextlib.ExitStack() as stack:
            fd = fsops.open_directory(self._fds["input"], parent)
            stack.callback(os.close, fd)
            file = fsops.open_plain(fd, name)
            stack.callback(os.close, file)
            return fsops.lease(file)

    # Claiming

    def claim(
        self, claim: Claim, taken: Callable[[int], object] = lambda _fd: None
    ) -> Signature:
        """Rename a file from ``input/`` to ``state/work/JOB/``; not yet durable.

        ``taken`` is handed the file, open for reading, once it is there, and raises
        nothing. Returns how it looks in its new place; see ``sync_claims``.

        Raises:
            FileNotFoundError: it is gone.
            BlockingIOError: it changed, or somebody writes to it.
            OSError: it cannot be taken.

        """
        return claiming.take(self._fds["input"], self._fds["work"], claim, taken)

    def sync_claims(self, claims: Sequence[Claim]) -> None:
        """Make claimed files durable: their data, and the folders on both sides.

        Raises:
            ServiceUnavailable: the disk is full or failing (``disk``).

        """
        with disk.faults():
            claiming.sync(self._fds["input"], self._fds["work"], claims)

    # Working

    def open_payload(self, job_id: str, path: bytes) -> int:
        """Open a claimed file for reading.

        Raises:
            SourceChanged: it is not there any more.

        """
        parent, name = os.path.split(path)
        try:
            with fsops.opened(self._job_folder(job_id, parent)) as fd:
                return fsops.open_plain(fd, name)
        except OSError as error:
            raise SourceChanged(
                f"{display(path)} cannot be read in its work folder: {error.strerror}."
            ) from error

    def payload_path(self, job_id: str, path: bytes) -> Path:
        return self.work / job_id / os.fsdecode(path)

    def jobs_in_work(self) -> Iterator[tuple[str, list[bytes]]]:
        """Yield each folder of ``state/work`` with the relative paths it holds.

        What lies beside the folders comes first, as if in a folder without a name.
        """
        return work_folders.held(self._fds["work"])

    def resettle(self, folder: str, path: bytes, job_id: str) -> None:
        """Give a file in some folder of ``state/work`` a job's folder of its own.

        Raises:
            OSError: it is no plain file, or may not be moved.

        """
        work_folders.resettle(self._fds["work"], folder, path, job_id)

    def signature(self, job_id: str, path: bytes) -> Signature | None:
        """Return how a claimed file looks now, or None if it is not there."""
        parent, name = os.path.split(path)
        try:
            with fsops.opened(self._job_folder(job_id, parent)) as fd:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            return None
        return fsops.signature_of(status)

    # Ending

    def free_place(
        self, area: str, path: bytes, job_id: str, *, avoid: Collection[bytes] = ()
    ) -> bytes:
        """Return where in ``area`` this job's file goes: its own path, or beside it.

        A name that is taken (or by a file in ``avoid``), or a folder whose name a file
        has taken, gets the end of the job's id added.

        Raises:
            ServiceUnavailable: the area cannot be looked into (``disk``).

        """
        parts = path.split(b"/")
        for depth in range(1, len(parts)):
            folder = b"/".join(parts[:depth])
            mode = self._mode(area, folder)
            if folder in avoid or (mode is not None and not stat.S_ISDIR(mode)):
                return b"/".join([places.with_mark(folder, job_id), *parts[depth:]])
        inside = path + b"/"
        taken = any(other == path or other.startswith(inside) for other in avoid)
        if taken or self._mode(area, path) is not None:
            return places.with_mark(path, job_id)
        return path

    def _mode(self, area: str, path: bytes) -> int | None:
        parent, name = os.path.split(path)
        with (
            disk.faults(),
            contextlib.suppress(FileNotFoundError),
            fsops.opened(fsops.open_directory(self._fds[area], parent)) as fd,
        ):
            return os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        return None

    def place(self, moves: Sequence[Move]) -> list[bytes]:
        """Rename claimed files to their ends, durably; return where each lies now.

        A file that is at its place already (a crash came in between) is left there.

        Raises:
            ServiceUnavailable: the disk is full or failing (``disk``).

        """
        together = len(moves) > fsops.SYNC_TOGETHER
        with disk.faults():
            placed = [self._place(move, sync=not together) for move in moves]
            if together:
                fsops.sync_volume(self._fds["state"])
        for move in moves:
            self._drop_job_folder(move.job_id)
        return placed

    def _place(self, move: Move, *, sync: bool) -> bytes:
        first, slash, rest = move.place.partition(b"/")
        beside = places.with_mark(first, move.job_id) + slash + rest
        try:
            if self._rename_out(move, move.place, sync=sync):
                return move.place
        except (FileExistsError, NotADirectoryError):
            # Somebody put something there since the place was chosen.
            self._rename_out(move, beside, sync=sync)
            return beside
        # It was renamed before a crash, to one of the two.
        return move.place if self._mode(move.area, beside) is None else beside

    def _rename_out(self, move: Move, place: bytes, *, sync: bool) -> bool:
        """Rename a claimed file to its end; False if it is not in its work folder."""
        parent, name = os.path.split(move.path)
        folder, new_name = os.path.split(place)
        with contextlib.ExitStack() as stack:
            try:
                source = self._job_folder(move.job_id, parent)
                stack.callback(os.close, source)
                os.stat(name, dir_fd=source, follow_symlinks=False)
            except FileNotFoundError:
                return False
            target = fsops.make_directories(self._fds[move.area], folder, 0o750)
            stack.callback(os.close, target)
            fsops.rename_new(source, name, target, new_name)
            if sync:
                os.fsync(target)
                os.fsync(source)
        return True

    def write_aside(self, area: str, path: bytes, content: bytes, owner: str) -> bool:
        """Write a small file of the job ``owner``, whole or not at all, durably.

        False if something that is not this job's has that name.

        Raises:
            ServiceUnavailable: the disk is full or failing (``disk``).

        """
        folder, name = os.path.split(path)
        with disk.faults():
            target = fsops.make_directories(self._fds[area], folder, 0o750)
            with fsops.opened(target):
                return asides.write(target, name, content, owner)

    def remove_aside(self, area: str, path: bytes, owner: str) -> None:
        """Remove a small file of the job ``owner`` (never payload), if it is there."""
        folder, name = os.path.split(path)
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            fsops.opened(fsops.open_directory(self._fds[area], folder)) as fd,
        ):
            asides.remove(fd, name, owner)

    def drop_empty(self, job_id: str) -> None:
        """Remove the folder of a job that holds no file."""
        self._drop_job_folder(job_id)

    def disk_status(self) -> os.statvfs_result:
        """Return what is free on the zone's disk.

        Raises:
            ServiceUnavailable: the disk is failing (``disk``).

        """
        with disk.faults():
            return os.fstatvfs(self._fds["state"])

    # Inside

    def _job_folder(self, job_id: str, parent: bytes) -> int:
        return fsops.open_directory(
            self._fds["work"], work_folders.inside(job_id, parent)
        )

    def _drop_job_folder(self, job_id: str) -> None:
        work_folders.drop(self._fds["work"], job_id)
