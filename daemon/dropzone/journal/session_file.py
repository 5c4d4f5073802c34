"""The file of the session records: one writer, a few readers, the cache between."""

import collections
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dropzone import queries
from dropzone.errors import ServiceUnavailable, ZoneError
from dropzone.journal.session import Session
from dropzone.journal.session_cache import Changes, SessionCache
from dropzone.journal.session_errors import (
    SessionDataError,
    SessionError,
    SessionFileError,
)
from dropzone.journal.session_works import SQL, Work
from dropzone.journal.writer import Unit, Writer

SCHEMA_VERSION = 1
# "dzse" in the header of the file: no journal, and nobody else's database.
_APPLICATION = 0x647A7365
# Seconds to wait for the commits of other processes.
_PATIENCE = 30.0
# Callers are many and their changes small: longer groups than the job journal's.
_GROUP = 1024
# Pages of 4 KB in the log before they are copied into the file.
_CHECKPOINT = 8000
# Memory for the writer's pages: a change of any of 40,000 records finds them there.
_PAGES_KB = 16 * 1024

T = TypeVar("T")


class SessionFile:
    """Open on one path, made where it is not there; shared by all threads."""

    def __init__(self, path: Path, *, cached: int) -> None:
        """Open the file.

        Raises:
            SessionFileError: it is damaged, newer, or something else.
            ServiceUnavailable: the disk does not take it (``disk``).

        """
        self.path = path
        self._readers: collections.deque[sqlite3.Connection] = collections.deque()
        self._closed = False
        self._pid = os.getpid()
        self._number = 0
        self._changes: list[Changes] = []
        try:
            connection, number = _prepared(path)
        except sqlite3.Error as error:
            raise self._told(error) from error
        self.cache = SessionCache(cached, number)
        self.writer = Writer(
            connection,
            group=_GROUP,
            translate=self._told,
            keeper=self,
            name="session file",
        )

    def close(self) -> None:
        """Commit what is queued and close. Idempotent."""
        self._closed = True
        self.writer.close()
        while self._readers:
            self._readers.pop().close()

    def hit(self, key: str) -> Session | None:
        """Return the record if memory has it as it is in the file now."""
        return self._read(lambda reader: self._hit(reader, key))

    def get(self, key: str) -> Session | None:
        """Return the record as it is in the file now, from memory if it is there."""
        return self._read(lambda reader: self._get(reader, key))

    def rows(self, name: str, values: Any = ()) -> list[Any]:
        """Return the rows of one of the named read statements."""
        return self._read(lambda r: r.execute(SQL[name], values).fetchall())

    # As the writer's keeper, on its thread.

    def begun(self, connection: sqlite3.Connection) -> None:
        self._number = connection.execute(SQL["commit"]).fetchone()[0]
        self.cache.begin(self._number)

    def ready(self, units: Sequence[Unit[Any]]) -> None:
        self._changes = [unit.changes() for unit in units if isinstance(unit, Work)]
        self.cache.prepare(self._number, self._changes)

    def committed(self) -> None:
        self.cache.publish(self._changes)

    def failed(self) -> None:
        self.cache.abandon()

    def _get(self, reader: sqlite3.Connection, key: str) -> Session | None:
        # Before the row is read, so that the row is at least as new as that.
        turn = self.cache.turn
        if (found := self._hit(reader, key)) is not None:
            return found
        row = reader.execute(SQL["get"], (key,)).fetchone()
        if row is None:
            return None
        record = Session.of(row)
        self.cache.keep(record, turn)
        return record

    def _hit(self, reader: sqlite3.Connection, key: str) -> Session | None:
        number = reader.execute(SQL["number"]).fetchone()[0]
        return self.cache.look(key, number)

    def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise SessionFileError("The session file is closed.")
        if self._pid != os.getpid():
            raise SessionFileError(
                "The session file was opened before this process was forked.",
                hint="Open it after the fork.",
            )
        try:
            try:
                reader = self._readers.pop()
            except IndexError:
                reader = _connect(self.path)
                reader.execute("PRAGMA query_only = ON")
            try:
                return ask(reader)
            finally:
                self._give_back(reader)
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _give_back(self, reader: sqlite3.Connection) -> None:
        self._readers.append(reader)
        if self._closed:
            # close() may have looked already.
            with contextlib.suppress(IndexError):
                self._readers.pop().close()

    def _told(self, error: Exception) -> Exception:
        return translated(error, self.path)


def _connect(path: Path) -> sqlite3.Connection:
    # Closed by SessionFile.close, from whichever thread calls it.
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE
    )


def _prepared(path: Path) -> tuple[sqlite3.Connection, int]:
    """Return the writer's connection, and the number of the last commit."""
    connection = _connect(path)
    try:
        _use_log(connection)
        # FULL: a commit that returned survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
        connection.execute(f"PRAGMA cache_size = {-_PAGES_KB}")
        if not _made(connection, path):
            _make(connection, path)
        number = int(connection.execute(SQL["number"]).fetchone()[0])
    except BaseException:
        connection.close()
        raise
    return connection, number


def _use_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait for others who do so just now."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            threading.Event().wait(0.01)
        else:
            return


def _made(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the tables are there, and are ours."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != _APPLICATION and (application or version or tables):
        raise SessionFileError(
            f"{path} is a database, but not one of session records.",
            hint="Name another file: it is made if it is not there.",
        )
    if version > SCHEMA_VERSION:
        raise SessionFileError(
            f"{path} was written by a newer dropzone (schema {version}).",
            hint="Install that version, or a later one.",
        )
    return bool(version)


def _make(connection: sqlite3.Connection, path: Path) -> None:
    schema = queries.text("dropzone.journal", "sessions_schema.sql")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have made it while this one waited.
    if _made(connection, path):
        connection.execute("ROLLBACK")
        return
    for statement in _statements(schema):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    """Return the statements of a script; ``executescript`` would commit first."""
    found, part = [], ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return found


def translated(error: Exception, path: Path) -> Exception:
    """Return the error as one of ours, if it is SQLite's word on disk or file."""
    if isinstance(error, ZoneError):
        return SessionFileError(error.message, hint=error.hint)
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_TOOBIG:
        return SessionDataError("The data is larger than SQLite keeps in one record.")
    if type(error) is sqlite3.DatabaseError or code == sqlite3.SQLITE_ERROR:
        return SessionFileError(
            f"The session records {path} are damaged: {error}.",
            hint="Restore a copy, or move the file and its -wal and -shm away: "
            "then a new one is made.",
        )
    if isinstance(error, sqlite3.OperationalError):
        return _unavailable(error, code, path)
    return SessionError(f"SQLite refused the record: {error}.")


def _unavailable(error: Exception, code: int, path: Path) -> ServiceUnavailable:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ServiceUnavailable(
            "disk",
            f"Another process has kept {path} for {_PATIENCE:.0f} seconds.",
            hint=f"Find it with: fuser {path}",
        )
    return ServiceUnavailable(
        "disk",
        f"The session records {path} cannot be used: {error}.",
        hint="Free space on the disk, or mend the rights of the file's folder.",
    )
