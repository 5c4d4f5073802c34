"""One pass of retention over a zone, in small groups; a dry run acts on nothing."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dropzone import disk, heartbeats, removals
from dropzone.care import found, months
from dropzone.care.leaving import Changed, Leaving, reason_of
from dropzone.care.proof import Candidate, Proven, Prover, Unproven
from dropzone.care.rules import Kept, Left, Report, Rules, Sizes, due
from dropzone.errors import Stopping
from dropzone.journal import Journal
from dropzone.models import Job, Outcome, Status
from dropzone.places import unquoted
from dropzone.receipts import Position, Receipts
from dropzone.sessions import SessionPool

_PAGE = 500
_TOGETHER = 50
#: Between two groups: others are to have the disk and the services too.
_BREATH = 0.05
_RECEIPTS_MARK = "receipts"


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone that is cleaned: its name, its folder, and its open journal."""

    name: str
    root: Path
    journal: Journal


class Cleaning:
    """What may go goes, once it is proven; what crashes leave is settled first."""

    def __init__(
        self,
        zone: Zone,
        rules: Rules,
        pool: SessionPool,
        *,
        stop: threading.Event,
        sync: Callable[[], None] = lambda: None,
    ) -> None:
        """``sync`` makes durable what S3 holds, where S3 itself does not."""
        self._zone = zone
        self._rules = rules
        self._journal = zone.journal
        self._stop = stop
        self._sync = sync
        self._leaving = Leaving(zone.root)
        self._prover = Prover(
            zone.journal,
            self._leaving,
            pool.s3,
            pool.postgres,
            failed_last_copy=rules.failed_last_copy,
        )

    def run(self, *, dry_run: bool = False) -> Report:
        """Return what went and what stays.

        Raises:
            ServiceUnavailable: S3, Postgres or the disk cannot answer now.
            ZoneHeld: another process is cleaning the zone.
            Stopping: the program stops; everything is whole as it is.

        """
        report = Report(self._zone.name, dry_run)
        if dry_run:
            self._pass(report, None)
            return report
        with disk.faults(), removals.opened(self._zone.root) as records:
            self._settle(records)
            self._pass(report, records)
        return report

    def _pass(self, report: Report, records: Receipts | None) -> None:
        self._processed(report, records)
        self._failed(report, records)
        self._months(report, records)
        self._rows(report)

    # What a crash left

    def _settle(self, records: Receipts) -> None:
        """Bring folders and journal to what the records say.

        A file whose record is written and that is still there stays: it comes up
        again, and is proven again.
        """
        for job_id in self._leaving.half_way():
            job = self._journal.get(job_id)
            if job is not None:
                place = unquoted(str(job.data["place"]))
                self._leaving.put_back(str(job.data["area"]), place, job_id)
        mark = self._journal.marks().get(removals.MARK)
        known = Position.load(mark)
        gone: dict[str, str] = {}
        for record in records.recover(known):
            if "job" not in record:
                continue
            place = unquoted(record["place"])
            # The mark is there before the first record: without one the journal was
            # made anew, and what is recorded is long done.
            if mark is None or not self._leaving.is_there(record["area"], place):
                gone[record["job"]] = record["rule"]
            if len(gone) == _PAGE:
                self._journal.note_removed(gone, {})
                gone = {}
        if gone or mark is None or records.end != known:
            self._journal.note_removed(gone, {removals.MARK: records.end.dump()})

    # Files

    def _processed(self, report: Report, records: Receipts | None) -> None:
        rules = self._rules
        limits = (rules.processed_seconds, rules.processed_bytes, rules.free_bytes)
        if limits == (None, None, None):
            return
        row = self._journal.rows("kept_bytes")[0]
        sizes = Sizes(row["bytes"], found.free(self._zone.root))
        self._all(
            Status.DONE, lambda job: due(job, rules, sizes, time.time()), sizes,
            report, records,
        )  # fmt: skip

    def _failed(self, report: Report, records: Receipts | None) -> None:
        age = self._rules.failed_seconds
        if age is None:
            return

        def by_age(job: Job) -> str | None:
            old = time.time() - (job.ended_at or time.time()) >= age
            return "retention.failed_days" if old else None

        self._all(Status.FAILED, by_age, Sizes(0, 0), report, records)

    def _all(
        self,
        status: Status,
        rule: Callable[[Job], str | None],
        sizes: Sizes,
        report: Report,
        records: Receipts | None,
    ) -> None:
        """Go through the ended jobs, the longest ended first, while some are due."""
        after: Job | None = None
        while page := self._journal.kept(status, after, _PAGE):
            candidates = []
            for job in page:
                if (by := rule(job)) is None:
                    break
                candidates.append(Candidate(job, by))
                sizes.without(job.size)
            if not candidates:
                return
            jobs = [candidate.job for candidate in candidates]
            told = found.receipts_of(self._zone.root, jobs)
            for start in range(0, len(candidates), _TOGETHER):
                group = candidates[start : start + _TOGETHER]
                for kept in self._group(group, told, report, records):
                    # It makes no room: the next one has to.
                    sizes.without(-kept.candidate.job.size)
                self._breathe()
            after = jobs[-1]

    def _group(
        self,
        group: Sequence[Candidate],
        told: dict[str, dict[str, Any]],
        report: Report,
        records: Receipts | None,
    ) -> list[Unproven]:
        """Remove what can be proven of a group; return what stays."""
        verdicts = self._prover.prove(group, told)
        proven = [one for one in verdicts if isinstance(one, Proven)]
        kept = [one for one in verdicts if isinstance(one, Unproven)]
        if records is not None:
            kept += self._remove(proven, records)
            still = {one.candidate.job.id for one in kept}
            proven = [one for one in proven if one.candidate.job.id not in still]
        for one in proven:
            # What somebody took away before us was not removed by us.
            if one.seen is not None:
                report.goes(_left(one))
        for bad in kept:
            candidate = bad.candidate
            path = _path(candidate)
            report.stays(Kept("file", path, bad.reason, candidate.job.id))
        return kept

    def _remove(self, proven: Sequence[Proven], records: Receipts) -> list[Unproven]:
        """Record, remove, journal: in this order. Return what changed meanwhile."""
        there = [one for one in proven if one.seen is not None]
        kept = []
        if there:
            self._sync()
            records.append([_record(one) for one in there], removals.month())
        rules = {one.candidate.job.id: "" for one in proven if one.seen is None}
        for one in there:
            try:
                self._remove_one(one)
            except Changed as changed:
                kept.append(Unproven(one.candidate, str(changed)))
            else:
                rules[one.candidate.job.id] = one.candidate.rule
        self._journal.note_removed(
            {job: rule or "a person" for job, rule in rules.items()},
            {removals.MARK: records.end.dump()},
        )
        return kept

    def _remove_one(self, one: Proven) -> None:
        job, area, place = one.candidate.job, one.candidate.area, one.candidate.place
        if one.seen is None:
            return
        self._leaving.remove(area, place, job.id, one.seen.signature)
        if job.outcome is Outcome.FAILED:
            named = job.data.get("reason_file")
            reason = os.fsencode(named) if named else reason_of(place, job.id)
            self._leaving.remove_reason(area, reason, job.id)
        self._leaving.drop_empty(area, place)

    # Receipts and rows

    def _months(self, report: Report, records: Receipts | None) -> None:
        age = self._rules.receipts_seconds
        if age is None:
            return
        root, rule = self._zone.root, "retention.receipts_days"
        directory = root / "state" / "receipts"
        known = Position.load(self._journal.marks().get(_RECEIPTS_MARK)).file
        if records is not None:
            months.unlink_dropped(directory)
        for month in months.closed(directory, time.time() - age, self._lies):
            name = month.path.name
            path = f"state/receipts/{name}".encode()
            waits = "" if name < known else "the journal does not know all of it yet"
            if reason := month.kept_because or waits:
                report.stays(Kept("receipts", path, reason))
                return
            size = month.path.stat().st_size
            if records is not None:
                told = month.record(rule, removals.now())
                records.append([told], removals.month())
                months.anchored(directory, month).save(directory)
                months.unlink_dropped(directory)
            report.goes(Left("receipts", path, size, rule))
            self._breathe()

    def _lies(self, receipt: dict[str, Any]) -> str:
        """Return why this receipt is needed, or an empty text."""
        if self._stop.is_set():
            raise Stopping("The program is stopping.")
        job = self._journal.get(receipt["job"])
        if job is not None and self._lies_in_zone(job):
            return f"{job.data.get('area')}/ still holds files of that month"
        batch = self._journal.batch(receipt["batch"])
        if batch is not None and batch.state != "logged":
            return "MLflow runs of that month are not logged yet"
        return ""

    def _lies_in_zone(self, job: Job) -> bool:
        if job.removed_at is not None or job.end_reason == "retried":
            return False
        place = unquoted(str(job.data.get("place", "")))
        return self._leaving.is_there(str(job.data.get("area", "")), place)

    def _rows(self, report: Report) -> None:
        age = self._rules.journal_seconds
        if age is None:
            return
        before = time.time() - age
        for page in self._pages(before):
            droppable = [job for job in page if self._is_droppable(job)]
            if droppable and not report.dry_run:
                self._journal.drop(droppable)
                self._journal.shrink()
            report.rows += len(droppable)
            self._breathe()

    def _pages(self, before: float) -> Iterator[list[Job]]:
        after = ""
        while page := self._journal.ended_before(before, after, _PAGE):
            yield page
            after = page[-1].id

    def _is_droppable(self, job: Job) -> bool:
        """Tell whether nobody needs the row: the file is gone, and its run is logged.

        Retention finds files by their rows, and so does ``retry``.
        """
        if self._lies_in_zone(job):
            return False
        batch = self._journal.batch(job.batch_id or "")
        return batch is not None and batch.state == "logged"

    def _breathe(self) -> None:
        heartbeats.beat()
        if self._stop.wait(_BREATH):
            raise Stopping("The program is stopping.")


def _path(candidate: Candidate) -> bytes:
    return candidate.area.encode() + b"/" + candidate.place


def _left(one: Proven) -> Left:
    job = one.candidate.job
    return Left("file", _path(one.candidate), job.size, one.candidate.rule, job.id)


def _record(one: Proven) -> dict[str, Any]:
    job = one.candidate.job
    return removals.record(
        job=job.id,
        zone=job.zone,
        area=one.candidate.area,
        place=quote(one.candidate.place),
        size=job.size,
        sha256=one.seen.digest.sha256 if one.seen else None,
        s3_key=job.s3_key,
        s3_confirmed_by=one.stored,
        document_id=job.data.get("document_id"),
        batch=job.batch_id,
        rule=one.candidate.rule,
    )
