"""What is printed is safe on a terminal, exact in JSON, and never a traceback."""

import json
import time
from collections.abc import Callable

import pytest
import typer
from rich.console import Console

from dropzone.commands import output, render
from dropzone.commands.command import Command
from dropzone.errors import ConfigurationError, ServiceUnavailable, UsageError
from dropzone.models import Job, Outcome, Status

HOSTILE = b"a\nb\x1b[31m[red]\xff\xe2\x80\xae.txt"


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e12, "2.5 TB")],
)
def test_sizes(count: int, told: str) -> None:
    assert output.size(count) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-3, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3660, "1 h 1 min"),
     (90000, "1 d 1 h")],
)  # fmt: skip
def test_lengths_of_time(seconds: float, told: str) -> None:
    assert output.span(seconds) == told


def test_json_keeps_names_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"path": HOSTILE, "when": None, "state": Status.DONE})
    told = capsys.readouterr().out
    assert told.isascii()
    assert json.loads(told) == {
        "path": "a\\nb\\x1b[31m[red]\\xff\\u202e.txt",
        "path_quoted": "a%0Ab%1B%5B31m%5Bred%5D%FF%E2%80%AE.txt",
        "when": None,
        "state": "done",
    }


def test_a_name_can_neither_style_nor_forge_a_line() -> None:
    job = Job(
        id="01a1fbab-0c47-7001-bc91-e2a070d7d88d",
        zone="z",
        collection="c",
        path=HOSTILE,
        status=Status.FAILED,
        size=1,
        mtime_ns=0,
        outcome=Outcome.FAILED,
        end_reason="why\x1b]0;title\x07",
        created_at=time.time(),
    )
    out = Console(width=200, markup=False, highlight=False)
    with out.capture() as captured:
        for item in render.jobs([job]):
            out.print(item)
    lines = captured.get().splitlines()
    assert len(lines) == 3
    assert "\x1b" not in captured.get()
    assert "\\x1b[31m[red]" in lines[2]


def _fail(error: Exception) -> Callable[[], None]:
    def command(*, as_json: bool = False) -> None:  # noqa: ARG001 read by Command
        raise error

    app = typer.Typer()
    app.command(cls=Command)(command)
    return app


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UsageError("Wrong.", hint="Do so."), 2, "Wrong.\nDo so.\n"),
        (ConfigurationError("Key."), 2, "Key.\n"),
        (ServiceUnavailable("s3", "S3 is away."), 1, "S3 is away.\n"),
        (PermissionError(13, "Permission denied", "/x\n"), 1,
         "/x\\n: Permission denied.\n"),
    ],
)  # fmt: skip
def test_errors_are_sentences(
    error: Exception, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _fail(error)([])
    assert ended.value.code == code
    assert capsys.readouterr().err == told


def test_errors_are_json_where_json_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        _fail(UsageError("Wrong.", hint="Do so."))(["--as-json"])
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": "Wrong.", "what_to_do": "Do so."}
    assert not said.err


def test_a_fault_of_ours_is_told_with_its_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        _fail(KeyError("missing"))([])
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Unexpected KeyError: 'missing' (test_cli_output.py, line" in told
    assert "Traceback" not in told
