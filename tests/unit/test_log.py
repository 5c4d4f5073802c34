"""What a person sees of an error on the terminal."""

import io

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
