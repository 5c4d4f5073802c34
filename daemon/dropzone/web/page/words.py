"""How values are written for people: times, sizes, and what a state is called."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from dropzone import text

_WELL, _OFF, _ILL, _BUSY = "good", "calm", "bad", "busy"
_OUTCOMES = {
    "indexed": ("indexed", _WELL),
    "duplicate": ("duplicate", _OFF),
    "stored_only": ("stored only", _OFF),
    "empty": ("empty", _OFF),
    "failed": ("failed", _ILL),
}
_STATES = {
    "claiming": ("being claimed", _BUSY),
    "claimed": ("claimed", _BUSY),
    "stored": ("stored in S3", _BUSY),
    "indexed": ("in Postgres", _BUSY),
    "waiting": ("waiting", "warn"),
    "done": ("done", _WELL),
    "failed": ("failed", _ILL),
}
_TRIED_AGAIN = ("tried again", _OFF)
_SET_ASIDE = ("set aside", _OFF)
# Part of a sentence that says which call of the API helps.
_CALL = re.compile(r"[^.;]*\bGET /api/[^.;]*[.;]?")
_SLASH = re.compile(r"(?<=[^/])/(?=[^/])")
_STYLES = frozenset({"ago", "clock", "moment"})
_LONG, _SHORT = 60.0, 1.0


def moment(seconds: float | None, style: str = "moment") -> Markup:
    """Return a time: UTC here, which a script turns into the viewer's zone.

    ``ago`` becomes "3 min ago", ``clock`` the hour of today, ``moment`` both.
    """
    if style not in _STYLES:
        raise ValueError(style)
    if seconds is None:
        return Markup('<span class="none">not yet</span>')
    at = datetime.fromtimestamp(seconds, UTC)
    exact = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" data-as="{}">{}</time>').format(
        exact, style, shown
    )


def duration(seconds: float | None) -> str:
    """Return a length of time, short ones in milliseconds."""
    if seconds is None:
        return "unknown"
    if seconds < _SHORT:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _LONG:
        return f"{seconds:.1f} s"
    return text.span(seconds)


def size(bytes_: int) -> str:
    """Return a number of bytes, on one line with its unit."""
    return text.size(bytes_).replace(" ", "\N{NO-BREAK SPACE}")


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 file, 2,000 files."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def state(job: Any) -> tuple[str, str]:
    """Return what the state of a job is called, and its tone."""
    if job.retried_as or job.end_reason == "retried":
        return _TRIED_AGAIN
    if job.removed_at and job.status == "failed":
        return _SET_ASIDE
    if job.outcome is not None:
        return _OUTCOMES[str(job.outcome)]
    return _STATES[str(job.status)]


def name_of(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]


def for_people(hint: str) -> str:
    """Return what to do without calls of the API, which are of no use on a page."""
    told = _CALL.sub("", hint).strip().rstrip(";")
    return told if not told or told.endswith((".", "!", "?")) else f"{told}."


def path(whole: str) -> Markup:
    """Return a path that lines may break after each of its slashes."""
    return Markup("<bdi>{}</bdi>").format(Markup("/<wbr>").join(_SLASH.split(whole)))


def marked(snippet: str, marks: list[tuple[int, int]]) -> Markup:
    """Return a passage with the words that were found marked."""
    made, at = Markup(), 0
    for start, end in marks:
        made += escape(snippet[at:start])
        made += Markup("<mark>{}</mark>").format(snippet[start:end])
        at = end
    return made + escape(snippet[at:])


FILTERS: Mapping[str, Callable[..., Any]] = {
    "moment": moment,
    "duration": duration,
    "size": size,
    "count": count,
    "state": state,
    "name_of": name_of,
    "path": path,
    "for_people": for_people,
    "marked": marked,
}
