"""A zone as an office would have it, for screenshots: real files, and days before."""

import json
import math
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import samples
from daemons import ZoneOfTest, wait_for
from dropzone.journal import Journal
from dropzone.models import Job, Outcome, Status

#: What is searched for, and found in several files.
QUESTION = "herons in the harbour"
#: The file whose journey is shown, and one that failed.
JOURNEY = "papers/Grey herons of the lower Elbe.pdf"
FAILED = "invoices/2026-10 Bank statement.pdf"
_METADATA = {"author": "M. Brandt", "year": "2026", "project": "River survey"}

_HERONS = (
    """Grey herons of the lower Elbe
M. Brandt, River Survey, 2026

Between March and September we counted grey herons in the harbour basins
and on the mud flats of the lower Elbe, at low water, twice a week.""",
    """Results

Most herons fed in the harbour at dawn. Numbers rose from 14 in March to 61
in August. Herons leave the harbour when dredgers work, and come back to the
same basin within two days.""",
    """Discussion

The harbour is a poor place to nest and a good place to feed.
We propose that dredging rests from dawn until nine.""",
)
_SEDIMENT = (
    "Sediment transport in braided rivers\n\nFine sand moves in pulses after rain.",
    "Where the river braids, the bed rises by four centimetres a year.",
)
_LEASE = (
    ("Heading 1", "Lease of the harbour office"),
    ("", "The port leases rooms 3 to 7 of the harbour office for five years."),
    ("Heading 2", "Use of the roof"),
    ("", "The tenant lets the survey watch herons in the harbour from the roof."),
    ("Heading 2", "Notice"),
    ("", "Either side may end the lease with six months' notice."),
)
_PUMP = (
    "Pump station P3: manual\n\nCheck the oil level before each start.",
    "Maintenance\n\nReplace the seal every 4,000 hours. Drain the harbour line first.",
)
_MINUTES = """# Board minutes, 12 November 2026

## Harbour

The board approves the pause of dredging at dawn, so that herons in the harbour feed
undisturbed. The port office is told by the end of the month.

## Budget

Two counters are bought for the tide gauge.
"""
_TIDES = "date,low_water,herons\n2026-08-03,05:12,58\n2026-08-06,07:40,61\n"
_NOTE = "Ask the harbour master whether herons nest on the old crane.\n"


def good() -> Mapping[str, bytes]:
    """Return what is dropped first: all is well with it."""
    return {
        "papers/Sediment transport in braided rivers.pdf": _pdf(_SEDIMENT, 912_000),
        "manuals/Pump station P3.pdf": _pdf(_PUMP, 2_340_000),
        "minutes/2026-11-12 Board.md": _MINUTES.encode(),
        "contracts/Lease of the harbour office.docx": samples.word(
            _LEASE, title="Lease of the harbour office"
        ),
    }


def real() -> Mapping[str, bytes]:
    """Return what is dropped then, in this order; some of it fails."""
    damaged = samples.word(_LEASE)[:900]
    return {
        "papers/Tides 2026.csv": _TIDES.encode(),
        "invoices/2026-10 Payroll.pdf": samples.encrypted_pdf() + b"\n",
        FAILED: samples.encrypted_pdf(),
        "contracts/Tender, annex B.docx": damaged,
        "contracts/Old contract.docx": samples.encrypted_word(),
        "papers/Notes from the pier.txt": _NOTE.encode(),
        "papers/Notes from the pier (copy).txt": _NOTE.encode(),
        JOURNEY: _pdf(_HERONS, 1_480_000, title="Grey herons of the lower Elbe"),
    }


def brought() -> Mapping[str, bytes]:
    """Return what is dropped in the browser; nothing like it was there before."""
    told = f"The water stood high at {time.time_ns()}.\n"
    return {
        "Report of the harbour master.pdf": _pdf([told], 3_100_000),
        "Tides of November.csv": f"date,high_water\n2026-11-20,{told}".encode(),
        "Minutes of the working group.md": f"# Minutes\n\n{told}".encode(),
    }


def _pdf(pages: Sequence[str], size: int, title: str = "") -> bytes:
    """Return a PDF as large as if it had pictures."""
    return samples.pdf(pages, title=title, trailer=b"/Like (%s)" % (b"x" * size))


def later() -> Mapping[str, bytes]:
    """Return what is dropped while a step is paused, and so is under way."""
    pages = (f"Survey of reach {number}: no herons." for number in range(1, 8))
    return {
        f"papers/Survey of reach {number}.pdf": _pdf([page], 97_000 * number)
        for number, page in enumerate(pages, 1)
    }


def drop(zone: ZoneOfTest, wanted: Mapping[str, bytes]) -> None:
    """Drop files one after the other; one of them says something of itself."""
    for name, content in wanted.items():
        target = zone.input / name
        target.parent.mkdir(parents=True, exist_ok=True)
        zone.aside.write_bytes(content)
        if name == JOURNEY:
            told = json.dumps(_METADATA).encode()
            os.setxattr(zone.aside, "user.dropzone.metadata", told)
        zone.aside.rename(target)


def wait_until_ended(zone: ZoneOfTest, count: int) -> None:
    wait_for(lambda: len(zone.receipts()) >= count, "the files end", 180)


def history(root: Path) -> None:
    """Give the zone, which no daemon serves yet, a few thousand files before."""
    (root / "state").mkdir(parents=True, exist_ok=True)
    journal = Journal(root / "state" / "journal.sqlite")
    try:
        journal.add(list(_before(random.Random(3), time.time())))
    finally:
        journal.close()


def _before(pick: random.Random, now: float) -> Iterator[Job]:
    moments = [now - pick.uniform(3600, 9 * 86_400) for _ in range(2400)]
    for minute in range(2, 60):
        wave = 6 + 5 * math.sin(minute / 6) + (14 if 31 < minute < 36 else 0)
        files = max(0, round(wave + pick.uniform(-2, 2)))
        moments += [now - minute * 60 + pick.uniform(0, 50) for _ in range(files)]
    for number, moment in enumerate(sorted(moments)):
        yield _job(pick, number, moment)


def _job(pick: random.Random, number: int, moment: float) -> Job:
    millis = f"{int(moment * 1000):012x}"
    collection, name = pick.choice(
        (
            ("invoices", f"2026-{1 + number % 10:02} Invoice {4000 + number}.pdf"),
            ("letters", f"Letter {number}.docx"),
            ("minutes", f"Working group {number % 90}.md"),
            ("papers", f"Reading {number}.pdf"),
        )
    )
    path, took = f"{collection}/{name}", pick.uniform(0.1, 0.9)
    outcome = pick.choices((Outcome.INDEXED, Outcome.DUPLICATE), (30, 1))[0]
    return Job(
        id=f"{millis[:8]}-{millis[8:]}-7000-8000-{number:012x}",
        zone="default",
        collection=collection,
        path=path.encode(),
        status=Status.DONE,
        size=pick.randrange(8_000, 4_000_000),
        mtime_ns=int(moment * 1e9),
        sha256=f"{pick.getrandbits(256):064x}",
        doc_type=name.rpartition(".")[2],
        s3_key=f"default/{collection}/{number}",
        outcome=outcome,
        attempts=1,
        created_at=moment,
        started_at=moment,
        last_activity=moment + took,
        ended_at=moment + took,
        end_reason=str(outcome),
        version=5,
        data={"area": "processed", "place": path, "chunks": 4},
    )
