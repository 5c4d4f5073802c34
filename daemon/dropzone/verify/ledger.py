"""The receipts as the thing that everything else is held against.

A zone may have millions, so they are streamed; only ids and short hashes are kept.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from dropzone import receipts, removals
from dropzone.models import time_of

T = TypeVar("T")
Receipt = dict[str, Any]

TOGETHER = 500


@dataclass(slots=True)
class Ledger:
    """What is kept of the receipts of a zone while they stream by."""

    jobs: set[bytes] = field(default_factory=set)
    twice: list[str] = field(default_factory=list)
    places: set[bytes] = field(default_factory=set)
    batches: Counter[str] = field(default_factory=Counter)
    #: Jobs whose files retention removed.
    removed: set[bytes] = field(default_factory=set)
    #: Receipts up to this time were dropped by retention.
    until: float = 0.0

    @classmethod
    def of(cls, zone: Path) -> "Ledger":
        """Return a ledger that knows what retention removed from this zone.

        Raises:
            ZoneError: what retention wrote does not continue its chain.

        """
        made = cls()
        anchor = receipts.Anchor.of(zone / "state" / "receipts")
        made.until = anchor.until
        if anchor.batch:
            made.batches[anchor.batch] = anchor.batch_files
        for job_id in removals.removed_jobs(zone):
            made.removed.add(UUID(job_id).bytes)
        return made

    def note(self, receipt: Receipt) -> None:
        job = UUID(receipt["job"]).bytes
        if job in self.jobs:
            self.twice.append(receipt["job"])
        self.jobs.add(job)
        self.places.add(place_hash(receipt["area"], receipt["place"]))
        self.batches[receipt["batch"]] += 1

    def has(self, job_id: str) -> bool:
        return UUID(job_id).bytes in self.jobs

    def was_removed(self, job_id: str) -> bool:
        return UUID(job_id).bytes in self.removed

    def is_dropped(self, job_id: str, ended: float) -> bool:
        """Tell whether the receipt of this job may be among the dropped ones."""
        # Either may be of a clock that is not ours, or was set.
        return min(time_of(job_id), ended) <= self.until


def stream(zone: Path, ledger: Ledger) -> Iterator[Sequence[Receipt]]:
    """Yield the receipts of a zone in groups, each noted in the ledger.

    Raises:
        ZoneError: they do not continue their chain.

    """
    found = (receipt for receipt, _ in receipts.stream(zone / "state" / "receipts"))
    for group in grouped(found, TOGETHER):
        for receipt in group:
            ledger.note(receipt)
        yield group


def place_hash(area: str, place: str) -> bytes:
    """Return a short hash of where a file lies; ``place`` is percent-encoded."""
    return short(f"{area}/{place}")


def short(text: str) -> bytes:
    """Return 10 bytes that stand for a key or a place among many millions."""
    return hashlib.blake2b(
        text.encode("utf-8", "surrogateescape"), digest_size=10
    ).digest()


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
