"""Where an uploaded file goes below ``input/``. Pure: names come from strangers."""

import unicodedata
from collections.abc import Callable

from dropzone.errors import UsageError
from dropzone.listing import DEPTH_MAX
from dropzone.places import NAME_MAX
from dropzone.text import display

#: Every path of a zone is longer than one in input/, and 4095 is all the system takes.
PATH_MAX = 3000
_SHOWN = 100


def path_of(
    filename: str, relative: str, collection: str, ignores: Callable[[bytes], bool]
) -> bytes:
    """Return the path below ``input/``.

    ``relative`` is a path with the file's name at its end, and counts instead of the
    ``filename`` where it is given. ``ignores`` tells names that intake leaves alone.

    Raises:
        UsageError: no file can be dropped under this name.

    """
    _check_given(filename, relative, collection)
    name = relative or filename
    whole = f"{collection}/{name}" if collection else name
    parts = whole.split("/")
    for part in parts:
        _check(part, ignores)
    path = whole.encode()
    if len(parts) - 1 > DEPTH_MAX or len(path) > PATH_MAX:
        raise UsageError(
            f"The path {_shown(name)} is too long: {len(path)} bytes in "
            f"{len(parts) - 1} folders, of {PATH_MAX} bytes and {DEPTH_MAX} folders.",
            hint="Upload it under a shorter path.",
        )
    return path


def _check_given(filename: str, relative: str, collection: str) -> None:
    if not relative and not filename:
        raise UsageError(
            "The file has no name.", hint="Upload-Metadata takes a filename."
        )
    if relative and filename and relative.rpartition("/")[2] != filename:
        raise UsageError(
            f"The relativePath {_shown(relative)} does not end with the filename "
            f"{_shown(filename)}.",
            hint="A relativePath has the name of the file at its end.",
        )
    if "/" in collection:
        raise UsageError(
            f"{_shown(collection)} is no name for a collection: it has a slash.",
            hint="A collection is one folder of input/, for example: papers.",
        )
    if not relative and "/" in filename:
        raise UsageError(
            f"The filename {_shown(filename)} has a slash.",
            hint="Give a path as relativePath.",
        )


def _check(part: str, ignores: Callable[[bytes], bool]) -> None:
    if part in {"", ".", ".."}:
        raise UsageError(
            f"A path cannot have the part {part!r}.",
            hint="Give a relative path without . and .., such as trips/2026/map.pdf.",
        )
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in part):
        raise UsageError(
            f"The name {_shown(part)} has a control character.",
            hint="Rename the file, and upload it again.",
        )
    name = part.encode()
    if len(name) > NAME_MAX:
        raise UsageError(
            f"The name {_shown(part)} has {len(name)} bytes; {NAME_MAX} are allowed.",
            hint="Upload it under a shorter name.",
        )
    if ignores(name):
        raise UsageError(
            f"{_shown(part)} would be left alone: hidden and temporary names are not "
            "taken.",
            hint="Rename the file, and upload it again.",
        )


def _shown(text: str) -> str:
    shown = display(text)
    return f"'{shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}...'}'"
