"""Large files in an inbox: singly, few at once, and never before all threads."""

import threading

import pytest

from dropzone.journal import Journal
from dropzone.models import Job, Status
from dropzone.stage import Inbox
from zones_helpers import IDS


@pytest.fixture
def inbox(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    made = Inbox(journal, Status.CLAIMED, 100, large_bytes=1000)
    made.large_at_once = 2
    yield made
    journal.close()


def jobs(*sizes):
    return [Job(IDS.next(), "z", "c", b"f", Status.CLAIMED, n, 0) for n in sizes]


def test_large_files_leave_room_for_small_ones(inbox):
    stop = threading.Event()
    large, small = jobs(1000, 2000, 3000), jobs(1, 2, 3)
    inbox.put([*large, *small])
    assert len(inbox) == 6

    assert inbox.take(16, stop) == large[:1]
    assert inbox.take(16, stop) == large[1:2]
    assert inbox.take(16, stop) == small
    inbox.release(large[:1])
    assert inbox.take(16, stop) == large[2:]


def test_who_waits_for_a_large_file_hears_that_it_may_go(inbox):
    stop = threading.Event()
    large = jobs(1000, 2000, 3000)
    inbox.put(large)
    inbox.take(1, stop)
    inbox.take(1, stop)
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(inbox.take(1, stop)))
    thread.start()
    inbox.release(large[1:2])
    thread.join()
    assert taken == large[2:]
