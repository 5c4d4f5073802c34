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

from dropzone import receipts

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

    def note(self, receipt: Receipt) -> None:
        job = UUID(receipt["job"]).bytes
        if job in self.jobs:
            self.twice.append(receipt["job"])
        self.jobs.add(job)
        self.places.add(place_hash(receipt["area"], receipt["place"]))
        self.batches[receipt["batch"]] += 1

    def has(self, job_id: str) -> bool:
        return UUID(job_id).bytes in self.jobs


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
