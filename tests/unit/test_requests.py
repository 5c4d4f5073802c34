"""What waits for a parser, what is noted of it, and who is blamed for a death."""

import threading
from dataclasses import replace

import pytest

from dropzone.errors import Stopping
from dropzone.executor.requests import Note, Requests
from dropzone.executor.turns import Turns
from dropzone.gate import Gate
from dropzone.journal import Journal, move
from dropzone.models import IndexRequest, Job, Status
from dropzone.rescuer import Rescued
from dropzone.suspects import MARK, examine
from dropzone.verdict import Limits
from zones_helpers import IDS, eventually, in_threads

LIMITS = Limits(parser_deaths=3)


def request(name, size=10):
    return IndexRequest(name, "z", "c", b"p", "0" * 64, size, "txt", "key")


class Bench:
    """Requests, and the notes they wrote."""

    def __init__(self, suspects=()):
        self.stop = threading.Event()
        self.notes = []
        self.turns = Turns(self.stop)
        gate = Gate("index", self.stop, {})
        self.requests = Requests(
            self.turns, gate, self.notes.append, dict(suspects), self.stop
        )

    def take(self):
        taken = self.requests.take(lambda: None)
        return taken.job_id if taken else None


def test_what_is_taken_was_noted_before_and_together():
    bench = Bench()
    bench.requests.put(request(f"j{n:02}") for n in range(70))

    assert bench.take() == "j00"
    assert bench.notes == [Note(together=tuple(f"j{n:02}" for n in range(64)))]
    assert [bench.take() for _ in range(64)][-1] == "j64"
    assert len(bench.notes) == 2


def test_large_files_are_noted_by_themselves():
    bench = Bench()
    bench.requests.put(request(f"j{n}", 5 << 20) for n in range(3))

    bench.take()

    assert bench.notes == [Note(together=("j0",))]


def test_a_suspect_goes_alone_and_the_least_suspected_first():
    bench = Bench({"twice": 2, "never": 0})
    bench.requests.put([request("good"), request("twice"), request("never")])

    assert bench.take() == "never"
    assert bench.notes[-1] == Note("never", ("never", "twice"))
    bench.requests.done(["never"])
    assert bench.notes[-1] == Note(None, ("twice",))
    assert bench.take() == "twice"
    bench.requests.done(["twice"])
    assert bench.take() == "good"
    assert bench.notes[-1] == Note(None, ("good",))


def test_a_suspect_waits_until_everybody_is_out():
    bench = Bench({"bad": 0})
    bench.requests.put([request("good")])
    assert bench.take() == "good"
    bench.requests.put([request("bad")])
    taken = []
    thread = threading.Thread(target=lambda: taken.append(bench.take()))
    thread.start()
    eventually(lambda: bench.turns._asking, "the suspect waits")
    assert not taken

    bench.requests.done(["good", "unknown"])

    thread.join()
    assert taken == ["bad"]


def test_a_stop_ends_every_wait_and_takes_the_note_back():
    bench = Bench({"bad": 1, "worse": 2})
    bench.requests.put([request("bad"), request("worse")])
    assert bench.take() == "bad"
    bench.stop.set()
    bench.requests.wake()

    assert bench.take() is None
    with pytest.raises(Stopping):
        bench.turns.enter(alone=True)
    bench.requests.close()
    assert bench.notes[-1] == Note(None, ("bad", "worse"))


def test_many_threads_take_each_request_once():
    bench = Bench({f"j{n}": 0 for n in range(0, 200, 20)})
    bench.requests.put(request(f"j{n}") for n in range(200))
    seen = []

    def work(_number):
        while len(seen) < 200 and (taken := bench.take()):
            seen.append(taken)
            bench.requests.done([taken])
            if len(seen) == 200:
                bench.stop.set()

    in_threads(4, work)
    assert sorted(seen) == sorted(f"j{n}" for n in range(200))


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def stored(journal, **changes):
    job = Job(IDS.next(), "z", "c", b"f", Status.STORED, 1, 0, **changes)
    journal.add([job])
    return job


def died(journal, alone, *together):
    note = Note(alone and alone.id, tuple(job.id for job in together))
    journal.mark(MARK, note.dump())
    rescued = Rescued(resume=[job for job in (alone, *together) if job])
    return rescued, examine(journal, rescued, LIMITS)


def test_without_a_note_nobody_is_suspect(journal):
    assert examine(journal, Rescued(resume=[stored(journal)]), LIMITS) == {}


def test_company_makes_suspect_and_blames_nobody(journal):
    one, two = stored(journal), stored(journal)

    rescued, suspects = died(journal, None, one, two)

    assert suspects == {one.id: 0, two.id: 0}
    assert rescued.resume == [one, two]


def test_who_was_alone_is_blamed_once(journal):
    one, two = stored(journal), stored(journal)

    rescued, suspects = died(journal, one, two)

    assert suspects == {one.id: 1, two.id: 0}
    assert rescued.resume == [two]
    waiting = journal.get(one.id)
    assert (waiting.status, waiting.resume_status) == (Status.WAITING, Status.STORED)
    assert waiting.attempts == 1
    again = Rescued(resume=[two])
    assert examine(journal, again, LIMITS) == {two.id: 0}
    assert journal.get(one.id) == waiting


def test_the_third_death_dooms(journal):
    one = stored(journal, attempts=2, data={"parser_deaths": 2})

    rescued, _ = died(journal, one)

    ((doomed, failure),) = rescued.doomed
    assert (doomed.id, doomed.attempts, doomed.error_step) == (one.id, 3, "index")
    assert "killed while it read this file" in failure.reason
    assert "dropzone retry" in failure.hint
    assert rescued.resume == []


def test_who_came_out_of_the_parser_is_innocent(journal):
    one = stored(journal)
    indexed = move(one, Status.INDEXED)
    journal.save([indexed])

    rescued, suspects = died(journal, replace(indexed))

    assert suspects == {}
    assert rescued.resume == [indexed]
