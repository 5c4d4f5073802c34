"""Whole months of receipts that are no longer asked for.

A month goes only when it is closed, its jobs are in the journal or were, and none of
its files lies in the zone any more. The anchor keeps the chain verifiable.
"""

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropzone import receipts
from dropzone.receipts import Anchor, Position


@dataclass(slots=True)
class Month:
    """A file of receipts, read to its end."""

    path: Path
    count: int = 0
    until: float = 0.0
    end: Position = field(default_factory=lambda: Position.load(None))
    batches: Counter[str] = field(default_factory=Counter)
    last_batch: str = ""
    kept_because: str = ""

    def record(self, rule: str, now: str) -> dict[str, Any]:
        """Return what is written of it for good before it goes."""
        with self.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "receipts": self.path.name,
            "count": self.count,
            "sha256": sha256,
            "chain_at_end": self.end.chain,
            "rule": rule,
            "removed_at": now,
        }


def closed(
    directory: Path, before: float, lies: Callable[[dict[str, Any]], str]
) -> Iterator[Month]:
    """Yield the closed months whose last receipt is older than ``before``.

    ``lies`` returns why a receipt is still needed; the first month that is needed is
    the last one yielded.

    Raises:
        ZoneError: the receipts do not continue their chain.

    """
    left = receipts.files(directory)[:-1]
    position = Anchor.of(directory).position
    for path in left:
        if path.name <= position.file:
            continue
        month = Month(path)
        for receipt, after in receipts.stream(directory, position):
            if after.file != path.name:
                break
            _note(month, receipt, after)
            month.kept_because = month.kept_because or lies(receipt)
        if month.until >= before or not month.count:
            return
        yield month
        if month.kept_because:
            return
        position = month.end


def anchored(directory: Path, month: Month) -> Anchor:
    """Return the anchor that stands for everything up to the end of this month."""
    former = Anchor.of(directory)
    carried = former.batch_files if former.batch == month.last_batch else 0
    return Anchor(
        month.end,
        receipts=former.receipts + month.count,
        until=max(former.until, month.until),
        batch=month.last_batch,
        batch_files=carried + month.batches[month.last_batch],
    )


def unlink_dropped(directory: Path) -> None:
    """Remove the files that the anchor stands for."""
    last = Anchor.of(directory).position.file
    for path in receipts.files(directory):
        if path.name <= last:
            path.unlink()


def _note(month: Month, receipt: dict[str, Any], after: Position) -> None:
    month.count += 1
    month.end = after
    ended = receipt.get("ended_at") or receipt.get("removed_at")
    if ended:
        moment = dt.datetime.fromisoformat(ended).timestamp()
        month.until = max(month.until, moment)
    if batch := receipt.get("batch"):
        month.batches[batch] += 1
        month.last_batch = batch
