import json
import queue
import threading
import time

import pytest

from dropzone import track
from dropzone.errors import ServiceUnavailable
from dropzone.gate import Gate
from dropzone.journal import Journal, move
from dropzone.models import JobIds, Outcome, Status, time_of
from dropzone.track import Batches, Tracker, TrackRules, describe
from zones_helpers import eventually, new_job

BATCH = JobIds().next()


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def ended(path=b"a/x\xff.pdf", outcome=Outcome.INDEXED, **changes):
    values = {
        "status": Status.DONE,
        "collection": "a",
        "size": 10,
        "outcome": outcome,
        "created_at": 1000.0,
        "ended_at": 1003.5,
        "data": {"chunks": 2, "seconds": {"store": 1.0}, "notes": ["cut", "ocr"]},
    }
    return new_job(path, **{**values, **changes})


def test_a_file_alone_names_its_run():
    run = describe(BATCH, [ended()], {"zone": "z"})
    assert run["run_name"] == r"x\xff.pdf"
    assert run["batch_id"] == BATCH
    assert run["params"] == {"zone": "z", "collections": "a"}
    assert run["tags"] == {"dropzone.zone": "default"}
    assert (run["start_time"], run["end_time"]) == (1000.0, 1003.5)


@pytest.mark.parametrize(
    ("collections", "wanted"),
    [(["a", "a"], "2 files in a"), (["a", "b", "b"], "3 files in 2 collections")],
)
def test_several_files_are_counted_in_the_name(collections, wanted):
    jobs = [ended(collection=name) for name in collections]
    assert describe(BATCH, jobs, {})["run_name"] == wanted


def test_metrics_count_every_job_that_ended():
    jobs = [
        ended(),
        ended(data={"chunks": 5, "seconds": {"store": 3.0, "index": 0.5}}),
        ended(outcome=Outcome.DUPLICATE, data={}),
        ended(outcome=Outcome.FAILED, status=Status.FAILED, ended_at=1010.0, data={}),
        ended(outcome=Outcome.EMPTY, size=0, data={}),
        ended(outcome=Outcome.STORED_ONLY, data={}),
    ]
    metrics = describe(BATCH, jobs, {})["metrics"]
    assert all(type(value) is float for value in metrics.values())
    assert metrics == {
        "files": 6,
        "bytes": 50,
        "chunks": 7,
        "files_indexed": 2,
        "files_duplicate": 1,
        "files_failed": 1,
        "files_empty": 1,
        "files_stored_only": 1,
        "seconds_store_mean": 2.0,
        "seconds_store_max": 3.0,
        "seconds_index_mean": 0.5,
        "seconds_index_max": 0.5,
        "seconds_total_mean": pytest.approx(27.5 / 6),
        "seconds_total_max": 10.0,
    }


def test_the_table_has_a_row_for_each_file_and_a_reason_for_failures_only():
    failed = ended(b"bad\n", Outcome.FAILED, end_reason="It is broken.", data={})
    good = ended(end_reason="indexed", sha256="ab", s3_key="k")
    table = describe(BATCH, [good, failed], {})["table"]
    assert {len(column) for column in table.values()} == {2}
    assert table["name"] == [r"x\xff.pdf", r"bad\n"]
    assert table["reason"] == ["", "It is broken."]
    assert table["notes"] == ["cut, ocr", ""]
    assert table["sha256"] == ["ab", ""]
    assert table["outcome"] == ["indexed", "failed"]
    assert table["job"] == [good.id, failed.id]
    assert table["seconds"] == [3.5, 3.5]


def test_a_run_is_plain_json():
    run = describe(BATCH, [ended(), ended()], {"p": "v"})
    assert json.loads(json.dumps(run)) == run


def test_a_batch_without_jobs_is_described_too():
    run = describe(BATCH, [], {})
    assert run["metrics"]["files"] == 0
    assert run["start_time"] == run["end_time"] == time_of(BATCH)
    assert run["table"] == {}


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(track, "time", clock)
    return clock


def end_one(journal, batches):
    job = new_job(status=Status.INDEXED)
    journal.add([job])
    done = move(job, Status.DONE, outcome=Outcome.EMPTY, batch_id=batches.current())
    journal.save_ended([done], {})
    batches.ended(1)
    return done.batch_id


@pytest.mark.parametrize(
    ("files", "wait", "idle", "closed"),
    [
        (1, 0.4, True, False),
        (1, 0.5, True, True),
        (1, 9.9, False, False),
        (1, 10.0, False, True),
        (2, 0.0, False, False),
        (3, 0.0, False, True),
    ],
)
def test_a_batch_closes_when_full_old_or_quiet(
    journal, clock, files, wait, idle, closed
):
    batches = Batches(journal, seconds=10.0, files=3)
    ids = {end_one(journal, batches) for _ in range(files)}
    assert len(ids) == 1
    clock.now += wait
    batches.close_due(idle=idle)
    assert bool(journal.closed_batches()) == closed
    assert (end_one(journal, batches) in ids) == (not closed)


def test_a_batch_stays_open_while_a_receipt_names_it_and_its_job_does_not(
    journal, clock
):
    batches = Batches(journal, seconds=1.0, files=1)
    end_one(journal, batches)
    batches.unsettled = 1
    clock.now += 100
    batches.close_due(idle=True)
    assert journal.closed_batches() == []
    batches.unsettled = 0
    batches.close_due(idle=True)
    assert len(journal.closed_batches()) == 1


def test_a_batch_in_which_nothing_ended_is_not_closed(journal, clock):
    batches = Batches(journal, seconds=1.0, files=1)
    first = batches.current()
    clock.now += 100
    batches.close_due(idle=True)
    assert batches.current() == first


class Tracking:
    """Stands for the process that holds MLflow: away at first, then there."""

    def __init__(self):
        self.up = threading.Event()
        self.runs = []

    def log(self, run):
        self.check()
        self.runs.append(run)
        return f"run-{len(self.runs)}"

    def reap(self):
        """No process, nothing to reap."""

    def check(self):
        if not self.up.is_set():
            raise ServiceUnavailable("mlflow", "away")


def test_batches_are_logged_when_the_server_is_back(journal):
    tracking, stop, broken = Tracking(), threading.Event(), queue.SimpleQueue()
    gate = Gate("track", stop, {"mlflow": tracking.check}, first_pause=0.01)
    batches = Batches(journal, seconds=0.1, files=10)
    tracker = Tracker(
        journal,
        batches,
        tracking,
        gate,
        TrackRules({"p": "v"}, 1.0, remote=False),
        idle=lambda: True,
        stop=stop,
        broken=broken.put,
    )
    tracker.start()
    batch = end_one(journal, batches)
    eventually(lambda: gate.pause, "the outage is told")
    assert journal.batch(batch).run_id is None
    tracking.up.set()
    eventually(lambda: journal.batches_waiting() == 0, "it is logged")
    assert journal.batch(batch).run_id == "run-1"
    assert tracking.runs[0]["params"]["p"] == "v"
    begun = time.monotonic()
    stop.set()
    assert tracker.join(5)
    assert time.monotonic() - begun < 4
    assert broken.empty()
