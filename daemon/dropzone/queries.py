"""Reads the named statements of a ``.sql`` file that lies beside the code."""

import re
from importlib.resources import files

_INCLUDE = re.compile(r"^ *-- include: (\w+)$", re.MULTILINE)


def load(package: str, name: str) -> dict[str, str]:
    """Return the statements of ``package``'s file ``name`` by their names.

    A statement starts at a line ``-- name: some_name`` and ends before the next one.
    A line ``-- include: some_name`` in it stands for the statement of that name, which
    comes before it.
    """
    statements: dict[str, str] = {}
    for part in text(package, name).split("-- name: ")[1:]:
        title, _, body = part.partition("\n")
        statements[title.strip()] = _INCLUDE.sub(
            lambda line: statements[line[1]], body.strip()
        )
    return statements


def text(package: str, name: str) -> str:
    """Return the whole of ``package``'s file ``name``."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
