"""What all commands share: errors come out as sentences, with an exit code by kind."""

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from dropzone.errors import ConfigurationError, DropzoneError, UsageError

PROBLEM = 1
WRONG_USE = 2


class Command(TyperCommand):
    """A command whose errors are told on stderr, or with ``--json`` on stdout."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            # Typer's own ways to end; a broken pipe is a reader who has seen enough.
            raise
        except DropzoneError as error:
            told, hint, code = error.message, error.hint, exit_code(error)
        except OSError as error:
            told, hint, code = _of_the_system(error), "", PROBLEM
        except Exception as error:  # noqa: BLE001 a fault of ours, told with its place
            told, hint, code = _fault(error), _REPORT, PROBLEM
        tell(told, hint, as_json=bool(ctx.params.get("as_json")))
        raise typer.Exit(code)


def exit_code(error: DropzoneError) -> int:
    wrong = isinstance(error, (ConfigurationError, UsageError))
    return WRONG_USE if wrong else PROBLEM


def tell(message: str, hint: str, *, as_json: bool) -> None:
    """Print an error: a sentence and what to do, or both as one JSON object."""
    if as_json:
        print(json.dumps({"error": message, "what_to_do": hint}, indent=2))
    else:
        print("\n".join(filter(None, [message, hint])), file=sys.stderr)


def _of_the_system(error: OSError) -> str:
    from dropzone.text import display

    reason = error.strerror or type(error).__name__
    return f"{display(error.filename)}: {reason}." if error.filename else f"{reason}."


def _fault(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    return f"Unexpected {type(error).__name__}: {error} ({place})."


_REPORT = "This is a fault of dropzone, not of yours: please report it."
