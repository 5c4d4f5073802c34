"""What the rows of documents and deliveries hold, as Postgres takes it. Pure."""

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from dropzone import text
from dropzone.models import (
    DocumentKey,
    DocumentWrite,
    IndexOutcome,
    IndexRequest,
    Job,
    Outcome,
)
from dropzone.sessions.postgres import jsonb


def of_request(request: IndexRequest) -> dict[str, Any]:
    return {
        "job_id": request.job_id,
        "zone": request.zone,
        "collection": request.collection,
        "path": request.path,
        "name": text.display(os.path.basename(request.path)),
        "sha256": request.sha256,
        "s3_key": request.s3_key,
        "size": request.size,
    }


def of_write(write: DocumentWrite) -> dict[str, Any]:
    # What persons say has a key of its own; a document's may not pretend to be it.
    found = {k: v for k, v in (write.metadata or {}).items() if k != "given"}
    return of_request(write.request) | {
        "doc_type": write.request.doc_type,
        "status": write.status,
        "metadata": jsonb(storable(found)),
        "notes": [text.clean(note) for note in write.notes],
        "chunk_count": len(write.chunks),
    }


def of_failure(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "zone": job.zone,
        "collection": job.collection,
        "document_id": None,
        "path": job.path,
        "name": text.display(job.name),
        "sha256": job.sha256,
        "s3_key": job.s3_key,
        "size": job.size,
        "outcome": Outcome.FAILED,
        "batch_id": job.batch_id,
    }


def columns(pairs: Iterable[DocumentKey]) -> dict[str, list[str]]:
    keys = list(pairs)
    return {
        "collections": [collection for collection, _ in keys],
        "hashes": [sha256 for _, sha256 in keys],
    }


def outcome_of(row: Mapping[str, Any]) -> IndexOutcome:
    return IndexOutcome(
        row["job_id"],
        Outcome(row["outcome"]),
        row["document_id"],
        row["chunks"],
        tuple(row["notes"]),
    )


def storable(value: object) -> Any:
    """Return ``value`` as Postgres' jsonb takes it: no NUL, no lone surrogate, no NaN.

    Anything that JSON does not know becomes its text.
    """
    if isinstance(value, Mapping):
        return {text.clean(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [storable(item) for item in value]
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return text.display(value) if isinstance(value, bytes) else text.clean(str(value))
