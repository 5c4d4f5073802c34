"""Groups the commits of many threads into few: one fsync serves all who wait."""

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from dropzone.errors import DropzoneError, ServiceUnavailable, ZoneError

if TYPE_CHECKING:
    # Whoever has an event loop has imported it; nobody else pays for it.
    import asyncio

T = TypeVar("T")

# A group closes when this many units are in it: bounds the time a commit can take.
GROUP = 256
# A group waits for as many as the last ones had, but not longer than a commit takes,
# and that many seconds: without it every second group would be of one.
_LINGER = 0.005


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


class Unit(Generic[T]):
    """Work to be committed as a whole, and what came of it."""

    __slots__ = ("error", "future", "gate", "result")

    #: It is one statement, which is all or none by itself.
    single: ClassVar[bool] = False

    def __init__(self) -> None:
        self.result: T | None = None
        self.error: Exception | None = None
        self.gate: threading.Lock | None = None
        self.future: asyncio.Future[Any] | None = None

    def work(self, connection: sqlite3.Connection) -> T:
        """Do it, on the writer's thread and within the transaction."""
        raise NotImplementedError


class _Statements(Unit[None]):
    __slots__ = ("_statements",)

    def __init__(self, statements: Sequence[Statement]) -> None:
        super().__init__()
        self._statements = statements

    def work(self, connection: sqlite3.Connection) -> None:
        for statement in self._statements:
            cursor = connection.executemany(statement.sql, statement.rows)
            if statement.must_match and cursor.rowcount != len(statement.rows):
                raise JobConflict("The job was changed by somebody else meanwhile.")


class Keeper(Protocol):
    """Takes part in every commit, on the writer's thread."""

    def begun(self, connection: sqlite3.Connection) -> None:
        """Act within the transaction, before its units."""

    def ready(self, units: Sequence[Unit[Any]]) -> None:
        """Act before these units, which went well, are committed."""

    def committed(self) -> None:
        """Act when they are durable, before anybody is told."""

    def failed(self) -> None:
        """Act after none of them was committed."""


class Writer:
    """One thread, one connection. ``write`` returns when its unit is on disk."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        group: int = GROUP,
        translate: Callable[[Exception], Exception] | None = None,
        keeper: Keeper | None = None,
        name: str = "journal",
    ) -> None:
        self._connection = connection
        self._group = group
        self._translate = translate or translated
        self._keeper = keeper
        self._name = name
        self._pid = os.getpid()
        self._units: queue.SimpleQueue[Unit[Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._linger = 0.0
        self._last = 1
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def write(self, *statements: Statement) -> None:
        """Commit the statements together, all or none.

        Raises:
            JobConflict: a ``must_match`` statement touched no row.
            ServiceUnavailable: the disk does not take it (``disk``).
            JournalDamaged: SQLite cannot read it.
            ZoneError: it is closed.

        """
        self.run(_Statements(statements))

    def run(self, unit: Unit[T]) -> T:
        """Return what the unit's work returned, once it is on disk."""
        gate = unit.gate = threading.Lock()
        gate.acquire()
        self._put(unit)
        gate.acquire()
        if unit.error is not None:
            raise unit.error
        return unit.result  # type: ignore[return-value]  # set where no error is

    def submit(self, unit: Unit[Any], future: "asyncio.Future[Any]") -> None:
        """Have the future told, on its event loop, what ``run`` would return."""
        unit.future = future
        self._put(unit)

    def close(self) -> None:
        """Commit what is queued, then end the thread. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._units.put(None)
        self._thread.join()
        self._connection.close()

    def _put(self, unit: Unit[Any]) -> None:
        if self._pid != os.getpid():
            # The thread stayed behind in the parent: nobody would ever answer.
            raise self._translate(
                ZoneError(
                    f"The {self._name} was opened before this process was forked.",
                    hint="Open it after the fork.",
                )
            )
        with self._lock:
            # Behind the end of the queue nobody would ever answer.
            if self._closed:
                raise self._translate(ZoneError(f"The {self._name} is closed."))
            self._units.put(unit)

    def _run(self) -> None:
        ending = False
        while not ending:
            group = self._gather()
            ending = None in group
            units = [unit for unit in group if unit is not None]
            if units:
                self._commit(units)
                self._last = max(len(units), self._last // 2)
                _answer(units)

    def _gather(self) -> list[Unit[Any] | None]:
        group = [self._units.get()]
        expected = min(self._last, self._group)
        until = time.monotonic() + self._linger
        while len(group) < self._group and group[-1] is not None:
            try:
                group.append(self._units.get_nowait())
            except queue.Empty:
                left = until - time.monotonic()
                if len(group) >= expected or left <= 0:
                    break
                with contextlib.suppress(queue.Empty):
                    group.append(self._units.get(timeout=left))
        return group

    def _commit(self, units: list[Unit[Any]]) -> None:
        keeper = self._keeper
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if keeper is not None:
                keeper.begun(self._connection)
            for unit in units:
                self._apply(unit)
            if keeper is not None:
                keeper.ready([unit for unit in units if unit.error is None])
            begun = time.monotonic()
            self._connection.execute("COMMIT")
            self._linger = min(_LINGER, time.monotonic() - begun)
        except Exception as error:  # noqa: BLE001 every waiting caller is told
            self._give_up(units, error)
            return
        if keeper is not None:
            keeper.committed()

    def _give_up(self, units: list[Unit[Any]], error: Exception) -> None:
        # Imported here: whoever imports the package alone may never need it.
        from dropzone import log

        log.get(self._name).warning("commit failed", error=str(error), units=len(units))
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()
        if self._keeper is not None:
            self._keeper.failed()
        for unit in units:
            if unit.error is None:
                unit.error = self._translate(error)

    def _apply(self, unit: Unit[Any]) -> None:
        if not unit.single:
            self._connection.execute("SAVEPOINT unit")
        try:
            unit.result = unit.work(self._connection)
        except sqlite3.OperationalError:
            # The disk's fault: the whole transaction may be gone already.
            raise
        except Exception as error:  # noqa: BLE001 the unit's own fault: others go on
            unit.error = self._translate(error)
            if not unit.single:
                self._connection.execute("ROLLBACK TO unit")
        if not unit.single:
            self._connection.execute("RELEASE unit")


def _answer(units: Sequence[Unit[Any]]) -> None:
    """Wake who waits: each thread by its gate, each event loop once."""
    loops: dict[asyncio.AbstractEventLoop, list[Unit[Any]]] = {}
    for unit in units:
        if unit.gate is not None:
            unit.gate.release()
        elif unit.future is not None:
            loops.setdefault(unit.future.get_loop(), []).append(unit)
    for loop, waiting in loops.items():
        # A loop that was closed meanwhile has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, waiting)


def _resolve(units: Sequence[Unit[Any]]) -> None:
    for unit in units:
        if unit.future is None or unit.future.done():
            continue
        if unit.error is not None:
            unit.future.set_exception(unit.error)
        else:
            unit.future.set_result(unit.result)


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
            hint="Free space on the zone's disk, or mend its rights. Commands are for "
            "the daemon's user, and for root.",
        )
    return error
