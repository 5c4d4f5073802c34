"""Whether Postgres and the receipts tell the same."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dropzone import queries
from dropzone.sessions.postgres import PostgresSession
from dropzone.text import display
from dropzone.verify.ledger import Ledger, Receipt
from dropzone.verify.objects import Objects
from dropzone.verify.problems import Mend, Problem, Summary

_SQL = queries.load("dropzone", "sql/verify.sql")
_LIMIT = 5000
_REPAIR = "dropzone verify --repair"
_NO_JOB = "00000000-0000-0000-0000-000000000000"


def check_receipts(
    postgres: PostgresSession, receipts: Sequence[Receipt], summary: Summary
) -> None:
    """Look at the deliveries and documents of these receipts."""
    ids = [receipt["job"] for receipt in receipts]
    found = {row["job"]: row for row in postgres.query(_SQL["deliveries_of"], [ids])}
    for receipt in receipts:
        wrong = _wrong_delivery(receipt, found.get(receipt["job"]))
        if wrong:
            job = receipt["job"]
            summary.add(Problem(3, receipt["name"], wrong, _REPAIR, Mend.INDEX, job))


def check_deliveries(
    postgres: PostgresSession,
    zone: str,
    ledger: Ledger,
    under_way: Callable[[str], bool],
    summary: Summary,
) -> None:
    """Look for deliveries that no receipt speaks of, and whose job is not under way."""
    asked = {"zone": zone, "limit": _LIMIT}
    for row in _pages(postgres, "deliveries_after", "job", _NO_JOB, asked):
        known = ledger.has(row["job"]) or ledger.is_dropped(row["job"], row["ended"])
        if not known and not under_way(row["job"]):
            summary.add(
                Problem(
                    2,
                    row["job"],
                    "is delivered in Postgres, and no receipt speaks of it",
                    "dropzone run --once    (finishes it, if it is still under way)",
                    Mend.RESCUE,
                    row["job"],
                )
            )


def check_documents(
    postgres: PostgresSession, objects: Objects, summary: Summary
) -> None:
    """Look at the chunks, vectors and objects of all documents."""
    asked = {"limit": _LIMIT}
    for row in _pages(postgres, "documents_after", "id", 0, asked):
        summary.documents += 1
        if wrong := objects.name(row["s3_key"], row["size"]):
            summary.add(Problem(4, row["s3_key"], wrong, _REPAIR, Mend.NOTHING))
    for row in postgres.query(_SQL["wrong_chunks"], asked):
        told = (
            f"has {row['chunks']} chunks and {row['vectors']} vectors in Postgres; "
            f"{row['chunk_count']} were written"
        )
        summary.add(Problem(3, row["name"], told, _REPAIR, Mend.INDEX, row["job"]))
    for row in postgres.query(_SQL["wrong_superseded"], asked):
        summary.add(
            Problem(
                3,
                row["name"],
                "is shown in searches although its path means another document, "
                "or the reverse",
                _REPAIR,
                Mend.SETTLE,
            )
        )


def settle(postgres: PostgresSession) -> None:
    """Make every document shown exactly when a path means it."""
    postgres.execute(_SQL["settle_superseded"])


def _wrong_delivery(receipt: Receipt, row: Mapping[str, Any] | None) -> str | None:
    if row is None:
        return "has a receipt, and no delivery in Postgres"
    if row["outcome"] != receipt["outcome"]:
        return f"ended as {receipt['outcome']}, and Postgres says {row['outcome']}"
    if receipt["outcome"] == "failed":
        return None
    if row["document_id"] is None:
        return "has a receipt, and its document is gone from Postgres"
    if (row["sha256"], row["collection"]) != (receipt["sha256"], receipt["collection"]):
        return f"belongs to another document in Postgres ({display(row['sha256'])})"
    return None


def _pages(
    postgres: PostgresSession,
    statement: str,
    key: str,
    start: object,
    asked: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    after = start
    while rows := postgres.query(_SQL[statement], {**asked, "after": after}):
        yield from rows
        after = rows[-1][key]
