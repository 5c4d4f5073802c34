"""The one way to Postgres: a pool of connections that fails fast and heals itself."""
# ruff: noqa: TID251 - this module owns the Postgres driver.

import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar, overload

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row, tuple_row

from dropzone.errors import ServiceUnavailable
from dropzone.retry import Retry
from dropzone.sessions import migrate, postgres_errors
from dropzone.sessions.guard import Guard
from dropzone.sessions.health import Health, measure
from dropzone.sessions.postgres_commit import CommitOnce
from dropzone.sessions.postgres_connection import (
    Connection,
)
from dropzone.sessions.postgres_lender import Lender
from dropzone.sessions.postgres_rows import BulkInsert, OnConflict, Row
from dropzone.sessions.settings import PostgresSettings
from dropzone.sessions.stats import ServiceStats

T = TypeVar("T")
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
_PROBE_SECONDS = 3
_IDLE_SECONDS = 300

# Every failed connection is raised to a caller, who tells it once; the pool would
# add lines of its own that are no events with keys.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


class PostgresSession:
    """One database. Connections commit by themselves outside ``transaction()``.

    Whatever uses the database through here raises ServiceUnavailable when the
    surroundings are at fault and DocumentRejected when the data is, each with the
    driver's error as its ``__cause__``; other errors of the driver (a wrong statement)
    are faults of the program and pass as they are.

    Each loan waits for a free connection for ``postgres.connection_timeout`` seconds,
    each statement ends after ``postgres.statement_timeout_seconds``.
    """

    def __init__(
        self, settings: PostgresSettings, *, stop: threading.Event | None = None
    ) -> None:
        self.lender = Lender(settings)
        #: Database, host and port, for messages.
        self.address = self.lender.address
        self._stop = stop or threading.Event()
        self.retry = Retry(
            settings.retry, transient=self.lender.is_transient, stop=stop
        )
        self.guard = Guard(
            "postgres",
            address=lambda: self.address,
            look=lambda: measure(self._look),
            counts=postgres_errors.is_outage,
        )

    @contextmanager
    def connection(self, *, patience: float | None = None) -> Iterator[Connection]:
        """Lend a working connection; it is back in the pool afterwards.

        A statement on it fails once the server was silent for ``patience`` seconds,
        without it once no statement may take longer.
        """
        with self.guard.operation("connection"), self.translating():
            connection = self.lender.checkout(patience)
        try:
            with self.translating(), self.lender.returned(connection):
                yield connection
        except ServiceUnavailable as error:
            self.guard.failed(error)
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a connection inside a transaction, committed at the end of the block.

        A ServiceUnavailable from here leaves open whether it was committed.
        """
        with self.connection() as connection, connection.transaction():
            yield connection

    def borrow(self) -> Connection:
        """Lend a connection until its ``close()``, which gives it back.

        For code that was written for connections of its own: nothing is committed
        until its ``commit()``, and the rest is rolled back.
        """
        with self.guard.operation("connection"), self.translating():
            connection = self.lender.checkout()
            connection.autocommit = False
        connection.lender = self.lender.give_back
        return connection

    def run(self, function: Callable[[Connection], T]) -> T:
        """Return what ``function`` returns, run in a transaction of its own.

        The whole transaction is repeated after a lost connection, a deadlock or a
        serialization failure. It may have been committed already when the
        connection was lost, so ``function`` must bear running twice.
        """

        def once(connection: Connection) -> T:
            with connection.transaction():
                return function(connection)

        return self._repeated("run", once)

    def run_once(self, function: Callable[[Connection], T]) -> T:
        """Do as ``run``, and commit exactly once.

        When the connection is lost during the commit, the server is asked whether it
        took place. ``function`` may run twice, but only what one run wrote stays.

        Raises:
            ServiceUnavailable: also when the server cannot tell, such as another one
                that took over.

        """
        return self._repeated("run_once", self._commit_once(function))

    @overload
    def query(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: Literal[False] = False,
    ) -> list[DictRow]: ...
    @overload
    def query(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: Literal[True],
    ) -> list[TupleRow]: ...
    def query(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: bool = False,
    ) -> list[DictRow] | list[TupleRow]:
        """Return all rows of one statement, as dicts by column or as tuples.

        It is repeated after a lost connection: a statement that writes and returns
        rows belongs into ``run_once``.
        """

        def ask(connection: Connection) -> list[Any]:
            with connection.cursor(row_factory=_factory(as_tuples)) as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []

        return self._repeated("query", ask)

    def stream(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: bool = False,
        rows_at_once: int = 1000,
    ) -> Iterator[Any]:
        """Yield the rows of one statement; ``rows_at_once`` of them are in memory.

        A connection is lent from the first row until the iteration ends or is closed.
        Nothing is repeated: after a ServiceUnavailable begin anew.
        """
        with (
            self.guard.operation("stream"),
            self.translating(),
            self.lender.lent() as connection,
            connection.transaction(),
            connection.cursor("rows", row_factory=_factory(as_tuples)) as cursor,
        ):
            cursor.itersize = rows_at_once
            cursor.execute(statement, parameters)
            yield from cursor

    def execute(self, statement: str, parameters: Parameters | None = None) -> int:
        """Run one statement exactly once, as ``run_once``; return how many rows.

        It runs in a transaction: VACUUM and its like want ``connection()``.
        """

        def write(connection: Connection) -> int:
            cursor = connection.execute(statement, parameters)
            if cursor.statusmessage == "CREATE EXTENSION":
                connection.asked_at = -math.inf
            return cursor.rowcount

        return self._repeated("execute", self._commit_once(write))

    def bulk_insert(
        self,
        table: str,
        rows: Iterable[Row],
        *,
        columns: Sequence[str] | None = None,
        on_conflict: OnConflict = "fail",
        rows_per_commit: int | None = None,
    ) -> int:
        """Insert rows by binary COPY; return how many were inserted or replaced.

        ``table`` may name its schema (``texts.notes``). Rows are mappings (the first
        one tells the columns) or sequences in the order of ``columns``, by default all
        columns of the table. A value for a ``vector`` or ``halfvec`` column is a list
        of numbers, a numpy array of shape (dims,), or bytes: little-endian numbers of
        the column's width, 4 or 2 bytes each. Memory holds 256 rows at a time.

        All rows are one transaction, committed once. After a lost connection it is
        repeated, where ``rows`` can be iterated again (a list, not a generator). With
        ``rows_per_commit`` that many are held in memory and committed together, and
        only these are repeated: a generator then survives an outage too, and what was
        committed stays when a later row is refused.

        ``on_conflict`` with a unique key: ``fail``, ``skip`` the new row, or
        ``replace`` the old one (found by the primary key).

        Raises:
            DocumentRejected: a value does not fit its column, or the key is taken.
            ServiceUnavailable: also when the connection was lost in the middle of rows
                that cannot be iterated again; none of this transaction is inserted.
            ValueError: there is no such column.

        """
        insert = BulkInsert(table, columns, on_conflict)
        with self.guard.operation("bulk_insert"), self.translating():
            if rows_per_commit is not None:
                return insert.in_groups(rows, rows_per_commit, self._committed)
            return insert.at_once(rows, self._committed)

    def bulk_insert_embeddings(
        self,
        rows: Iterable[Row],
        *,
        table: str = "embeddings",
        columns: Sequence[str] | None = None,
        on_conflict: OnConflict = "fail",
        rows_per_commit: int | None = None,
    ) -> int:
        """Insert rows with vectors in them: ``bulk_insert`` under its usual name."""
        return self.bulk_insert(
            table,
            rows,
            columns=columns,
            on_conflict=on_conflict,
            rows_per_commit=rows_per_commit,
        )

    def migrate(self) -> list[str]:
        """Bring the schema of dropzone up to date; return the names of files applied.

        Raises:
            ConfigurationError: the schema is newer than this program, pgvector is
                missing, or the rights to make the tables are.

        """
        with self.connection() as connection:
            # It waits for other processes, and may take as long as it needs.
            connection.patience = math.inf
            try:
                return migrate.migrate(connection)
            finally:
                self.lender.configure(connection)

    def check(self) -> Health:
        """Connect and ask once, outside the pool, with short limits.

        A server that takes no writes is as good as none.
        """
        return self.guard.looked(measure(self._look))

    def stats(self) -> ServiceStats:
        """Return how often each operation was called, and how that went."""
        return self.guard.stats()

    def close(self) -> None:
        """Close the idle connections at once and the others when they come back."""
        self.lender.close()

    def _repeated(self, name: str, work: Callable[[Connection], T]) -> T:
        with self.guard.operation(name), self.translating():
            return self._attempts(work)

    def _attempts(self, work: Callable[[Connection], T]) -> T:
        def once() -> T:
            with self.lender.lent() as connection:
                return work(connection)

        return self.retry.call(once)

    def _committed(self, function: Callable[[Connection], T]) -> T:
        with self.translating():
            return self._attempts(self._commit_once(function))

    def _commit_once(self, function: Callable[[Connection], T]) -> CommitOnce[T]:
        return CommitOnce(function, self.address, self.lender.patience, self._stop)

    def translating(self) -> postgres_errors.Translating:
        return postgres_errors.Translating(self.address)

    def _look(self) -> None:
        with self.translating(), self.lender.direct(_PROBE_SECONDS) as connection:
            connection.patience = _PROBE_SECONDS
            row = connection.execute("SHOW transaction_read_only").fetchone()
            if row is not None and row["transaction_read_only"] == "on":
                raise psycopg.errors.ReadOnlySqlTransaction("it is read-only")


def copy_rows(
    connection: Connection,
    statement: str,
    types: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Send ``rows`` by ``statement``, a COPY ... FROM STDIN (FORMAT BINARY).

    ``types`` are the Postgres types of the columns: binary COPY converts nothing.
    """
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def half_vectors(data: bytes, dims: int) -> list[Any]:
    """Return little-endian float16 numbers, ``dims`` to a vector, as parameters."""
    import numpy as np
    from pgvector import HalfVector

    return [HalfVector(row) for row in np.frombuffer(data, "<f2").reshape(-1, dims)]


def jsonb(value: object) -> Any:
    """Return ``value`` as a parameter of type jsonb."""
    from psycopg.types.json import Jsonb

    return Jsonb(value)


def _factory(as_tuples: bool) -> Any:
    return tuple_row if as_tuples else dict_row
