"""What the errors of a zone's disk mean: a step waits, no document is at fault."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dropzone.errors import ServiceUnavailable
from dropzone.text import display

#: What it says when it is full, for all or for this user.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: What the disk says when no file can be written, whichever it is.
ERRORS = frozenset(
    {*FULL, errno.EROFS, errno.EIO}
    # The server behind the file system is gone, or the disk was pulled out.
    | {errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENODEV}
)


def fault(error: OSError) -> ServiceUnavailable:
    """Return the error that pauses a step until the disk takes files again."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) and error.filename:
        return ServiceUnavailable(
            "disk",
            f"The folder {display(error.filename)} is gone.",
            hint="Make it again, or mount it; the daemon goes on by itself.",
        )
    named = f" ({display(error.filename)})" if error.filename else ""
    return ServiceUnavailable(
        "disk",
        f"The zone's disk refuses work: {error.strerror}{named}.",
        hint="Free space on the zone's disk, or mend its rights.",
    )


def status_above(path: Path) -> os.statvfs_result:
    """Return what is free on the disk of ``path``, which may not be made yet.

    Raises:
        ServiceUnavailable: the disk is failing (``disk``).

    """
    with faults():
        return os.statvfs(next(p for p in (path, *path.parents) if p.exists()))


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turn what the system says inside the block into ServiceUnavailable."""
    try:
        yield
    except OSError as error:
        raise fault(error) from error
