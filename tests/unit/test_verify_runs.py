"""Runs against receipts while a daemon goes on logging."""

from collections import Counter

import pytest

from dropzone.journal import Journal
from dropzone.models import JobIds
from dropzone.sessions.batch_run import BatchRun
from dropzone.verify.ledger import Ledger
from dropzone.verify.problems import Summary
from dropzone.verify.runs import Runs


class Store:
    """Gives one list of runs after the other, as a store that is being written to."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.asked = 0

    def batch_runs(self):
        self.asked += 1
        return self._answers.pop(0)


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def look(journal, store, *batches):
    runs = Runs(store)
    for batch in batches:
        # Logged after the runs were read.
        journal.log_batch(batch, f"run-{batch}")
    summary = Summary("default", deep=False)
    runs.check(Ledger(batches=Counter(dict.fromkeys(batches, 3))), journal, summary)
    return summary


def finished(batch, status="FINISHED"):
    return BatchRun(f"run-{batch}", batch, status, 3)


def test_what_is_logged_meanwhile_is_no_problem(journal):
    new, unfinished = JobIds().next(), JobIds().next()
    store = Store(
        [finished(unfinished, "RUNNING")], [finished(new), finished(unfinished)]
    )
    summary = look(journal, store, new, unfinished)
    assert summary.problems == []
    assert summary.runs == 2
    assert store.asked == 2


def test_what_is_missing_stays_missing_and_is_asked_for_once(journal):
    lost = [JobIds().next() for _ in range(5)]
    store = Store([], [])
    summary = look(journal, store, *lost)
    assert len(summary.problems) == 5
    assert store.asked == 2
