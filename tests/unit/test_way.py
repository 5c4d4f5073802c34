"""A file's way in words: what was, what is, and what comes next."""

from typing import Any

import pytest

from dropzone.web.api.models import Journey, Step, Zone
from dropzone.web.page import way

_JOB = {
    **dict.fromkeys(("zone", "collection", "path", "path_quoted"), "birds"),
    "id": "j",
    "size": 1,
    "doc_type": "pdf",
    "sha256": None,
    "created_at": 1.0,
    "status": "done",
    "outcome": "indexed",
    "attempts": 0,
    "what_to_do": "",
    **dict.fromkeys(("ended_at", "error_step", "error_message", "end_reason")),
    **dict.fromkeys(("retry_at", "retried_as", "removed_at", "removed_by")),
}
_PAUSE = {
    "step": "index",
    "service": "postgres",
    "since": 5.0,
    "reason": "It is away.",
    "what_to_do": "Start it.",
    "tries_again_in_seconds": 2.0,
    "by": "",
    "until": None,
    "next": "It is tried again in 2 s.",
}


def journey(job: dict[str, Any], **more: Any) -> Journey:
    told = {
        "seconds": {},
        "steps": [],
        "tries": [],
        "given": {},
        "mtime": 1.0,
        "given_problem": "",
        "last_activity": 2.0,
        "document_unknown": "",
        **dict.fromkeys(("started_at", "s3_key", "error_class", "retry_of", "batch")),
        **dict.fromkeys(("lies_in", "lies_in_quoted", "run_id", "run_url")),
        "receipt": None,
        "document": None,
    }
    return Journey.model_validate({**told, "job": {**_JOB, **job}, **more})


def zone(**steps: Any) -> Zone:
    idle = {
        "queued": 0,
        "working": 0,
        "longest": None,
        "paused": [],
        "done": 0,
        **dict.fromkeys(("a_minute", "median_seconds", "mean_seconds")),
    }
    made = [{**idle, **told, "step": step} for step, told in steps.items()]
    # Only its steps are looked at.
    return Zone.model_construct(steps=[Step.model_validate(one) for one in made])


def tones(told: Journey, where: Zone | None = None) -> str:
    return " ".join(stop.tone for stop in way.stops(told, where))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("claiming", "done now ahead ahead ahead ahead"),
        ("claimed", "done done now ahead ahead ahead"),
        ("stored", "done done done now ahead ahead"),
        ("indexed", "done done done done now ahead"),
    ],
)
def test_a_file_under_way_is_somewhere_and_the_rest_comes(status, expected):
    told = journey({"status": status, "outcome": None})
    assert tones(told) == expected
    tone, sentence, then = way.lead(told, way.stops(told, None))
    assert tone == "busy"
    assert sentence.startswith("It is on its way: being ")
    assert then.startswith("Then: ")


def test_what_waits_says_why_and_when_it_is_tried_again():
    job = {"status": "waiting", "outcome": None, "error_step": "store"}
    told = journey({**job, "error_message": "S3 said no.", "retry_at": 99.0})
    found = way.stops(told, None)
    assert tones(told) == "done done held ahead ahead ahead"
    assert (found[2].text, found[2].when) == ("S3 said no.", 99.0)
    sentence = "It waits to be tried again: S3 said no."
    assert way.lead(told, found) == ("warn", sentence, "")


def test_a_step_that_stands_still_says_why_and_what_comes_next():
    told = journey({"status": "stored", "outcome": None})
    found = way.stops(told, zone(index={"paused": [_PAUSE]}))
    tone, sentence, hint = way.lead(told, found)
    assert tone == "warn"
    assert sentence == "It waits for the step Index. Stands still: It is away."
    assert hint == "It is tried again in 2 s. Start it."


def test_what_is_worked_on_and_what_queues_is_told_apart():
    told = journey({"status": "stored", "outcome": None})
    work = {"job": "j", "batch": None, "path": "", "path_quoted": "", "since": 7.0}
    here = way.stops(told, zone(index={"working": 1, "longest": work}))[3]
    assert (here.when_words, here.when) == ("Since", 7.0)
    queued = way.stops(told, zone(index={"queued": 3}))[3]
    assert queued.text == "3 files wait for this step."


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("store", "done done bad skipped done now"),
        ("index", "done done done bad done now"),
        ("rescue", "done done skipped skipped done now"),
    ],
)
def test_a_failure_is_told_where_it_happened(step, expected):
    job = {"status": "failed", "outcome": "failed", "error_step": step}
    told = journey({**job, "end_reason": "No.", "what_to_do": "Mend."}, batch="b")
    assert tones(told) == expected
    assert way.lead(told, ()) == ("bad", "It failed. No.", "Mend.")


def test_what_was_tried_again_or_set_aside_is_no_failure_any_more():
    job = {"status": "failed", "outcome": "failed", "end_reason": "No."}
    ended = {"end_reason": "retried", "error_message": "No.", "retried_as": "k"}
    tried = "It failed, and was tried again. No."
    assert way.lead(journey({**job, **ended}), ()) == ("calm", tried, "")
    gone = journey({**job, "removed_at": 3.0, "removed_by": "anna, set aside"})
    assert "anna, set aside" in way.lead(gone, ())[1]


@pytest.mark.parametrize("outcome", ["duplicate", "stored_only", "empty"])
def test_each_outcome_has_a_sentence_and_its_notes(outcome):
    told = journey({"outcome": outcome}, run_id="r", receipt={"notes": ["no_text"]})
    assert tones(told) == "done done done done done done"
    tone, sentence, _ = way.lead(told, way.stops(told, None))
    assert tone == "good"
    assert sentence.endswith("No text was found in it: it may hold only pictures.")
