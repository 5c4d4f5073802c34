"""Patterns of SQLite's GLOB, for what lies in paths."""

import re

# What ``text.display`` makes of bytes and characters that it does not show.
_SHOWN = re.compile(r"((?:\\x[0-9a-f]{2})+)|\\u((?!d[89a-f])[0-9a-f]{4})|\\([nrt])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def containing(text: str) -> str:
    """Return the pattern of small letters that contain ``text``.

    ``lower()`` of SQLite knows only the letters of ASCII, so others are looked for in
    both sizes.
    """
    return f"*{''.join(map(_either, text))}*"


def containing_shown(text: str) -> str | None:
    """Return the same for a name as it is shown; None where that is as it is."""
    parts, at = [], 0
    for match in _SHOWN.finditer(text):
        parts += [*map(_either, text[at : match.start()]), _meant(match)]
        at = match.end()
    return f"*{''.join([*parts, *map(_either, text[at:])])}*" if parts else None


def _meant(match: re.Match[str]) -> str:
    if match[1]:
        # Bytes that are no characters.
        return "*"
    return _either(_CONTROLS[match[3]] if match[3] else chr(int(match[2], 16)))


def _either(character: str) -> str:
    if character in "*?[":
        return f"[{character}]"
    if character.isascii():
        return character.lower()
    cases = {character, character.lower(), character.upper()}
    return f"[{''.join(sorted(one for one in cases if len(one) == 1))}]"
