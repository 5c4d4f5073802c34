"""What a person sees of an error on the terminal."""

import contextlib
import io
from pathlib import Path

import pytest

from dropzone import log


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_traceback_shows_no_values(form: str) -> None:
    out = io.StringIO()
    log.configure(form=form, out=out)
    password = "canary-in-a-variable"
    try:
        int(password)
    except ValueError:
        log.get("test").exception("step failed")
    assert "ValueError" in out.getvalue()
    # The message itself names what was not a number.
    assert out.getvalue().count(password) == 1


def test_a_log_that_nobody_takes_stops_nobody() -> None:
    out = Path("/dev/full").open("w")  # noqa: SIM115 it cannot be closed in order
    try:
        log.configure(form="json", out=out)
        for _ in range(3):
            log.get("test").error("the disk is full")
    finally:
        log.configure()
        with contextlib.suppress(OSError):
            out.close()
