"""The release step: receipt first, then the rename to ``processed/`` or ``failed/``."""

import datetime as dt
import json
import os
import threading
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dropzone import describing, log, places, tries
from dropzone.errors import ServiceUnavailable
from dropzone.journal import Journal, move
from dropzone.measures import Measures, ZoneMeasures
from dropzone.models import Job, Outcome, Status
from dropzone.receipts import Receipts
from dropzone.text import display
from dropzone.track import Batches
from dropzone.verdict import Fail
from dropzone.zones import Move, ZoneFolders

REASON_SUFFIX = b".error.json"


@dataclass(frozen=True, slots=True)
class Ending:
    """A job that is about to end; ``failure`` says why it fails, if it does."""

    job: Job
    failure: Fail | None = None


class Release:
    """Ends jobs of one zone; safe to share between threads."""

    def __init__(
        self,
        folders: ZoneFolders,
        receipts: Receipts,
        journal: Journal,
        batches: Batches,
        measures: ZoneMeasures | None = None,
    ) -> None:
        self._folders = folders
        self._receipts = receipts
        self._journal = journal
        self._batches = batches
        self._measures = measures or Measures().zone("")
        self._lock = threading.Lock()
        self._log = log.get("release")
        #: Receipts that are written, of jobs whose rename or journal entry is not.
        self._written: dict[str, dict[str, Any]] = {}

    def recover(self, receipts: Sequence[dict[str, Any]]) -> None:
        """Take over the receipts behind the journal's mark, found at start."""
        self._written.update({receipt["job"]: receipt for receipt in receipts})

    def receipt_of(self, job_id: str) -> dict[str, Any] | None:
        """Return the receipt of a job whose ending was interrupted."""
        return self._written.get(job_id)

    def end(self, endings: Sequence[Ending]) -> list[Job]:
        """Write receipts, move the files to their ends, and journal it. May run twice.

        Raises:
            ServiceUnavailable: the disk is full or failing (``disk``).

        """
        with self._lock, self._batches.lock:
            try:
                jobs = self._end(endings)
            finally:
                self._batches.unsettled = len(self._written)
        for job in jobs:
            self._measures.ended(job)
            self._tell(job)
        return jobs

    def _end(self, endings: Sequence[Ending]) -> list[Job]:
        began = time.time()
        self._write_receipts(endings, self._batches.current())
        receipts = [self._written[ending.job.id] for ending in endings]
        moves = [
            Move(e.job.id, e.job.path, *_place_in(receipt))
            for e, receipt in zip(endings, receipts, strict=True)
        ]
        placed = self._folders.place(moves)
        jobs = [
            _ended(ending, receipt, place, began)
            for ending, receipt, place in zip(endings, receipts, placed, strict=True)
        ]
        ids = [job.id for job in jobs]
        self._journal.save_ended(jobs, self._marks(ids))
        for job_id in ids:
            del self._written[job_id]
        self._batches.ended(len(jobs))
        return jobs

    def _marks(self, ended: Sequence[str]) -> dict[str, str]:
        # The mark may not pass a receipt whose job is not in the journal yet.
        if self._written.keys() - set(ended):
            return {}
        return {"receipts": self._receipts.end.dump()}

    def _write_receipts(self, endings: Sequence[Ending], batch: str) -> None:
        fresh: list[dict[str, Any]] = []
        avoid: set[bytes] = set()
        for ending in endings:
            if ending.job.id in self._written:
                continue
            area = "failed" if ending.failure else "processed"
            job = ending.job
            place = self._folders.free_place(area, job.path, job.id, avoid=avoid)
            avoid.add(place)
            receipt = _receipt(ending, area, place, batch)
            if ending.failure is not None:
                reason = self._write_reason(place, receipt, ending.failure, avoid)
                receipt["reason_file"] = os.fsdecode(reason)
                avoid.add(reason)
            fresh.append(receipt)
        if fresh:
            month = f"{dt.datetime.now(dt.UTC):%Y-%m}"
            self._receipts.append(fresh, month)
            self._written.update({receipt["job"]: receipt for receipt in fresh})

    def _write_reason(
        self, place: bytes, receipt: dict[str, Any], why: Fail, avoid: Container[bytes]
    ) -> bytes:
        """Write why a file failed beside its place, and return where."""
        job_id = receipt["job"]
        content = _reason(receipt, why)
        for name in (place, places.with_mark(place, job_id)):
            path = places.beside(name, REASON_SUFFIX, job_id)
            # Somebody's payload may be called like a reason.
            if path not in avoid and self._folders.write_aside(
                "failed", path, content, job_id
            ):
                return path
        raise ServiceUnavailable(
            "disk", f"There is no free name for the reason of {display(place)}."
        )

    def _tell(self, job: Job) -> None:
        event = self._log.bind(
            zone=job.zone,
            path=display(job.path),
            outcome=str(job.outcome),
            size=job.size,
            chunks=job.data.get("chunks", 0),
            seconds=round((job.ended_at or 0) - job.created_at, 3),
            job=job.id,
        )
        if job.outcome is Outcome.FAILED:
            event.error("failed", step=job.error_step, reason=job.end_reason)
        else:
            event.info("done")


def _receipt(ending: Ending, area: str, place: bytes, batch: str) -> dict[str, Any]:
    job = ending.job
    outcome = Outcome.FAILED if ending.failure else job.outcome
    vain = tries.of(job)
    return {
        "job": job.id,
        "zone": job.zone,
        "collection": job.collection,
        "name": display(job.name),
        "path": quote(job.path),
        "area": area,
        "place": quote(place),
        "outcome": str(outcome),
        "size": job.size,
        "sha256": job.sha256,
        "doc_type": job.doc_type,
        "s3_key": job.s3_key,
        "document_id": job.data.get("document_id"),
        "chunks": job.data.get("chunks", 0),
        "notes": list(job.data.get("notes", ())),
        "attempts": job.attempts,
        "retry_of": job.metadata.get("retry_of"),
        "step": job.error_step if ending.failure else None,
        "error": job.error_class if ending.failure else None,
        "reason": ending.failure.reason if ending.failure else None,
        "batch": batch,
        "started_at": _iso(job.created_at),
        "ended_at": _iso(time.time()),
        # Only where there are any; readers of the chain take any key.
        **({"tries": vain} if vain else {}),
        **({"given": given} if (given := describing.given_of(job)) else {}),
    }


def _reason(receipt: dict[str, Any], why: Fail) -> bytes:
    told = {
        "file": receipt["name"],
        "step": receipt["step"],
        "reason": why.reason,
        "what_to_do": why.hint,
        "attempts": receipt["attempts"],
        "job": receipt["job"],
        "error": receipt["error"],
        "failed_at": receipt["ended_at"],
        "sha256": receipt["sha256"],
        "s3_key": receipt["s3_key"],
    }
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "replace")


def _place_in(receipt: dict[str, Any]) -> tuple[str, bytes]:
    return receipt["area"], places.unquoted(receipt["place"])


def _ended(ending: Ending, receipt: dict[str, Any], place: bytes, began: float) -> Job:
    now = time.time()
    job = ending.job
    times = tries.timed(job, "release", began, now)
    failed = receipt["outcome"] == Outcome.FAILED
    data = {**job.data, "area": receipt["area"], "place": quote(place), **times}
    if reason := receipt.get("reason_file"):
        data["reason_file"] = reason
    if ending.failure is not None:
        data["what_to_do"] = ending.failure.hint
    return move(
        job,
        Status.FAILED if failed else Status.DONE,
        outcome=Outcome(receipt["outcome"]),
        end_reason=receipt["reason"] or receipt["outcome"],
        ended_at=now,
        batch_id=receipt["batch"],
        retry_at=None,
        data=data,
    )


def _iso(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")
