"""Documents in Postgres: what the index step writes, in one transaction for a batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dropzone import document_rows, queries
from dropzone.errors import DocumentRejected, SourceChanged
from dropzone.models import DocumentKey, DocumentWrite, IndexOutcome, Job, Outcome
from dropzone.sessions.postgres import (
    PostgresSession,
    copy_rows,
    half_vectors,
    jsonb,
)
from dropzone.sessions.postgres_connection import Connection

SQL = queries.load("dropzone", "sql/documents.sql")


@dataclass(frozen=True, slots=True)
class ExistingDocument:
    """A document that Postgres holds already."""

    id: int
    status: str
    doc_type: str
    chunk_count: int


class Documents:
    """The documents of one database, written with the vectors of one model.

    Every method raises ServiceUnavailable while Postgres cannot be used.
    """

    def __init__(
        self,
        postgres: PostgresSession,
        *,
        model_name: str,
        model_fingerprint: str,
        dims: int,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self._postgres = postgres
        self._model = {
            "name": model_name,
            "fingerprint": model_fingerprint,
            "dims": dims,
            "params": dict(params or {}),
        }
        self._dims = dims

    def find(self, collection: str, sha256: str) -> ExistingDocument | None:
        return self.find_many([(collection, sha256)]).get((collection, sha256))

    def find_many(
        self, pairs: Iterable[DocumentKey]
    ) -> dict[DocumentKey, ExistingDocument]:
        """Return those of the (collection, sha256) ``pairs`` that exist."""
        rows = self._postgres.query(SQL["find"], document_rows.columns(pairs))
        return {
            (row["collection"], row["sha256"]): ExistingDocument(
                row["id"], row["status"], row["doc_type"], row["chunk_count"]
            )
            for row in rows
        }

    def write(self, batch: Sequence[DocumentWrite]) -> list[IndexOutcome]:
        """Commit ``batch`` and return an outcome for each write, in its order.

        Writing a job again changes nothing and returns its first outcome. Content
        the collection has already is a duplicate, unless only now it has text. When
        Postgres refuses the data of one document, that one's outcome carries the
        DocumentRejected and the others are committed.
        """
        if any(write.chunks and write.dims != self._dims for write in batch):
            raise ValueError(f"this model makes vectors of {self._dims} numbers")
        try:
            return self._postgres.run(
                lambda connection: _write(connection, self._model, batch)
            )
        except DocumentRejected as error:
            if len(batch) == 1:
                return [IndexOutcome(batch[0].request.job_id, error=error)]
            return [outcome for write in batch for outcome in self.write([write])]

    def restore(self, write: DocumentWrite, outcome: Outcome) -> None:
        """Write a document anew, chunks and delivery included; for repairs.

        ``outcome`` is the one that the job's receipt names.
        """

        def replace(connection: Connection) -> None:
            replaced = _lock_paths(connection, [write])
            _add_collections(connection, [write.key[0]])
            added = _add_documents(connection, {write.key: write})
            found = _lock_documents(connection, {write.key: write}, replaced)
            placed = _Placed(write, found[write.key][0], outcome)
            if not added:
                _upgrade(connection, [placed])
            _fill(connection, _model_id(connection, self._model), [placed])
            _give(connection, [placed])
            connection.execute(SQL["drop_delivery"], [write.request.job_id])
            _deliver(connection, [placed], replaced)

        self._postgres.run(replace)

    def delivery_outcome(self, job_ids: Iterable[str]) -> dict[str, IndexOutcome]:
        """Return what is committed for those of the jobs that ended here."""
        rows = self._postgres.query(SQL["past_deliveries"], [list(job_ids)])
        return {row["job_id"]: document_rows.outcome_of(row) for row in rows}

    def record_failures(self, jobs: Sequence[Job]) -> None:
        """Note that these jobs failed; one that succeeded before stays as it is."""
        rows = [document_rows.of_failure(job) for job in jobs]

        def insert(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.executemany(SQL["add_delivery"], rows)

        self._postgres.run(insert)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where a write went: the document, and whether its chunks are to be stored."""

    write: DocumentWrite
    document_id: int
    outcome: Outcome


def _write(
    connection: Connection, model: Mapping[str, Any], batch: Sequence[DocumentWrite]
) -> list[IndexOutcome]:
    ids = [write.request.job_id for write in batch]
    past = _past(connection, ids)
    fresh = [
        write
        for write in batch
        if write.request.job_id not in past
        or past[write.request.job_id].outcome is Outcome.FAILED
    ]
    if fresh:
        _commit(connection, model, fresh)
        # Read back, since another worker may have ended the same job just now.
        past = _past(connection, ids)
    return [past.get(job_id) or _vanished(job_id) for job_id in ids]


def _vanished(job_id: str) -> IndexOutcome:
    told = "The document that held this content already was removed meanwhile."
    return IndexOutcome(job_id, error=SourceChanged(told))


def _commit(
    connection: Connection, model: Mapping[str, Any], batch: Sequence[DocumentWrite]
) -> None:
    # Rows are locked in one order everywhere: paths, then documents, each sorted.
    # What still deadlocks (it needs two new paths) is run again by the session.
    replaced = _lock_paths(connection, batch)
    owners: dict[DocumentKey, DocumentWrite] = {}
    for write in sorted(batch, key=lambda write: write.known):
        owners.setdefault(write.key, write)
    _add_collections(connection, {collection for collection, _ in owners})
    added = _add_documents(connection, owners)
    existing = _lock_documents(connection, owners, replaced)
    placed = [
        _place(write, owners, added, existing)
        for write in batch
        if write.key in existing
    ]
    full = [place for place in placed if place.outcome is not Outcome.DUPLICATE]
    _upgrade(connection, [p for p in full if p.write.key not in added])
    _fill(connection, _model_id(connection, model), full)
    _give(connection, placed)
    _deliver(connection, placed, replaced)


def _past(connection: Connection, job_ids: Sequence[str]) -> dict[str, IndexOutcome]:
    rows = connection.execute(SQL["past_deliveries"], [job_ids])
    return {row["job_id"]: document_rows.outcome_of(row) for row in rows}


def _lock_paths(connection: Connection, batch: Sequence[DocumentWrite]) -> set[int]:
    """Lock the paths of ``batch``; return the documents they mean until now."""
    requests = sorted(
        (write.request for write in batch), key=lambda r: (r.zone, r.path)
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            SQL["add_path"], [document_rows.of_request(r) for r in requests]
        )
    rows = connection.execute(
        SQL["lock_paths"],
        {"zones": [r.zone for r in requests], "paths": [r.path for r in requests]},
    )
    return {row["document_id"] for row in rows if row["document_id"] is not None}


def _add_collections(connection: Connection, names: Iterable[str]) -> None:
    connection.execute(SQL["add_collections"], [list(names)])


def _add_documents(
    connection: Connection, owners: Mapping[DocumentKey, DocumentWrite]
) -> set[DocumentKey]:
    """Insert what is not there; return the keys of what was."""
    keys = sorted(key for key, write in owners.items() if not write.known)
    if not keys:
        return set()
    with connection.cursor() as cursor:
        cursor.executemany(
            SQL["add_document"],
            [document_rows.of_write(owners[key]) for key in keys],
            returning=True,
        )
        return {
            key
            for key, result in zip(keys, cursor.results(), strict=True)
            if result.rowcount
        }


def _lock_documents(
    connection: Connection,
    owners: Mapping[DocumentKey, DocumentWrite],
    others: set[int],
) -> dict[DocumentKey, tuple[int, str]]:
    """Lock the documents of the batch and ``others``; return ids and statuses."""
    rows = connection.execute(
        SQL["lock_documents"], {**document_rows.columns(owners), "ids": list(others)}
    )
    return {
        (row["collection"], row["sha256"]): (row["id"], row["status"]) for row in rows
    }


def _place(
    write: DocumentWrite,
    owners: Mapping[DocumentKey, DocumentWrite],
    added: set[DocumentKey],
    existing: Mapping[DocumentKey, tuple[int, str]],
) -> _Placed:
    document_id, status = existing[write.key]
    new = write.key in added or (write.status == "indexed" and status != "indexed")
    mine = owners[write.key] is write
    outcome = Outcome(write.status) if new and mine else Outcome.DUPLICATE
    return _Placed(write, document_id, outcome)


def _upgrade(connection: Connection, placed: Sequence[_Placed]) -> None:
    if not placed:
        return
    rows = [
        document_rows.of_write(place.write) | {"id": place.document_id}
        for place in placed
    ]
    with connection.cursor() as cursor:
        cursor.executemany(SQL["upgrade_document"], rows)
    connection.execute(SQL["drop_chunks"], [[p.document_id for p in placed]])


def _fill(connection: Connection, model_id: int, placed: Sequence[_Placed]) -> None:
    copy_rows(
        connection,
        SQL["copy_chunks"],
        ["int8", "int4", "text", "int4", "text", "int4", "int4"],
        (
            (p.document_id, c.seq, c.text, c.page, c.heading, c.start, c.end)
            for p in placed
            for c in p.write.chunks
        ),
    )
    copy_rows(
        connection,
        SQL["copy_embeddings"],
        ["int8", "int4", "int8", "halfvec"],
        (
            (p.document_id, chunk.seq, model_id, vector)
            for p in placed
            if p.write.chunks
            for chunk, vector in zip(
                p.write.chunks, half_vectors(p.write.vectors, p.write.dims), strict=True
            )
        ),
    )


def _give(connection: Connection, placed: Sequence[_Placed]) -> None:
    """Add what persons said of these drops; of two the later one holds."""
    rows = [
        {
            "id": place.document_id,
            "given": jsonb(document_rows.storable(place.write.request.given)),
        }
        for place in placed
        if place.write.request.given
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(SQL["give"], rows)


def _deliver(
    connection: Connection, placed: Sequence[_Placed], replaced: set[int]
) -> None:
    rows = [
        document_rows.of_request(place.write.request)
        | {"document_id": place.document_id, "outcome": place.outcome, "batch_id": None}
        for place in placed
    ]
    with connection.cursor() as cursor:
        cursor.executemany(SQL["take_path"], rows)
        # A new document whose path was taken by a younger job is superseded at once.
        touched = replaced | {place.document_id for place in placed}
        cursor.execute(SQL["settle_superseded"], [list(touched)])
        cursor.executemany(SQL["add_delivery"], rows)


def _model_id(connection: Connection, model: Mapping[str, Any]) -> int:
    # Looked up each time: a database restored under us may have lost the row.
    found = connection.execute(SQL["get_model"], model).fetchone()
    if found is None:
        row = {**model, "params": jsonb(model["params"])}
        connection.execute(SQL["add_model"], row)
        found = connection.execute(SQL["get_model"], model).fetchone()
    if found is None:
        raise RuntimeError("the embedding model could not be registered")
    return int(found["id"])
