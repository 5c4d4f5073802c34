import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropzone.errors import (
    DocumentRejected,
    ParserDied,
    SourceChanged,
)
from dropzone.models import Job, Status
from dropzone.verdict import (
    Again,
    Fail,
    Limits,
    describe,
    failure_notes,
    judge,
    tried,
)

LIMITS = Limits(
    unknown_attempts=5, parser_deaths=3, first_pause=1.0, longest_pause=60.0
)


def job_with(attempts):
    return Job("id", "zone", "c", b"x", Status.STORED, 1, 1, attempts=attempts)


def job_after(attempts, error):
    job = job_with(0)
    for _ in range(attempts):
        job = tried(job, "index", error)
    return job


@pytest.mark.parametrize(
    ("attempts", "error", "resume"),
    [
        (1, ValueError("x"), Status.STORED),
        (4, ValueError("x"), Status.STORED),
        (1, ParserDied("x"), Status.STORED),
        (2, ParserDied("x"), Status.STORED),
        (1, SourceChanged("x"), Status.CLAIMED),
        (4, SourceChanged("x"), Status.CLAIMED),
    ],
)
def test_a_job_is_tried_again(attempts, error, resume):
    verdict = judge(job_after(attempts, error), error, LIMITS)
    assert isinstance(verdict, Again)
    assert verdict.resume is resume
    middle = 2 ** (attempts - 1)
    assert 0.75 * middle <= verdict.seconds <= 1.25 * middle


@pytest.mark.parametrize(
    ("attempts", "error", "reason", "hint"),
    [
        (1, DocumentRejected("No text.", hint="Scan it."), "No text.", "Scan it."),
        (5, ValueError("x"), "Unexpected ValueError: x (tried 5 times)", "log"),
        (9, ValueError("x"), "(tried 9 times)", "retry JOB"),
        (3, ParserDied("Died.", hint="Split."), "Died. (tried 3 times)", "Split."),
        (5, SourceChanged("Moves."), "Moves. (tried 5 times)", "log"),
    ],
)
def test_a_job_fails_with_a_sentence_and_what_to_do(attempts, error, reason, hint):
    verdict = judge(job_after(attempts, error), error, LIMITS)
    assert isinstance(verdict, Fail)
    assert reason in verdict.reason
    assert hint in verdict.hint


def test_deaths_of_parsers_and_other_errors_are_counted_apart():
    died, unknown = ParserDied("x"), ValueError("x")
    job = job_after(4, unknown)
    for _ in range(2):
        job = tried(job, "index", died)
        assert isinstance(judge(job, died, LIMITS), Again)
    assert isinstance(judge(tried(job, "index", died), died, LIMITS), Fail)
    assert isinstance(judge(tried(job, "index", unknown), unknown, LIMITS), Fail)


def test_one_attempt_is_once():
    verdict = judge(
        job_after(1, ValueError("x")), ValueError("x"), Limits(unknown_attempts=1)
    )
    assert isinstance(verdict, Fail)
    assert verdict.reason.endswith("(tried once)")


@given(st.integers(min_value=1, max_value=100_000))
def test_no_pause_is_longer_than_the_longest_and_a_quarter(attempts):
    limits = Limits(unknown_attempts=10**6, longest_pause=60.0)
    verdict = judge(job_with(attempts), ValueError("x"), limits)
    assert isinstance(verdict, Again)
    assert 0.75 <= verdict.seconds <= 75.0


def test_notes_name_the_step_and_are_bounded():
    notes = failure_notes("index", ValueError("y" * 9999))
    assert notes["error_step"] == "index"
    assert notes["error_class"] == "ValueError"
    assert len(notes["error_message"]) == 2000
    assert describe(DocumentRejected("As it is.")) == "As it is."


@pytest.mark.parametrize("kind", [ValueError, DocumentRejected])
def test_what_went_wrong_can_be_stored_whatever_it_quotes(kind):
    error = kind("bad \udcff name \x00")
    failure_notes("store", error)["error_message"].encode("utf-8")
    verdict = judge(job_with(9), error, LIMITS)
    assert isinstance(verdict, Fail)
    verdict.reason.encode("utf-8")
    assert "\x00" not in verdict.reason
