"""Whether the files are where the receipts say."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from dropzone.places import unquoted
from dropzone.text import display
from dropzone.verify.ledger import Ledger, Receipt, place_hash
from dropzone.verify.problems import Mend, Problem, Summary

_REASON = ".error.json"
_BLOCK = 1 << 20


def check_receipt(
    zone: Path, receipt: Receipt, ledger: Ledger, summary: Summary
) -> None:
    """Look at the file of one receipt.

    One that is gone is counted, not blamed: people archive what was processed. S3 and
    Postgres must hold it then, which is checked for every receipt anyway.
    """
    if ledger.was_removed(receipt["job"]):
        # A later drop may have taken its place since then.
        summary.removed_by_retention += 1
        return
    file = _path_of(zone, receipt)
    try:
        size = os.lstat(file).st_size
    except (FileNotFoundError, NotADirectoryError):
        summary.no_longer_in_processed += receipt["area"] == "processed"
        return
    changed = size != receipt["size"]
    if summary.deep and not changed and receipt["sha256"]:
        changed = _sha256(file) != receipt["sha256"]
    if changed:
        summary.add(
            Problem(
                1,
                display(file),
                "is not what was processed: it was changed afterwards",
                f"fetch it again from S3, key {receipt['s3_key']}, or drop it anew",
                job=receipt["job"],
            )
        )


def check_folders(zone: Path, ledger: Ledger, summary: Summary) -> None:
    """Look for files that no receipt speaks of."""
    for area in ("processed", "failed"):
        for path in _files(zone / area):
            if place_hash(area, quote(path)) in ledger.places:
                continue
            if path.endswith(_REASON.encode()):
                continue
            summary.add(
                Problem(
                    2,
                    f"{area}/{display(path)}",
                    "was not put there by dropzone: no receipt speaks of it",
                    f"mv {area}/... input/    (to have it processed)",
                )
            )


def check_work(zone: Path, summary: Summary, *, served: bool) -> None:
    """Look at what is under way; without a daemon it waits for one."""
    work = zone / "state" / "work"
    found = sorted(os.listdir(work)) if work.is_dir() else []
    summary.under_way = len(found)
    if found and not served:
        summary.add(
            Problem(
                2,
                f"state/work ({len(found)} jobs)",
                "is under way, and no daemon runs to finish it",
                "dropzone run --once",
                Mend.RESCUE,
            )
        )


def _path_of(zone: Path, receipt: Receipt) -> bytes:
    return os.path.join(os.fsencode(zone / receipt["area"]), unquoted(receipt["place"]))


def _files(root: Path) -> Iterator[bytes]:
    base = os.fsencode(root)
    for folder, _, names in os.walk(base):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), base)


def _sha256(file: bytes) -> str:
    digest = hashlib.sha256()
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags), "rb", buffering=0) as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
