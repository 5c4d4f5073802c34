"""Fills the journal of a zone with ended jobs, as weeks of work leave it."""

import random
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


def fill(root: Path, count: int, failed: float = 0.02) -> None:
    """Add jobs to the journal of the zone at ``root``; no daemon may run.

    ``failed`` is the share of those that failed.
    """
    (root / "state").mkdir(parents=True, exist_ok=True)
    journal = Journal(root / "state" / "journal.sqlite")
    try:
        waiting: list[Job] = []
        for job in _jobs(count, failed):
            waiting.append(job)
            if len(waiting) == _AT_ONCE:
                journal.add(waiting)
                waiting = []
        journal.add(waiting)
    finally:
        journal.close()


def _jobs(count: int, failed: float) -> Iterator[Job]:
    pick, now = random.Random(1), time.time()
    for number in range(count):
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
