"""Fills the journal of a zone with ended jobs, as weeks of work leave it."""

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from dropzone.journal import Journal
from dropzone.models import Job, Outcome, Status

COLLECTIONS = ("papers", "invoices", "contracts", "letters", "minutes", "manuals")
_DAYS = 21
_AT_ONCE = 5_000
_ENDED = (Outcome.INDEXED, Outcome.DUPLICATE, Outcome.STORED_ONLY, Outcome.EMPTY)
_SHARES = (0.9, 0.04, 0.03, 0.01)
_REASONS = (
    ("The PDF is encrypted.", "Remove the password and drop it again.", "index"),
    ("The file is damaged: its end is missing.", "Copy it again.", "index"),
    ("The parser needed more than 1024 MB.", "Raise limits.parser_memory.", "index"),
    ("S3 refuses the object for good: EntityTooLarge.", "Split the file.", "store"),
)


# What tells a job from the one it was copied from, so many numbers later.
_NEXT = """
UPDATE more SET
    id = substr(moment, 1, 8) || '-' || substr(moment, 9) || '-7000-8000-'
        || printf('%012x', number),
    path = CAST(replace(CAST(path AS TEXT), was, is_now) AS BLOB),
    data = replace(data, was, is_now),
    s3_key = replace(s3_key, was, is_now),
    sha256 = substr(sha256, 1, 52) || printf('%012x', number),
    mtime_ns = mtime_ns + 1000000000 * :later,
    created_at = created_at + :later,
    started_at = started_at + :later,
    last_activity = last_activity + :later,
    ended_at = ended_at + :later
FROM (
    SELECT
        id AS old,
        printf('%012x', CAST(1000 * (created_at + :later) AS INTEGER)) AS moment,
        row_number() OVER (ORDER BY id) - 1 + :before AS number,
        printf('Report-%06d', row_number() OVER (ORDER BY id) - 1 + :was) AS was,
        printf('Report-%06d', row_number() OVER (ORDER BY id) - 1 + :before) AS is_now
    FROM more
)
WHERE id = old
"""


def fill(root: Path, count: int, failed: float = 0.02) -> None:
    """Add jobs to the journal of the zone at ``root``; no daemon may run.

    ``failed`` is the share of those that failed. Of more than 5,000 only these are
    made, and then copied as often as it takes, for later days.
    """
    (root / "state").mkdir(parents=True, exist_ok=True)
    path = root / "state" / "journal.sqlite"
    journal = Journal(path)
    try:
        journal.add(list(_jobs(count, failed)))
    finally:
        journal.close()
    _copy(path, count)


def _copy(path: Path, count: int) -> None:
    later = _AT_ONCE * _DAYS * 86_400 / count
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TEMP TABLE more AS SELECT * FROM jobs")
        for before in range(_AT_ONCE, count, _AT_ONCE):
            known = {"later": later, "before": before, "was": before - _AT_ONCE}
            connection.execute(_NEXT, known)
            left = count - before
            connection.execute(
                "INSERT INTO jobs SELECT * FROM more ORDER BY id LIMIT ?", (left,)
            )


def _jobs(count: int, failed: float) -> Iterator[Job]:
    pick, now = random.Random(1), time.time()
    for number in range(min(count, _AT_ONCE)):
        # The newest ended a minute ago.
        created = now - 60 - (count - number) * _DAYS * 86_400 / count
        outcome = pick.choices((*_ENDED, Outcome.FAILED), (*_SHARES, failed))[0]
        yield _job(pick, number, created, outcome)


def _job(pick: random.Random, number: int, created: float, outcome: Outcome) -> Job:
    millis, collection = f"{int(created * 1000):012x}", pick.choice(COLLECTIONS)
    failed = outcome is Outcome.FAILED
    reason, hint, step = pick.choice(_REASONS)
    path = f"{collection}/2026/{number % 997:03}/Report-{number:06}.pdf"
    return Job(
        id=f"{millis[:8]}-{millis[8:]}-7000-8000-{number:012x}",
        zone="default",
        collection=collection,
        path=path.encode(),
        status=Status.FAILED if failed else Status.DONE,
        size=pick.randrange(1_000, 5_000_000),
        mtime_ns=int(created * 1e9),
        sha256=f"{pick.getrandbits(256):064x}",
        doc_type="pdf",
        s3_key=f"default/{collection}/{number:012x}/{path.rpartition('/')[2]}",
        outcome=outcome,
        attempts=1,
        error_step=step if failed else None,
        error_class="DocumentRejected" if failed else None,
        error_message=reason if failed else None,
        created_at=created,
        started_at=created,
        last_activity=created + 1,
        ended_at=created + pick.random() * 3,
        end_reason=reason if failed else outcome,
        version=5,
        data={
            "area": "failed" if failed else "processed",
            "place": path,
            "chunks": 0 if failed else pick.randrange(1, 90),
            "seconds": {"store": 0.02, "index": round(pick.random(), 3)},
            **({"what_to_do": hint} if failed else {}),
        },
    )
