"""What the pages say: paths, hints, and the headline of the first page."""

import pytest

from dropzone.pauses import STEPS
from dropzone.web.api import headline
from dropzone.web.api.models import Overview, Pause, Zone
from dropzone.web.page import now, words


def overview(*paused: tuple[str, str], pid: int | None = 1) -> Overview:
    pauses = [
        Pause.model_construct(step=step, service=service, reason="Away.", by="anna")
        for step, service in paused
    ]
    zone = Zone.model_construct(
        pid=pid,
        sentence="No daemon serves it.",
        pauses_unknown="",
        paused=pauses,
        failed=0,
        refused=[],
    )
    worst = headline.of([zone], [])
    told = {"tone": worst.tone, "word": worst.word, "headline": worst.text}
    return Overview.model_construct(zones=[zone], **told)


@pytest.mark.parametrize(
    ("paused", "told"),
    [
        ([], "All is well."),
        ([("index", "person")], "Index is paused by anna."),
        ([("store", "s3")], "Store stands still because of S3."),
        ([("store", "s3"), ("index", "person")], "Store stands still because of S3."),
        ([("claim", "disk")], "Claim stands still."),
        ([("store", "s3"), ("index", "postgres")], "Some steps stand still."),
        # While a server that the daemon runs itself is away.
        ([("services", "postgres")], "All work stands still because of Postgres."),
    ],
)
def test_the_headline_names_what_stands_still_in_a_few_words(paused, told):
    assert now._headline(overview(*paused)) == told


def test_of_a_zone_that_nothing_serves_nothing_else_is_told():
    told = overview(("store", "s3"), pid=None)
    assert now._headline(told) == "No daemon serves it."


def test_whatever_can_stand_still_has_a_name():
    assert {*STEPS, "services"} == set(now._NAMES)


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("", ""),
        ("Wait a moment.", "Wait a moment."),
        ("GET /api/v1/lookup?q=NAME finds it.", ""),
        ("Begin. GET /api/v1/collections lists them.", "Begin."),
        ("Wait; GET /api/v1/overview tells what is paused.", "Wait."),
    ],
)
def test_a_page_does_not_send_people_to_the_api(hint, told):
    assert words.for_people(hint) == told


def test_a_path_breaks_after_its_slashes_and_escapes_its_names():
    shown = words.path("/input/<b>/a & b.pdf")
    assert shown == "<bdi>/input/<wbr>&lt;b&gt;/<wbr>a &amp; b.pdf</bdi>"
