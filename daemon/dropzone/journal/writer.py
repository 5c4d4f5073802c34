"""Groups the commits of many threads into few: one fsync serves all who wait."""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from dropzone import log
from dropzone.errors import DropzoneError, ServiceUnavailable, ZoneError

# A group closes when this many units are in it: bounds the time a commit can take.
GROUP = 256


class JobConflict(DropzoneError):
    """Somebody else changed the record since it was read: read it again."""


class JournalDamaged(ZoneError):
    """SQLite cannot read the journal: the next start makes it again."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; ``must_match`` makes touching no row a JobConflict."""

    sql: str
    rows: Sequence[Mapping[str, Any]]
    must_match: bool = False


@dataclass(frozen=True, slots=True)
class _Unit:
    statements: Sequence[Statement]
    done: Future[None] = field(default_factory=Future)


class Writer:
    """One thread, one connection. ``write`` returns when its unit is on disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._log = log.get("journal")
        self._units: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def write(self, *statements: Statement) -> None:
        """Commit the statements together, all or none.

        Raises:
            JobConflict: a ``must_match`` statement touched no row.
            ServiceUnavailable: the disk does not take it (``disk``).
            JournalDamaged: SQLite cannot read it.
            ZoneError: it is closed.

        """
        unit = _Unit(statements)
        with self._lock:
            # Behind the end of the queue nobody would ever answer.
            if self._closed:
                raise ZoneError("The journal is closed.")
            self._units.put(unit)
        unit.done.result()

    def close(self) -> None:
        """Commit what is queued, then end the thread. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._units.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        ending = False
        while not ending:
            group = [self._units.get()]
            while len(group) < GROUP:
                try:
                    group.append(self._units.get_nowait())
                except queue.Empty:
                    break
            ending = None in group
            self._commit([unit for unit in group if unit is not None])

    def _commit(self, group: list[_Unit]) -> None:
        if not group:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            good = [unit for unit in group if self._apply(unit)]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 every waiting caller is told
            self._log.warning("commit failed", error=str(error), units=len(group))
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            for unit in group:
                if not unit.done.done():
                    unit.done.set_exception(translated(error))
            return
        for unit in good:
            unit.done.set_result(None)

    def _apply(self, unit: _Unit) -> bool:
        self._connection.execute("SAVEPOINT unit")
        try:
            for statement in unit.statements:
                self._execute(statement)
        except sqlite3.OperationalError:
            # The disk's fault: the whole transaction may be gone already.
            raise
        except Exception as error:  # noqa: BLE001 the unit's own fault: others go on
            self._connection.execute("ROLLBACK TO unit")
            self._connection.execute("RELEASE unit")
            unit.done.set_exception(translated(error))
            return False
        self._connection.execute("RELEASE unit")
        return True

    def _execute(self, statement: Statement) -> None:
        cursor = self._connection.executemany(statement.sql, statement.rows)
        if statement.must_match and cursor.rowcount != len(statement.rows):
            raise JobConflict("The job was changed by somebody else meanwhile.")


def translated(error: Exception) -> Exception:
    """Return the error as one of ours, if it is SQLite's word on disk or file."""
    if not isinstance(error, sqlite3.DatabaseError):
        return error
    code = getattr(error, "sqlite_errorcode", None)
    # SQLITE_ERROR is also what a file with an overwritten header or schema gives.
    if type(error) is sqlite3.DatabaseError or code == sqlite3.SQLITE_ERROR:
        return JournalDamaged(
            f"The journal is damaged: {error}.",
            hint="Start the daemon again: it makes the journal again from the receipts "
            "and the work folders, and keeps the damaged one beside it.",
        )
    if isinstance(error, sqlite3.OperationalError):
        return ServiceUnavailable(
            "disk",
            f"The journal cannot be written: {error}.",
            hint="Free space on the zone's disk, or mend its rights.",
        )
    return error
