"""From ``input/`` to ``state/work/JOB/``: the rename that takes a file, made durable.

Everything takes the descriptors of the two folders.
"""

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dropzone import disk, fsops, places, work_folders
from dropzone.readiness import Lease, Signature


@dataclass(frozen=True, slots=True)
class Claim:
    """A file to take, as it looked when it was found ready."""

    job_id: str
    path: bytes
    signature: Signature


def take(
    input_: int, work: int, claim: Claim, taken: Callable[[int], object]
) -> Signature:
    """Rename a file into its job's folder, as ``ZoneFolders.claim`` says."""
    parent, name = os.path.split(claim.path)
    with contextlib.ExitStack() as stack:
        source = fsops.open_directory(input_, parent)
        stack.callback(os.close, source)
        file = fsops.open_plain(source, name)
        stack.callback(os.close, file)
        if fsops.signature_of(os.fstat(file)) != claim.signature:
            raise BlockingIOError(errno.EAGAIN, "changed since it was looked at")
        if fsops.lease(file) is Lease.BUSY:
            raise BlockingIOError(errno.EAGAIN, "is open for writing")
        try:
            folder = work_folders.inside(claim.job_id, parent)
            target = fsops.make_directories(work, folder, 0o700, sync=False)
            stack.callback(os.close, target)
            there = _rename(source, name, target, claim, file)
        except OSError:
            work_folders.drop(work, claim.job_id)
            raise
        taken(file)
        return there


def sync(input_: int, work: int, claims: Sequence[Claim]) -> None:
    """Make claimed files durable: their data, and the folders on both sides.

    Raises:
        OSError: the disk is full or failing.

    """
    if len(claims) > fsops.SYNC_TOGETHER:
        fsops.sync_volume(work)
        return
    try:
        for claim in claims:
            _sync(input_, work, claim)
    except OSError as error:
        if error.errno in disk.ERRORS:
            raise
        # Somebody changed the work folder: what is left of it counts.
        fsops.sync_volume(work)


def _sync(input_: int, work: int, claim: Claim) -> None:
    parent, name = os.path.split(claim.path)
    _sync_up(work, work_folders.inside(claim.job_id, parent), name)
    with contextlib.suppress(FileNotFoundError):
        source = fsops.open_directory(input_, parent)
        with fsops.opened(source):
            os.fsync(source)


def _sync_up(work: int, folder: bytes, name: bytes) -> None:
    """Sync a file of ``state/work`` and every folder above it."""
    while folder:
        fd = fsops.open_directory(work, folder)
        with fsops.opened(fd):
            if name:
                # The producer may never have flushed its data.
                with fsops.opened(fsops.open_plain(fd, name)) as file:
                    os.fsync(file)
                name = b""
            os.fsync(fd)
        folder = os.path.dirname(folder)
    os.fsync(work)


def _rename(
    source: int, name: bytes, target: int, claim: Claim, file: int
) -> Signature:
    fsops.rename_new(source, name, target, name)
    status = os.stat(name, dir_fd=target, follow_symlinks=False)
    moved, expected = fsops.signature_of(status), claim.signature
    # The rename itself changes the ctime.
    same = dataclasses.replace(moved, ctime_ns=expected.ctime_ns) == expected
    # Nobody can open it by its old name any more, so a free lease stays true.
    if not same or fsops.lease(file) is Lease.BUSY:
        # Somebody swapped the name, or wrote, between the check and the rename.
        try:
            fsops.rename_new(target, name, source, name)
        except FileExistsError:
            # And once more since then: both stay in input, under two names.
            marked = places.with_mark(name, claim.job_id)
            fsops.rename_new(target, name, source, marked)
        raise BlockingIOError(errno.EAGAIN, "was changed while being taken")
    return moved
