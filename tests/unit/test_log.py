"""What a person sees of an error on the terminal."""

import contextlib
import io
import json
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
    taken = io.StringIO()
    # Each line goes to the disk at once, as with standard error.
    out = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115 closing fails, too
    try:
        with pytest.raises(OSError, match="No space left"):
            out.write("nobody takes this\n")
        log.configure(form="json", out=out)
        for _ in range(3):
            log.get("test").error("the disk is full")
        log.configure(form="json", out=taken)
        log.get("test").error("there is room")
    finally:
        log.configure()
        with contextlib.suppress(OSError):
            out.close()
    assert json.loads(taken.getvalue())["event"] == "there is room"
