"""The folders of ``state/work``: one for each job, named by its id.

Everything takes the descriptor of ``state/work``; paths are relative to it.
"""

import contextlib
import os
from collections.abc import Iterator

from dropzone import fsops, listing


def inside(job_id: str, parent: bytes) -> bytes:
    """Return where a job keeps a file that was dropped into the folder ``parent``."""
    return os.fsencode(job_id) + (b"/" + parent if parent else b"")


def held(work: int) -> Iterator[tuple[str, list[bytes]]]:
    """Yield each folder with the relative paths it holds.

    What lies beside the folders comes first, as if in a folder without a name.
    """
    folders, files = listing.parted(work)
    if files:
        yield "", files
    for job_id in folders:
        found: list[bytes] = []
        # By descriptors: a path may be longer than the system takes at once.
        for folder, _, names, _ in os.fwalk(job_id, dir_fd=work):
            within = folder.partition(b"/")[2]
            found += [os.path.join(within, name) for name in names]
        yield os.fsdecode(job_id), found


def resettle(work: int, folder: str, path: bytes, job_id: str) -> None:
    """Give a file of some folder a job's folder of its own, durably.

    Raises:
        OSError: it is no plain file, or may not be moved.

    """
    parent, name = os.path.split(path)
    with contextlib.ExitStack() as stack:
        here = os.path.join(os.fsencode(folder), parent).rstrip(b"/")
        source = fsops.open_directory(work, here)
        stack.callback(os.close, source)
        os.close(fsops.open_plain(source, name))
        target = fsops.make_directories(work, inside(job_id, parent), 0o700)
        stack.callback(os.close, target)
        fsops.rename_new(source, name, target, name)
        os.fsync(target)
        os.fsync(source)


def drop(work: int, job_id: str) -> None:
    """Remove a job's folder from the innermost out; one that holds a file stays."""
    base = os.fsencode(job_id)
    with contextlib.suppress(OSError):
        for _, folders, _, fd in os.fwalk(base, topdown=False, dir_fd=work):
            for name in folders:
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=fd)
        os.rmdir(base, dir_fd=work)
