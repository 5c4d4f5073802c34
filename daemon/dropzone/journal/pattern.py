"""Patterns of SQLite's GLOB, for what lies in paths."""

import re

from dropzone.text import folded

# What ``text.display`` makes of bytes and characters that it does not show.
_SHOWN = re.compile(r"((?:\\x[0-9a-f]{2})+)|\\u((?!d[89a-f])[0-9a-f]{4})|\\([nrt])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def folded_path(path: bytes) -> str | None:
    """Return a path as paths are compared; None where SQLite's lower() makes it so."""
    return None if path.isascii() else folded(path)


def containing(text: str) -> str:
    """Return the pattern of folded paths that contain ``text``."""
    return f"*{_literally(text)}*"


def containing_shown(text: str) -> str | None:
    """Return the same for a name as it is shown; None where that is as it is."""
    parts, at = [], 0
    for match in _SHOWN.finditer(text):
        parts += [_literally(text[at : match.start()]), _meant(match)]
        at = match.end()
    return f"*{''.join([*parts, _literally(text[at:])])}*" if parts else None


def _meant(match: re.Match[str]) -> str:
    if match[1]:
        # Bytes that are no characters.
        return "*"
    return _literally(_CONTROLS[match[3]] if match[3] else chr(int(match[2], 16)))


def _literally(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", folded(text))
