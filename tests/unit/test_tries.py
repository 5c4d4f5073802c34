import dataclasses

from dropzone import tries
from dropzone.errors import ParserDied
from dropzone.models import Job, Status


def job_of(**data):
    made = {"ctime_ns": 1, **data}
    return Job(
        "id", "zone", "c", b"x", Status.STORED, 1, 1, created_at=100.0, data=made
    )


def test_the_last_twenty_tries_are_kept_and_the_oldest_go():
    job = job_of()
    for number in range(23):
        job = tries.with_try(
            job, "index", ParserDied("It died."), f"It died ({number}).", until=5.0
        )
    kept = tries.of(job)
    assert len(kept) == tries.MOST == 20
    assert kept[0]["reason"] == "It died (3)."
    assert kept[-1]["reason"] == "It died (22)."
    assert job.data["ctime_ns"] == 1


def test_a_try_tells_what_comes_next_and_no_novel():
    waits = tries.with_try(job_of(), "store", OSError(), "why " * 500, until=7.25)
    (one,) = tries.of(waits)
    assert (one["step"], one["error"]) == ("store", "OSError")
    assert (one["next"], one["until"]) == ("waits", 7.25)
    assert len(one["reason"]) <= 300
    fails = tries.with_try(waits, "store", OSError(), "why", until=None)
    assert (tries.of(fails)[1]["next"], tries.of(fails)[1]["until"]) == ("fails", None)


def test_times_of_steps_are_those_of_the_last_time():
    job = job_of()
    for step, began, ended in (
        ("store", 101.0, 102.5),
        ("store", 103.0, 103.25),
        ("index", 104.0, 99.0),
    ):
        times = tries.timed(job, step, began, ended)
        job = dataclasses.replace(job, data={**job.data, **times})
    assert tries.times(job) == {"store": (103.0, 103.25), "index": (104.0, 99.0)}
    assert tries.times(job_of()) == {}
