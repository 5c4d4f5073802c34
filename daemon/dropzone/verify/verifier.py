"""Checks the invariants of a zone from outside; see docs/architecture.md."""

import time
from collections.abc import Callable

from dropzone import zone_opening
from dropzone.errors import ZoneError
from dropzone.journal import Journal
from dropzone.models import ENDED
from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone
from dropzone.verify import database, places
from dropzone.verify.ledger import Ledger, stream
from dropzone.verify.objects import Objects
from dropzone.verify.problems import Mend, Problem, Summary
from dropzone.verify.runs import Runs

_JOURNAL_PAGE = 5000


class Verifier:
    """Reads only. A daemon may go on meanwhile: what it does now is left out."""

    def __init__(self, settings: Settings, pool: SessionPool, *, deep: bool) -> None:
        """``deep`` also reads every file and object and compares its hash."""
        self._settings = settings
        self._pool = pool
        self._deep = deep

    def check(
        self, progress: Callable[[int], None] = lambda _done: None
    ) -> list[Summary]:
        """Return what was found in each zone; ``progress`` gets receipts done so far.

        Raises:
            ServiceUnavailable: Postgres, S3 or MLflow does not answer.
            ZoneError: a zone was never served.

        """
        started = time.time()
        self._pool.postgres.migrate()
        objects = Objects(self._pool.s3, self._settings.aws.prefix, started)
        count = objects.list_all()
        runs = Runs(self._pool.mlflow)
        summaries = []
        for zone in self._settings.zones:
            summary = Summary(zone.name, self._deep, objects=count)
            self._check_zone(zone, objects, runs, started, summary, progress)
            summaries.append(summary)
        database.check_documents(self._pool.postgres, objects, summaries[0])
        summaries[0].unnamed_objects = objects.unnamed
        return summaries

    def _check_zone(
        self,
        zone: Zone,
        objects: Objects,
        runs: Runs,
        started: float,
        summary: Summary,
        progress: Callable[[int], None],
    ) -> None:
        journal = Journal(zone.path / "state" / "journal.sqlite", create=False)
        ledger = Ledger()
        try:
            ledger = Ledger.of(zone.path)
        except ZoneError as error:
            summary.add(Problem(2, "state/removals", error.message, error.hint))
        try:
            self._check_receipts(zone, ledger, objects, summary, progress)
            for job in ledger.twice:
                told = "has more than one receipt"
                summary.add(Problem(2, job, told, "report this as a defect", job=job))
            places.check_folders(zone.path, ledger, summary)
            served = zone_opening.holder_of(zone.path) is not None
            places.check_work(zone.path, summary, served=served)

            def under_way(job_id: str) -> bool:
                job = journal.get(job_id)
                return job is not None and (job.ended_at or time.time()) >= started

            database.check_deliveries(
                self._pool.postgres, zone.name, ledger, under_way, summary
            )
            _check_journal(journal, ledger, started, summary)
            runs.check(ledger, journal, summary)
        finally:
            journal.close()

    def _check_receipts(
        self,
        zone: Zone,
        ledger: Ledger,
        objects: Objects,
        summary: Summary,
        progress: Callable[[int], None],
    ) -> None:
        try:
            for group in stream(zone.path, ledger):
                for receipt in group:
                    places.check_receipt(zone.path, receipt, ledger, summary)
                objects.check(group, summary)
                database.check_receipts(self._pool.postgres, group, summary)
                summary.receipts += len(group)
                progress(summary.receipts)
        except ZoneError as error:
            summary.add(Problem(2, "state/receipts", error.message, error.hint))


def _check_journal(
    journal: Journal, ledger: Ledger, before: float, summary: Summary
) -> None:
    """Hold the ended jobs of the journal against the receipts, both ways."""
    known = 0
    for status in ENDED:
        after = ""
        while jobs := journal.with_status(status, _JOURNAL_PAGE, after):
            after = jobs[-1].id
            for job in jobs:
                if ledger.has(job.id):
                    known += 1
                elif ledger.until < (job.ended_at or 0) < before:
                    told = f"is {job.status} in the journal, and has no receipt"
                    ask = "report this as a defect; the file is untouched"
                    summary.add(Problem(2, job.id, told, ask, job=job.id))
    # Rows that retention.journal_days dropped are counted, not listed.
    missing = len(ledger.jobs) - known - journal.rows("dropped")[0]["jobs"]
    if missing > 0 and not summary.under_way:
        told = f"{missing} receipts are not in the journal"
        ask = "dropzone run --once    (writes them into the journal)"
        summary.add(Problem(2, "state/journal.sqlite", told, ask, Mend.RESCUE))
