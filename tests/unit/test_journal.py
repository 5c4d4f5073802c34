import dataclasses
import itertools
import os
import shutil
import tempfile
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from dropzone.journal import Finding, JobConflict, Journal, Wanted, move
from dropzone.journal.moves import MOVES
from dropzone.models import Outcome, Status
from zones_helpers import new_job


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path):
    journal = Journal(path)
    yield journal
    journal.close()


DRAWN = {
    ("claiming", "claimed"),
    *((s, t) for s in ("claimed", "stored", "indexed") for t in ("waiting", "failed")),
    ("claimed", "stored"),
    ("stored", "indexed"),
    ("indexed", "done"),
    *(("waiting", t) for t in ("claimed", "stored", "indexed", "failed")),
    # Recovery and a changed source: redo from claimed.
    *((s, "claimed") for s in ("claimed", "stored", "indexed")),
    # A failed job is marked as put back.
    ("failed", "failed"),
}


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("target", Status)
def test_jobs_move_only_as_drawn(status, target):
    job = new_job(status=status)
    if (status, target) in DRAWN:
        moved = move(job, target, sha256="a")
        assert (moved.status, moved.version) == (target, job.version + 1)
        assert moved.sha256 == "a"
    else:
        with pytest.raises(ValueError, match="cannot go from"):
            move(job, target)


def test_every_state_has_its_moves():
    assert set(MOVES) == set(Status)


def test_a_job_comes_back_as_it_was_also_after_reopening(path):
    journal = Journal(path)
    job = new_job(
        b"a\xff\n/-b",
        device=-1,
        inode=2**63 - 1,
        data={"k": [1, "\ud800", None]},
        metadata={"m": {"n": 1.5}},
        outcome=Outcome.EMPTY,
        resume_status=Status.STORED,
        error_message="é",
    )
    journal.add([job])
    assert journal.get(job.id) == job
    journal.close()
    again = Journal(path)
    assert again.get(job.id) == job
    assert again.get("nobody") is None
    again.close()


def test_a_stale_version_is_a_conflict_and_changes_nothing(journal):
    job, other = new_job(), new_job()
    journal.add([job, other])
    first, second = move(job, Status.STORED), move(job, Status.WAITING)
    journal.save([first])
    with pytest.raises(JobConflict):
        journal.save([move(other, Status.STORED), second])
    assert journal.get(job.id) == first
    assert journal.get(other.id) == other, "all or none"
    with pytest.raises(JobConflict):
        journal.save([move(new_job(), Status.STORED)])


def test_jobs_are_found_by_what_a_person_knows(journal):
    sha = "ab" * 32
    one = new_job(b"papers/x.pdf", sha256=sha)
    two = new_job(b"x.pdf")
    odd = new_job(b"dir/bad\xff\nname")
    face = new_job(b"dir/face")
    journal.add([one, two, odd, face])
    assert journal.find(one.id) == [one]
    assert journal.find(one.id.upper()) == [one]
    assert journal.find(one.id[-12:]) == [one]
    assert journal.find(one.id[:6]) == journal.newest(4)
    assert journal.find(sha.upper()) == [one]
    assert journal.find("papers/x.pdf") == [one]
    assert journal.find("x.pdf") == [two]
    assert journal.find(os.fsdecode(b"dir/bad\xff\nname")) == [odd]
    assert journal.find(os.fsdecode(b"bad\xff\nname")) == [odd]
    assert journal.find("nothing") == journal.find("%") == journal.find("") == []


def test_a_name_wins_over_the_end_of_somebody_elses_id(journal):
    jobs = [dataclasses.replace(new_job(), id=f"0-{n}face") for n in range(3)]
    named = new_job(b"dir/face")
    journal.add([*jobs, named])
    assert journal.find("face") == [named]


def test_found_jobs_come_newest_first_up_to_the_limit(journal):
    jobs = [new_job(b"x.pdf") for _ in range(5)]
    journal.add(jobs)
    assert journal.find("x.pdf", limit=3) == jobs[:1:-1]
    assert journal.newest(2) == jobs[:2:-1]
    assert journal.with_status(Status.CLAIMED, 2) == jobs[:2]
    assert journal.with_status(Status.CLAIMED, 9, after=jobs[2].id) == jobs[3:]
    assert journal.newest(9, status="stored") == []
    assert journal.newest(9, outcome="indexed") == []


def test_only_a_claim_that_did_not_happen_is_forgotten(journal):
    claiming, claimed = new_job(status=Status.CLAIMING), new_job()
    journal.add([claiming, claimed])
    journal.forget([claiming, claimed])
    assert journal.newest(9) == [claimed]


def test_findings_are_kept_refreshed_and_withdrawn(journal):
    journal.record_findings([Finding(b"a\xff", "r1", "h"), Finding(b"b", "r", "h")], [])
    (first, _) = journal.findings()
    journal.record_findings([Finding(b"a\xff", "r2", "h")], [b"b", b"unknown"])
    (found,) = journal.findings()
    assert (found.path, found.reason) == (b"a\xff", "r2")
    assert found.first_seen == first.first_seen <= found.last_seen


def test_waiting_jobs_are_due_at_their_time_in_order(journal):
    put_off = {"status": Status.WAITING, "last_activity": 90.0}
    late = new_job(**put_off, retry_at=200.0)
    soon = new_job(**put_off, retry_at=100.0)
    journal.add([late, soon])
    assert journal.due(99.9, 9) == []
    assert journal.due(150.0, 9) == [soon]
    assert journal.due(500.0, 9) == [soon, late]
    assert journal.due(500.0, 1) == [soon]


def test_a_clock_that_was_set_back_does_not_put_jobs_off_for_hours(journal):
    job = new_job(status=Status.WAITING, retry_at=7300.0, last_activity=7200.0)
    journal.add([job])
    assert journal.due(7199.0, 9) == []
    assert journal.due(100.0, 9) == [job]


def test_counts_tell_states_outcomes_and_what_was_put_back(journal):
    failed = [
        new_job(status=Status.FAILED, outcome=Outcome.FAILED, end_reason="why")
        for _ in range(3)
    ]
    done = new_job(status=Status.DONE, outcome=Outcome.EMPTY)
    journal.add([*failed, done, new_job(), new_job(status=Status.WAITING)])
    journal.save([move(failed[0], Status.FAILED, end_reason="retried")])
    counts = journal.counts()
    assert counts.under_way == 2
    assert counts.outcomes == {Outcome.FAILED: 3, Outcome.EMPTY: 1}
    assert (counts.failed, counts.retried, counts.gone) == (2, 1, 0)
    journal.note_removed({failed[1].id: "anna, set aside"}, {})
    counts = journal.counts()
    assert (counts.failed, counts.retried, counts.gone) == (1, 1, 1)
    journal.drop([journal.get(job.id) for job in failed[:2]])
    counts = journal.counts()
    assert (counts.failed, counts.retried, counts.gone) == (1, 1, 1)


def test_the_very_file_that_failed_is_known_again(journal):
    values = {"inode": 7, "device": 1, "size": 3, "mtime_ns": 4}
    failed = new_job(status=Status.FAILED, end_reason="why", **values)
    journal.add([failed])
    assert journal.failed_like(new_job(**values)) == failed
    assert journal.failed_like(new_job(**{**values, "size": 4})) is None
    journal.save([move(failed, Status.FAILED, end_reason="retried")])
    assert journal.failed_like(new_job(**values)) is None


def test_a_batch_goes_from_open_to_closed_to_logged(journal):
    job = new_job(status=Status.INDEXED)
    journal.add([job])
    done = move(job, Status.DONE, batch_id="b1", outcome=Outcome.INDEXED)
    journal.save_ended([done], {"receipts": "here"})
    assert journal.marks() == {"receipts": "here"}
    assert journal.batches_waiting() == 1
    assert journal.closed_batches() == []
    journal.close_batch("b1")
    journal.ask_batch("b1")
    (batch,) = journal.closed_batches()
    assert batch.state == "closed"
    assert batch.asked_at
    assert list(journal.jobs_of_batch("b1")) == [done]
    journal.fail_batch("b1", "down")
    assert journal.batch("b1").error == "down"
    journal.log_batch("b1", "run")
    assert journal.closed_batches() == []
    assert journal.batches_waiting() == 0
    assert journal.batch("b1").run_id == "run"
    assert journal.batch("b2") is None


def test_an_end_that_conflicts_leaves_no_batch_and_no_mark(journal):
    job = new_job(status=Status.INDEXED)
    with pytest.raises(JobConflict):
        journal.save_ended([move(job, Status.DONE, batch_id="b")], {"receipts": "x"})
    assert journal.marks() == {}
    assert journal.batch("b") is None


class AgainstADict(RuleBasedStateMachine):
    """The journal against a dict, closed and opened in between."""

    jobs = Bundle("jobs")

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.journal = Journal(self.directory / "journal.sqlite")
        self.model = {}

    @rule(target=jobs, name=st.binary(max_size=5), status=st.sampled_from(Status))
    def add(self, name, status):
        job = new_job(name, status, retry_at=1.0)
        self.journal.add([job])
        self.model[job.id] = job
        return job.id

    @rule(job=jobs, status=st.sampled_from(Status), sha=st.sampled_from("abc"))
    def save(self, job, status, sha):
        if job in self.model and status in MOVES[self.model[job].status]:
            moved = move(self.model[job], status, sha256=sha)
            self.journal.save([moved])
            self.model[job] = moved

    @rule(job=jobs)
    def save_stale(self, job):
        if job in self.model:
            stale = dataclasses.replace(self.model[job], size=99)
            with pytest.raises(JobConflict):
                self.journal.save([stale])

    @rule(job=consumes(jobs))
    def forget(self, job):
        if job in self.model:
            self.journal.forget([self.model[job]])
            if self.model[job].status is Status.CLAIMING:
                del self.model[job]

    @rule()
    def reopen(self):
        self.journal.close()
        self.journal = Journal(self.directory / "journal.sqlite")

    @invariant()
    def the_same_jobs(self):
        assert self.journal.newest(999) == sorted(
            self.model.values(), key=lambda job: job.id, reverse=True
        )

    @invariant()
    def the_same_answers(self):
        waiting = {j.id for j in self.model.values() if j.status is Status.WAITING}
        assert {job.id for job in self.journal.due(time.time(), 999)} == waiting
        for sha in "abc":
            wanted = {j.id for j in self.model.values() if j.sha256 == sha}
            found = self.journal.rows("by_sha256", sha256=sha, limit=999)
            assert {row["id"] for row in found} == wanted

    def teardown(self):
        self.journal.close()
        shutil.rmtree(self.directory)


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(
    max_examples=8, stateful_step_count=20, deadline=None
)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("übersicht", True),
        ("ÜBERsicht ÖL", True),
        ("[1]*", True),
        ("1*", False),
        ("ubersicht", False),
        # As the page shows the name.
        (r"w\xff\xfehale\u202e.txt", True),
        (r"hale\n", False),
        (r"\ud800", False),
    ],
)
def test_a_part_of_a_path_is_found_whatever_the_size_of_its_letters(
    journal, words, found
):
    name = "Übersicht Öl [1]*?".encode() + b"/w\xff\xfehale\xe2\x80\xae.txt"
    journal.add([new_job(path=name)])
    assert bool(journal.listed(Wanted(text=words), 10)) is found


@pytest.mark.parametrize(
    "words", ["Čačak/Übersicht", "čačak/übersicht", "ÜBERSICHT 한", "ßen.t", "SSEN.T"]
)
def test_a_name_is_found_in_whatever_unicode_form(journal, words):
    forms, jobs = ("NFC", "NFD"), []
    for folder, name in itertools.product(forms, forms):
        collection = unicodedata.normalize(folder, "Čačak")
        path = f"{collection}/{unicodedata.normalize(name, 'Übersicht 한 Größen.txt')}"
        jobs.append(new_job(path=path.encode(), collection=collection))
    journal.add(jobs)
    for form in forms:
        asked = Wanted(
            text=unicodedata.normalize(form, words),
            collection=unicodedata.normalize(form, "Čačak"),
        )
        # The names themselves stay as they were dropped.
        assert journal.listed(asked, 10) == jobs[::-1]
    # A letter without its marks is another letter, and so it is in every form.
    assert not journal.listed(Wanted(text="Ubersicht"), 10)
    assert not journal.listed(Wanted(text="bersicht", collection="Cacak"), 10)
