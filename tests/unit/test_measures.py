"""What is counted of the work: sums, bounds, who is told, and who hides nothing."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons import wait_for
from dropzone.errors import ServiceUnavailable
from dropzone.measures import BOUNDS, STEPS, Done, Durations, Measures
from dropzone.models import Job, Outcome, Status
from dropzone.web import families
from dropzone.web.sparing import Sparing


def job(outcome=Outcome.INDEXED, size=7, seconds=2.0):
    return Job(
        *("id", "zone", "papers", b"a.txt", Status.DONE),
        size=size,
        mtime_ns=0,
        outcome=outcome,
        created_at=1000.0,
        ended_at=1000.0 + seconds,
    )


class Told:
    def __init__(self):
        self.steps, self.ends, self.batches = [], [], []

    def step(self, done: Done) -> None:
        self.steps.append(done)

    def ended(self, job: Job) -> None:
        self.ends.append(job)

    def tracked(self, batch: Done) -> None:
        self.batches.append(batch)


@given(st.lists(st.floats(min_value=0, max_value=1e5), max_size=50))
def test_a_duration_is_in_every_bucket_at_or_above_it(seconds):
    durations = Durations()
    for value in seconds:
        durations.add(value)
    counts, total = durations.told()
    assert total == pytest.approx(sum(seconds))
    family = families.histogram("d", "told", (), [((), durations)])
    below = {s.labels["le"]: s.value for s in family.samples if "le" in s.labels}
    for bound in BOUNDS:
        assert below[str(float(bound))] == sum(value <= bound for value in seconds)
    assert below["+Inf"] == len(seconds) == sum(counts)


def test_jobs_worked_on_together_each_took_that_long():
    measures = Measures().zone("z")
    begun = time.monotonic() - 2
    measures.step("claim", begun, ["a", "b", "c"])
    counts, total = measures.durations["claim"].told()
    assert sum(counts) == 3
    assert total == pytest.approx(6, abs=0.5)
    assert measures.succeeded_at["claim"] == pytest.approx(time.time(), abs=5)


def test_ends_are_counted_by_outcome_with_their_bytes():
    measures = Measures().zone("z")
    measures.ended(job())
    measures.ended(job(Outcome.FAILED, size=5))
    measures.ended(job(Outcome.FAILED, size=6))
    assert (measures.files["indexed"], measures.bytes["indexed"]) == (1, 7)
    assert (measures.files["failed"], measures.bytes["failed"]) == (2, 11)
    # Rates need a zero to begin from.
    assert measures.files["duplicate"] == 0
    assert set(measures.files) == set(map(str, Outcome))


def test_a_listener_is_told_of_every_step_also_of_those_in_vain():
    measures, told = Measures(), Told()
    zone = measures.zone("z")
    zone.step("store", time.monotonic(), ["before"])
    measures.listener = told
    begun = time.monotonic() - 3
    zone.step("store", begun, ["a"], until=begun + 1)
    zone.tried_in_vain("index", begun, "b", "S3 is away.")
    zone.ended(job())
    zone.tracked(["a", "b"], begun)
    stored, failed = told.steps
    assert (stored.zone, stored.step, stored.jobs) == ("z", "store", ["a"])
    assert stored.seconds == pytest.approx(1)
    assert stored.began == pytest.approx(time.time() - 3, abs=2)
    assert (failed.error, failed.jobs) == ("S3 is away.", ("b",))
    assert [one.id for one in told.ends] == ["id"]
    assert told.batches[0].jobs == ["a", "b"]
    counts, _ = zone.durations["index"].told()
    assert not any(counts)


def test_retries_are_told_by_step_and_class():
    measures = Measures().zone("z")
    measures.retried("store", ServiceUnavailable("s3", "secret.txt is away"))
    assert dict(measures.retries) == {("store", "ServiceUnavailable"): 1}


def test_a_reload_that_fails_keeps_the_time_of_the_last_good_one():
    measures = Measures()
    at = measures.reload.succeeded_at
    measures.reloaded(succeeded=False)
    assert (measures.reload.succeeded, measures.reload.succeeded_at) == (False, at)
    measures.reloaded(succeeded=True)
    assert measures.reload.succeeded
    assert measures.reload.succeeded_at >= at


def test_messages_are_counted():
    measures = Measures()
    measures.notified(delivered=True)
    measures.notified(delivered=False)
    measures.notified(delivered=False)
    assert dict(measures.messages) == {"sent": 1, "failed": 2}


def test_an_answer_that_took_long_is_kept_for_long():
    asked = []

    def ask():
        asked.append(time.monotonic())
        while time.monotonic() < asked[-1] + 0.1:
            pass
        return len(asked)

    slow = Sparing(ask)
    assert [slow(), slow(), slow()] == [1, 1, 1]
    quick = Sparing(lambda: asked.append(0.0) or len(asked))
    first = quick()
    wait_for(lambda: quick() > first, "it is asked again")


def test_the_steps_have_their_own_durations_from_the_start():
    measures = Measures().zone("z")
    family = families.histogram(
        "dropzone_step_duration_seconds",
        "told",
        ("zone", "step"),
        [(("z", step), measures.durations[step]) for step in STEPS],
    )
    assert {s.labels["step"] for s in family.samples} == set(STEPS)
