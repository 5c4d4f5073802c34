"""What the page says first."""

import pytest

from dropzone.web.api import headline
from dropzone.web.api.models import Service


def service(name: str, *, healthy: bool | None) -> Service:
    return Service(
        service=name,
        healthy=healthy,
        error="",
        checked_at=None,
        latency_seconds=None,
        note="",
    )


@pytest.mark.parametrize(
    ("healthy", "tone", "word"),
    [
        ((True, True, True), "good", "All is well"),
        # Nobody has looked yet; and runs may be logged later.
        ((None, None, False), "good", "All is well"),
        ((True, False, True), "bad", "Postgres away"),
        ((False, False, True), "bad", "S3 and Postgres away"),
    ],
)
def test_all_is_not_well_while_what_files_need_does_not_answer(healthy, tone, word):
    names = ("s3", "postgres", "mlflow")
    services = [service(n, healthy=h) for n, h in zip(names, healthy, strict=True)]
    told = headline.of([], services)
    assert (told.tone, told.word) == (tone, word)
    assert ("not answer" in told.text) == (tone == "bad")
