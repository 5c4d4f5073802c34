"""The one way to Postgres: a pool of connections that fails fast and heals itself."""
# ruff: noqa: TID251 - this module owns the Postgres driver.

import logging
import math
import threading
import time
from collections.abc import (
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types import TypeInfo
from psycopg_pool import ConnectionPool, PoolTimeout

from dropzone.errors import ConfigurationError
from dropzone.retry import Retry
from dropzone.sessions import migrate, postgres_errors
from dropzone.sessions.health import Health, measure
from dropzone.sessions.rotation import newest
from dropzone.sessions.settings import PostgresSettings

T = TypeVar("T")


class Connection(psycopg.Connection[DictRow]):
    """A connection that gives up on a server which stays silent for ``patience``.

    The server keeps its own limit on statements; this one is for a server that hangs,
    whose system still acknowledges every packet.
    """

    patience = math.inf

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        return super().wait(self._limited(gen), *args, **options)

    def _limited(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        until = time.monotonic() + self.patience
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    until = time.monotonic() + self.patience
                elif time.monotonic() > until:
                    self.pgconn.finish()
                    told = f"no answer for {self.patience:.0f} seconds"
                    raise psycopg.OperationalError(told)
                wanted = gen.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result


Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
_PROBE_SECONDS = 3
_IDLE_SECONDS = 300

# Every failed connection is raised to a caller, who tells it once; the pool would
# add lines of its own that are no events with keys.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


class PostgresSession:
    """One database. Connections commit by themselves outside ``transaction()``.

    Whatever uses the database through here raises ServiceUnavailable when the
    surroundings are at fault and DocumentRejected when the data is; other errors of
    the driver are faults of the program and pass as they are.
    """

    def __init__(
        self, settings: PostgresSettings, *, stop: threading.Event | None = None
    ) -> None:
        self._settings = settings
        self._conninfo = _conninfo(settings)
        self._retry = Retry(
            settings.retry, transient=postgres_errors.is_transient, stop=stop
        )
        self._most = settings.pool_size
        # The server ends a statement by itself before that, unless it hangs.
        self._patience = settings.statement_timeout + settings.connection_timeout
        # True while nothing proves that the server answers: the next caller then
        # asks it directly and gets the reason at once, where the pool would wait.
        self._doubtful = True
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            self._conninfo_now,
            connection_class=Connection,
            kwargs={"autocommit": True, "row_factory": dict_row},
            configure=self._configure,
            min_size=0,
            max_size=settings.pool_size,
            timeout=settings.connection_timeout,
            max_idle=_IDLE_SECONDS,
            # The pool's own attempts back off up to minutes and would block its
            # growth for as long; whoever needs a connection asks for it anew.
            reconnect_timeout=0,
            name="dropzone",
            open=False,
        )
        self._pool.open()

    @property
    def address(self) -> str:
        """Database, host and user, for messages."""
        parts = conninfo_to_dict(self._conninfo)
        where = parts.get("host") or parts.get("hostaddr") or "the local socket"
        port = f":{parts['port']}" if parts.get("port") else ""
        return f"Postgres {parts.get('dbname', '')!s} at {where}{port}"

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a working connection; it is back in the pool afterwards."""
        with postgres_errors.translating(self.address), self._lent() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a connection inside a transaction, committed at the end of the block.

        A ServiceUnavailable from here leaves open whether it was committed.
        """
        with self.connection() as connection, connection.transaction():
            yield connection

    def run(self, function: Callable[[Connection], T]) -> T:
        """Return what ``function`` returns, run in a transaction of its own.

        The whole transaction is repeated after a lost connection, a deadlock or a
        serialization failure. It may have been committed already when the
        connection was lost, so ``function`` must bear running twice.
        """

        def once() -> T:
            with self._lent() as connection, connection.transaction():
                return function(connection)

        with postgres_errors.translating(self.address):
            return self._retry.call(once)

    def query(
        self, statement: str, parameters: Parameters | None = None
    ) -> list[DictRow]:
        """Return the rows of one statement, as ``run`` does."""
        return self.run(lambda c: c.execute(statement, parameters).fetchall())

    def execute(self, statement: str, parameters: Parameters | None = None) -> int:
        """Run one statement as ``run`` does and return the number of its rows."""
        return self.run(lambda c: c.execute(statement, parameters).rowcount)

    def migrate(self) -> list[str]:
        """Bring the schema up to date; return the names of the files applied.

        Raises:
            ConfigurationError: the schema is newer than this program, pgvector is
                missing, or the rights to make the tables are.
            ServiceUnavailable: as everywhere.

        """
        with self.connection() as connection:
            # It waits for other processes, and may take as long as it needs.
            connection.patience = math.inf
            try:
                return migrate.migrate(connection)
            finally:
                self._configure(connection)

    def check(self) -> Health:
        """Connect and ask once, outside the pool, with short limits.

        A server that takes no writes is as good as none.
        """

        def ask() -> None:
            with (
                postgres_errors.translating(self.address),
                self._direct(_PROBE_SECONDS) as connection,
            ):
                connection.patience = _PROBE_SECONDS
                row = connection.execute("SHOW transaction_read_only").fetchone()
                if row is not None and row["transaction_read_only"] == "on":
                    raise psycopg.errors.ReadOnlySqlTransaction("it is read-only")

        return measure(ask)

    def close(self) -> None:
        """Close the idle connections at once and the others when they come back."""
        self._pool.close()

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        connection = self._checkout()
        try:
            yield connection
        except psycopg.Error as error:
            self._doubtful = self._doubtful or postgres_errors.is_lost(error)
            raise
        finally:
            self._pool.putconn(connection)

    def _checkout(self) -> Connection:
        if self._doubtful:
            self._ask_directly()
        for _ in range(self._most):
            connection = self._next()
            if _works(connection):
                _know_vectors(connection)
                return connection
            self._pool.putconn(connection)
            self._ask_directly()
        return self._next()

    def _next(self) -> Connection:
        try:
            return self._pool.getconn()
        except PoolTimeout:
            self._ask_directly()
            raise

    def _conninfo_now(self) -> str:
        return _conninfo(newest(self._settings))

    def _configure(self, connection: Connection) -> None:
        connection.patience = self._patience

    def _ask_directly(self) -> None:
        self._doubtful = True
        self._direct().close()
        self._doubtful = False

    def _direct(self, seconds: int | None = None) -> Connection:
        limits: dict[str, Any] = {}
        if seconds is not None:
            limits = {"connect_timeout": seconds, "tcp_user_timeout": seconds * 1000}
        return Connection.connect(
            self._conninfo_now(), autocommit=True, row_factory=dict_row, **limits
        )


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


def _works(connection: Connection) -> bool:
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True


def _know_vectors(connection: Connection) -> None:
    # Asked at each loan, not once when connecting: the extension may be made later,
    # by this process or by another one.
    if connection.adapters.types.get("halfvec") is not None:
        return
    if info := TypeInfo.fetch(connection, "halfvec"):
        from pgvector.psycopg.halfvec import register_halfvec_info

        register_halfvec_info(connection, info)


def _conninfo(settings: PostgresSettings) -> str:
    password = settings.password.get_secret_value() if settings.password else None
    if settings.url is not None:
        named = parsed(settings.url.get_secret_value())
    else:
        named = {
            "host": settings.host,
            "port": settings.port,
            "dbname": settings.database,
            "user": settings.user,
            "sslmode": settings.ssl_mode,
        }
    timeout = f"-c statement_timeout={int(settings.statement_timeout * 1000)}"
    defaults = {
        "application_name": "dropzone",
        "connect_timeout": settings.connection_timeout,
        "password": password,
        # A peer that vanished is noticed within a minute, sending or waiting.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    options = f"{timeout} {named.pop('options', None) or ''}".strip()
    given = {key: value for key, value in named.items() if value is not None}
    return make_conninfo(**{**defaults, **given, "options": options})


def parsed(url: str) -> dict[str, Any]:
    """Return the parts of a connection URL as libpq names them.

    Raises:
        ConfigurationError: it is not one.

    """
    scheme, found, rest = url.partition("://")
    # SQLAlchemy's way to write it, which MLflow and others want.
    plain = f"postgresql://{rest}" if found and "+" in scheme else url
    try:
        return dict(conninfo_to_dict(plain))
    except psycopg.ProgrammingError:
        # The driver's message may quote a part of the password.
        raise ConfigurationError(
            "postgres.url is not a connection URL.",
            hint="Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special "
            "characters in the password percent-encoded.",
        ) from None
