"""Opens a zone's journal for writing; one that is damaged makes way for a new one."""

import os
import time
from pathlib import Path

from dropzone import fsops, log
from dropzone.errors import ServiceUnavailable
from dropzone.journal import Journal, JournalDamaged

#: SQLite's files: the database, and what it keeps beside it until a clean end.
_PARTS = ("", "-wal", "-shm")


def open_journal(path: Path) -> Journal:
    """Return the journal, whole: the damaged one is set aside and an empty one begun.

    The rescuer fills that from receipts and work folders. Nothing is deleted.

    Raises:
        ConfigurationError: it was written by a newer version.
        ServiceUnavailable: the disk does not take it (``disk``).

    """
    try:
        return _checked(path)
    except JournalDamaged as error:
        aside = _set_aside(path)
        log.get("journal").error(
            "the journal is damaged and is made again from the receipts",
            reason=error.message,
            damaged_one=str(aside),
        )
    return _checked(path)


def _checked(path: Path) -> Journal:
    journal = Journal(path)
    try:
        journal.check()
    except BaseException:
        journal.close()
        raise
    return journal


def _set_aside(path: Path) -> Path:
    """Rename the damaged files; a second damage in one second replaces nothing."""
    aside = path.with_name(f"{path.stem}.damaged-{time.time_ns()}")
    try:
        with fsops.opened(os.open(path.parent, fsops.DIRECTORY)) as fd:
            for part in _PARTS:
                old, new = f"{path.name}{part}", f"{aside.name}{part}"
                try:
                    fsops.rename_new(fd, os.fsencode(old), fd, os.fsencode(new))
                except FileNotFoundError:
                    continue
            os.fsync(fd)
    except OSError as error:
        raise ServiceUnavailable(
            "disk", f"The damaged journal cannot be set aside: {error.strerror}."
        ) from error
    return aside
