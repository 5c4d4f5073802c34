"""Postgres for coroutines: loans, queries and streams by psycopg's own, no threads."""
# ruff: noqa: TID251 - one of the modules that own the Postgres driver.

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar, overload

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row, tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from dropzone.errors import ServiceUnavailable
from dropzone.sessions import postgres_errors
from dropzone.sessions.postgres import Parameters, PostgresSession
from dropzone.sessions.postgres_connection import DOUBT_SECONDS, has_word
from dropzone.sessions.postgres_rows import OnConflict, Row
from dropzone.sessions.threads import Threads

T = TypeVar("T")
_IDLE_SECONDS = 300


class AsyncConnection(psycopg.AsyncConnection[DictRow]):
    """A connection that remembers when it was given back last, in monotonic time."""

    used_at = float("-inf")


class AsyncPostgresSession:
    """``PostgresSession`` for one event loop; the same errors, figures and breaker.

    Its loans, queries and streams have a pool of their own, of ``postgres.pool_size``
    connections, beside that of the session. A cancelled statement is cancelled on the
    server, and its connection goes back.
    """

    def __init__(self, session: PostgresSession, threads: Threads) -> None:
        self._session = session
        self._threads = threads
        self._guard = session.guard
        self._lender = session.lender
        self._doubtful = True
        self._pool = self._made()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Lend a working connection; it is back in the pool afterwards."""
        async with self._guard.async_operation("connection"):
            with self._session.translating():
                connection = await self._checkout()
        try:
            with self._session.translating():
                async with self._returned(connection):
                    yield connection
        except ServiceUnavailable as error:
            self._guard.failed(error)
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection inside a transaction, committed at the end of the block.

        A ServiceUnavailable from here leaves open whether it was committed.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    @overload
    async def query(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: Literal[False] = False,
    ) -> list[DictRow]: ...
    @overload
    async def query(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: Literal[True],
    ) -> list[TupleRow]: ...
    async def query(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: bool = False,
    ) -> list[DictRow] | list[TupleRow]:
        """Return all rows of one statement; it is repeated after a lost connection."""

        async def ask() -> list[Any]:
            connection = await self._checkout()
            factory: Any = tuple_row if as_tuples else dict_row
            async with (
                self._returned(connection),
                connection.cursor(row_factory=factory) as cursor,
            ):
                await cursor.execute(statement, parameters)
                return await cursor.fetchall() if cursor.description else []

        async with self._guard.async_operation("query"):
            with self._session.translating():
                return await self._session.retry.call_async(ask)

    async def stream(
        self,
        statement: str,
        parameters: Parameters | None = None,
        *,
        as_tuples: bool = False,
        rows_at_once: int = 1000,
    ) -> AsyncIterator[Any]:
        """Yield the rows of one statement; ``rows_at_once`` of them are in memory.

        Close the iterator (``contextlib.aclosing``) where it is not read to its end.
        """
        factory: Any = tuple_row if as_tuples else dict_row
        async with self._guard.async_operation("stream"):
            with self._session.translating():
                connection = await self._checkout()
                async with (
                    self._returned(connection),
                    connection.transaction(),
                    connection.cursor("rows", row_factory=factory) as cursor,
                ):
                    cursor.itersize = rows_at_once
                    await cursor.execute(statement, parameters)
                    async for row in cursor:
                        yield row

    async def execute(
        self, statement: str, parameters: Parameters | None = None
    ) -> int:
        """Run one statement exactly once, in a thread; return how many rows."""
        return await self._threads.run(self._session.execute, statement, parameters)

    async def bulk_insert(
        self,
        table: str,
        rows: Iterable[Row],
        *,
        columns: Sequence[str] | None = None,
        on_conflict: OnConflict = "fail",
        rows_per_commit: int | None = None,
    ) -> int:
        """Insert rows by binary COPY, in a thread; return how many.

        A cancelled one goes on to its end.
        """
        return await self._threads.run(
            self._session.bulk_insert,
            table,
            rows,
            columns=columns,
            on_conflict=on_conflict,
            rows_per_commit=rows_per_commit,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    def _made(self) -> "AsyncConnectionPool[AsyncConnection]":
        limits = self._lender.limits
        return AsyncConnectionPool(
            self._lender.conninfo,
            connection_class=AsyncConnection,
            kwargs={"autocommit": True, "row_factory": dict_row},
            configure=_configure,
            min_size=0,
            max_size=limits.pool_size,
            timeout=limits.connection_timeout,
            max_idle=_IDLE_SECONDS,
            reconnect_timeout=0,
            name="dropzone-async",
            open=False,
        )

    async def _checkout(self) -> AsyncConnection:
        if self._pool.closed:
            await self._pool.open()
        if self._doubtful:
            await self._ask_directly()
        for _ in range(self._pool.max_size):
            connection = await self._next()
            works = False
            try:
                works = await _works(connection)
            finally:
                # Also when the look is cancelled: nobody else knows of it.
                if not works:
                    await asyncio.shield(self._pool.putconn(connection))
            if works:
                return connection
            await self._ask_directly()
        return await self._next()

    async def _next(self) -> AsyncConnection:
        task = asyncio.current_task()
        asked = task.cancelling() if task else 0
        try:
            connection = await self._pool.getconn()
        except PoolTimeout:
            await self._ask_directly()
            raise
        # Python 3.11's wait_for loses a cancellation that comes with the connection.
        if task and task.cancelling() > asked:
            await asyncio.shield(self._pool.putconn(connection))
            raise asyncio.CancelledError
        return connection

    async def _ask_directly(self) -> None:
        self._doubtful = True
        async with await AsyncConnection.connect(self._lender.conninfo()):
            self._doubtful = False

    @asynccontextmanager
    async def _returned(self, connection: AsyncConnection) -> AsyncIterator[None]:
        try:
            yield
        except psycopg.Error as error:
            standby = self._lender.is_standby(error)
            if standby:
                await connection.close()
            lost = standby or postgres_errors.is_lost(error)
            self._doubtful = self._doubtful or lost
            raise
        finally:
            connection.used_at = time.monotonic()
            self._doubtful = self._doubtful or connection.closed
            # A second cancellation must not keep it out of the pool.
            await asyncio.shield(self._pool.putconn(connection))


async def _configure(connection: AsyncConnection) -> None:
    connection.used_at = time.monotonic()


async def _works(connection: AsyncConnection) -> bool:
    idle = time.monotonic() - connection.used_at
    if idle < DOUBT_SECONDS and not has_word(connection):
        return True
    try:
        await AsyncConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True
