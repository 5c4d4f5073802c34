"""Whole copies of SQLite files while others write to them, and what moves with them."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from dropzone.errors import ServiceUnavailable

_PAGES = 2000


def copy(source: Path, target: Path) -> int:
    """Copy a database as of one moment; return the version of its schema.

    Raises:
        ServiceUnavailable: it cannot be read, or the copy not be written (``disk``).

    """
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as here,
            closing(sqlite3.connect(target)) as there,
        ):
            here.backup(there, pages=_PAGES)
            # A copy in one file: nothing is to lie beside it.
            there.execute("PRAGMA journal_mode = DELETE")
            return int(there.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise ServiceUnavailable(
            "disk",
            f"{source} cannot be copied: {error}.",
            hint="Free some space where the copy goes, and try again.",
        ) from error


def move_texts(
    database: Path, columns: Iterable[tuple[str, str]], old: str, new: str
) -> None:
    """Put ``new`` for ``old`` where texts of these ``(table, column)`` begin with it.

    Tables that are not there are left out.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        known = {name for (name,) in rows}
        for table, column in columns:
            if table in known:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 names of ours
                    f"WHERE substr({column}, 1, ?) = ?",
                    [new, len(old) + 1, len(old), old],
                )
