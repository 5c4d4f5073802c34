"""How values are printed: tables for people, one JSON document for programs."""

import datetime as dt
import json
import time
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from dropzone import plain, text
from dropzone.text import display

# Wide enough never to fold a path: what reads a pipe wants one line for each row.
_PIPE_WIDTH = 10_000
#: Messages, which commands do not make, tell sizes and times in the same words.
size, span = text.size, text.span


def console(*, stderr: bool = False) -> Console:
    """Return the place to print to; text is taken as it is, without markup."""
    out = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = _PIPE_WIDTH
    return out


def print_all(renderables: Iterable[RenderableType]) -> None:
    out = console()
    for item in renderables:
        out.print(item)


def print_json(value: object) -> None:
    """Print one JSON document; everything but ASCII is escaped."""
    print(json.dumps(plain.of(value), indent=2))


def table(
    *columns: str, numbers: Sequence[str] = (), whole: Sequence[str] = ()
) -> Table:
    """Return an empty table.

    Columns in ``numbers`` are set to the right; neither they nor those in ``whole``
    are folded.
    """
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        right = name in numbers
        made.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=right or name in whole,
            overflow="fold",
        )
    return made


def cells(*values: object) -> list[Text]:
    """Return the cells of a row, safe to show on a terminal."""
    return [Text("" if value is None else shown(value)) for value in values]


def shown(value: object) -> str:
    return display(value if isinstance(value, bytes) else str(value))


def ago(moment: float | None) -> str:
    """Return how long ago an epoch time was, in its largest unit."""
    if moment is None:
        return ""
    largest = span(time.time() - moment).split()[:2]
    return " ".join([*largest, "ago"])


def length(seconds: float | None) -> str:
    """Return a short time as people write it."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)  # noqa: PLR2004 a minute


def clock(moment: float | None) -> str:
    """Return an epoch time as local date and time with the offset."""
    if moment is None:
        return ""
    local = dt.datetime.fromtimestamp(moment, dt.UTC).astimezone()
    return local.isoformat(sep=" ", timespec="seconds")
