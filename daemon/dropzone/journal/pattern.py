"""Patterns of SQLite's GLOB, for what lies in paths."""


def containing(text: str) -> str:
    """Return the pattern of small letters that contain ``text``.

    ``lower()`` of SQLite knows only the letters of ASCII, so others are looked for in
    both sizes.
    """
    return f"*{''.join(map(_either, text))}*"


def _either(character: str) -> str:
    if character in "*?[":
        return f"[{character}]"
    if character.isascii():
        return character.lower()
    cases = {character, character.lower(), character.upper()}
    return f"[{''.join(sorted(one for one in cases if len(one) == 1))}]"
