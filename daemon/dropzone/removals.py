"""The records of what retention removed from a zone: when, and by which setting.

They are kept as the receipts are, one line each and chained, in ``state/removals``. A
record is durable before its file goes.
"""

import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dropzone import fsops, receipts
from dropzone.errors import ZoneHeld
from dropzone.receipts import Receipts

#: The journal's mark: how far its rows know the records.
MARK = "removals"


def folder(root: Path) -> Path:
    """Return where the records of the zone at ``root`` lie."""
    return root / "state" / "removals"


@contextmanager
def opened(root: Path) -> Iterator[Receipts]:
    """Hold the records of a zone, for one process at a time.

    Raises:
        ZoneHeld: another process is cleaning this zone just now.

    """
    records = Receipts(folder(root))
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with fsops.opened(os.open(folder(root) / "lock", flags, 0o600)) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ZoneHeld(
                    f"{root} is being cleaned by another process just now.",
                    hint="Wait until it is done, then try again.",
                ) from None
            yield records
    finally:
        records.close()


def removed_jobs(root: Path) -> Iterator[str]:
    """Yield the jobs whose files were removed.

    Raises:
        ZoneError: the records do not continue their chain.

    """
    for record, _ in receipts.stream(folder(root)):
        if "job" in record:
            yield record["job"]


def month() -> str:
    return f"{dt.datetime.now(dt.UTC):%Y-%m}"


def now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def record(**told: Any) -> dict[str, Any]:
    """Return a record that is made now."""
    return {**told, "removed_at": now()}
