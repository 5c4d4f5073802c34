"""Makes the journal's file, and brings an older one to the schema of this version."""

import sqlite3
from pathlib import Path

from dropzone import queries
from dropzone.errors import ConfigurationError, ZoneError
from dropzone.journal.pattern import folded_path
from dropzone.journal.writer import JournalDamaged

VERSION = 4
# No dropzone ever gets here: the number was overwritten.
_LATEST_VERSION = 10_000


def prepare(path: Path) -> sqlite3.Connection:
    """Return a connection for writing to a journal of this schema.

    Raises:
        ConfigurationError: it was written by a newer version.
        JournalDamaged: its version is no version.

    """
    connection = connect(path)
    try:
        version = _version(connection, path)
        if version == 0:
            # Only before the first table: retention gives free pages back.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit that returned survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        if version < VERSION:
            _bring_up(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def check_made(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the journal can be read by this version.

    Raises:
        ConfigurationError: it was written by a newer version.
        ZoneError: the daemon has not made it yet, or not brought it up to date.

    """
    version = _version(connection, path)
    if version == 0:
        raise ZoneError(
            f"The journal {path} is being made just now.",
            hint="Try again in a moment.",
        )
    if version < VERSION:
        raise ZoneError(
            f"{path} was written by an older dropzone (schema {version}; this one "
            f"has {VERSION}).",
            hint="Start the daemon of this version; it brings the journal up to date: "
            "dropzone run.",
        )


def connect(path: Path) -> sqlite3.Connection:
    # Connections are closed by Journal.close, from whichever thread calls it.
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=10
    )
    connection.row_factory = sqlite3.Row
    return connection


def _bring_up(connection: sqlite3.Connection, version: int) -> None:
    """Apply what is missing, in one transaction: a crash leaves the old schema."""
    names = (
        [f"to_schema_{number}.sql" for number in range(version + 1, VERSION + 1)]
        if version
        else ["schema.sql"]
    )
    connection.create_function("folded", 1, folded_path, deterministic=True)
    wanted = ";".join(queries.text("dropzone.journal", name) for name in names)
    connection.executescript(
        f"BEGIN IMMEDIATE;{wanted};PRAGMA user_version = {VERSION};COMMIT;"
    )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > _LATEST_VERSION:
        raise JournalDamaged(f"The journal {path} says that its schema is {version}.")
    if version > VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer dropzone (schema {version}; this one "
            f"knows {VERSION}).",
            hint="Install that version or a later one, or restore the backup that was "
            "made before the upgrade.",
        )
    return version
