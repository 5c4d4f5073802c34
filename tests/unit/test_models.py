import threading
import time

import pytest

from dropzone import models
from dropzone.models import ENDED, Job, JobIds, Status, time_of


def test_ids_are_uuid7_that_sort_as_made_and_tell_their_time():
    ids = JobIds()
    begun = time.time()
    made = [ids.next() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    for text in made[:10]:
        assert len(text) == 36
        assert text[14] == "7"
        assert text[19] in "89ab"
        assert begun - 0.002 <= time_of(text) <= time.time() + 0.01


def test_ids_never_go_backwards_when_the_clock_does(monkeypatch):
    ids = JobIds()
    before = ids.next()
    monkeypatch.setattr(models.time, "time_ns", lambda: 1_000_000_000_000)
    assert ids.next() > before


def test_threads_get_different_ids():
    ids, made = JobIds(), []

    def work():
        made.extend([ids.next() for _ in range(2000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


@pytest.mark.parametrize("path", [b"a/b/x\xff.pdf", b"x\xff.pdf"])
def test_the_name_of_a_job_is_the_last_part_of_its_path(path):
    assert Job("i", "z", "c", path, Status.CLAIMED, 1, 2).name == b"x\xff.pdf"


def test_ended_states_are_those_without_a_way_on():
    assert set(ENDED) == {Status.DONE, Status.FAILED}
