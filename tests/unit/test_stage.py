import threading
import time
from collections import Counter

import pytest

from dropzone.errors import Stopping
from dropzone.journal import Journal, move
from dropzone.models import Status
from dropzone.stage import Inbox, Stage
from zones_helpers import eventually, in_threads, new_job


def stop_soon(inbox, stop):
    def end():
        stop.set()
        inbox.wake()

    threading.Timer(0.1, end).start()


class CountingJournal(Journal):
    """Counts how often it is read back."""

    reads = 0

    def with_status(self, *arguments, **options):
        self.reads += 1
        return super().with_status(*arguments, **options)


@pytest.fixture
def journal(tmp_path):
    journal = CountingJournal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


@pytest.fixture
def stop():
    return threading.Event()


def test_jobs_come_out_in_order_up_to_the_number_asked_for(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 10)
    jobs = [new_job() for _ in range(5)]
    inbox.put(jobs)
    assert len(inbox) == 5
    assert inbox.take(3, stop) == jobs[:3]
    assert inbox.take(3, stop) == jobs[3:]
    assert inbox.busy
    inbox.release(jobs)
    assert not inbox.busy


def test_an_active_job_is_not_queued_again(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 10)
    job = new_job()
    inbox.put([job, job])
    assert inbox.take(9, stop) == [job]
    inbox.put([job])
    assert len(inbox) == 0
    inbox.release([job])
    inbox.put([job])
    assert len(inbox) == 1


def test_what_does_not_fit_comes_from_the_journal(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 2)
    jobs = [new_job() for _ in range(5)]
    journal.add(jobs)
    inbox.put(jobs)
    assert inbox.busy
    seen = []
    while len(seen) < 5:
        (job,) = inbox.take(1, stop)
        seen.append(job)
        journal.save([move(job, Status.STORED)])
        inbox.release([job])
    assert seen == jobs
    # It finds out that nothing is left only by reading once more.
    stop_soon(inbox, stop)
    assert inbox.take(1, stop) == []
    assert not inbox.busy


def test_a_full_inbox_in_many_hands_is_not_read_back_all_the_time(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 4)
    jobs = [new_job() for _ in range(20)]
    journal.add(jobs)
    inbox.put(jobs)
    held = inbox.take(4, stop)
    got = []
    thread = threading.Thread(target=lambda: got.extend(inbox.take(4, stop)))
    thread.start()
    threading.Event().wait(0.2)
    assert journal.reads <= 1
    journal.save([move(job, Status.STORED) for job in held])
    begun = time.monotonic()
    inbox.release(held)
    thread.join(5)
    assert got == jobs[4:8]
    assert time.monotonic() - begun < 4, "a release wakes who waits for room"


def test_a_job_that_moves_on_while_the_journal_is_read_is_not_done_twice(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 2)
    first, second, third = (new_job() for _ in range(3))
    journal.add([first, second, third])
    inbox.put([first, second, third])
    done = inbox.take(2, stop)
    journal.save([move(job, Status.STORED) for job in done])
    inbox.release(done)
    read = journal.with_status

    def meanwhile(*arguments):
        jobs = read(*arguments)
        # The producer's own put comes late, and somebody is very fast.
        inbox.put([third])
        (taken,) = inbox.take(1, stop)
        journal.save([move(taken, Status.STORED)])
        inbox.release([taken])
        return jobs

    journal.with_status = meanwhile
    stop_soon(inbox, stop)
    assert inbox.take(1, stop) == []


@pytest.mark.parametrize("capacity", [1, 3, 50])
def test_nothing_is_lost_or_doubled_under_overflow(journal, stop, capacity):
    inbox = Inbox(journal, Status.CLAIMED, capacity)
    worked = Counter()
    lock = threading.Lock()
    total = 6 * 60

    def work(jobs):
        # A conflict here would mean that somebody else had the job too.
        journal.save([move(job, Status.STORED) for job in jobs])
        with lock:
            worked.update(job.id for job in jobs)
        inbox.release(jobs)

    stage = Stage("test", inbox, work, stop, workers=6, most=5)
    stage.start()

    def produce(_):
        for _ in range(20):
            jobs = [new_job() for _ in range(3)]
            journal.add(jobs)
            inbox.put(jobs)

    in_threads(6, produce)
    eventually(lambda: sum(worked.values()) >= total or stage.broken.done(), "all", 20)
    eventually(lambda: not inbox.busy, "the inbox knows that it is empty")
    stop.set()
    assert stage.join(5)
    assert not stage.broken.done()
    assert set(worked.values()) == {1}
    assert journal.counts().states == {Status.STORED: total}


def test_stopping_wakes_every_thread_at_once(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 2)
    stage = Stage("test", inbox, lambda _: None, stop, workers=8)
    stage.start()
    begun = time.monotonic()
    stop.set()
    assert stage.join(5)
    assert time.monotonic() - begun < 4


def test_join_tells_when_a_thread_goes_on(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 9)
    release = threading.Event()
    stage = Stage("test", inbox, lambda _: release.wait(10), stop, workers=3, most=1)
    stage.start()
    inbox.put([new_job() for _ in range(3)])
    eventually(lambda: not len(inbox))
    stop.set()
    begun = time.monotonic()
    assert not stage.join(1.0)
    assert time.monotonic() - begun < 2.8, "the time is for all threads together"
    release.set()
    assert stage.join(5)


def test_an_unforeseen_error_is_told_and_stopping_is_none(journal, stop):
    inbox = Inbox(journal, Status.CLAIMED, 9)

    def broken(_):
        raise ZeroDivisionError("oh")

    stage = Stage("test", inbox, broken, stop)
    stage.start()
    inbox.put([new_job()])
    with pytest.raises(ZeroDivisionError):
        stage.broken.result(5)
    assert stage.join(5)

    def stopping(_):
        raise Stopping("bye")

    inbox = Inbox(journal, Status.CLAIMED, 9)
    stage = Stage("test", inbox, stopping, stop)
    stage.start()
    inbox.put([new_job()])
    assert stage.join(5)
    assert not stage.broken.done()
