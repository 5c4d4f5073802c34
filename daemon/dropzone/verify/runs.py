"""Whether every batch of the receipts is exactly one finished run in MLflow."""

from collections import defaultdict
from typing import TYPE_CHECKING

from dropzone.journal import Journal
from dropzone.sessions.batch_run import BatchRun
from dropzone.verify.ledger import Ledger
from dropzone.verify.problems import Mend, Problem, Summary

if TYPE_CHECKING:
    from dropzone.sessions.mlflow import MlflowSession

_REPAIR = "dropzone verify --repair, with a daemon running afterwards"
_RUNNING = "RUNNING"


class Runs:
    """All runs of ours, read once; several zones may share the store."""

    def __init__(self, mlflow: "MlflowSession") -> None:
        self._mlflow = mlflow
        self._read()

    def _read(self) -> None:
        self._by_batch: dict[str, list[BatchRun]] = defaultdict(list)
        for run in self._mlflow.batch_runs():
            self._by_batch[run.batch_id].append(run)

    def check(self, ledger: Ledger, journal: Journal, summary: Summary) -> None:
        """Hold the batches of a zone's receipts against the runs."""
        is_fresh = False
        for batch_id, files in sorted(ledger.batches.items()):
            batch = journal.batch(batch_id)
            if batch is not None and batch.state != "logged":
                # Still open, or waiting for MLflow: the tracker's to do.
                continue
            if not is_fresh and _wrong(self._by_batch.get(batch_id, []), files):
                # A daemon may have logged it since the runs were read.
                self._read()
                is_fresh = True
            runs = self._by_batch.get(batch_id, [])
            summary.runs += len(runs)
            if wrong := _wrong(runs, files):
                summary.add(Problem(5, batch_id, wrong, _REPAIR, Mend.RUN))


def _wrong(runs: list[BatchRun], files: int) -> str | None:
    if not runs:
        return f"has no run in MLflow ({files} files)"
    if len(runs) > 1:
        return f"has {len(runs)} runs in MLflow instead of one"
    (run,) = runs
    if run.status == _RUNNING:
        return f"has a run that is still RUNNING ({run.run_id})"
    if run.files != files:
        return f"has a run of {run.files} files; its receipts are {files}"
    return None
