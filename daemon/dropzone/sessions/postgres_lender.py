"""The connections of one database: lent alive, told apart from dead ones cheaply."""
# ruff: noqa: TID251 - one of the modules that own the Postgres driver.

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from dropzone.sessions import postgres_errors
from dropzone.sessions.postgres_connection import (
    Connection,
    address_of,
    conninfo_of,
    has_several_hosts,
    know_vectors,
    works,
)
from dropzone.sessions.rotation import newest
from dropzone.sessions.settings import PostgresSettings

_IDLE_SECONDS = 300

# Every failed connection is raised to a caller, who tells it once; the pool would
# add lines of its own that are no events with keys.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


class Lender:
    """Lends connections to all threads; its errors are the driver's."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.limits = settings
        conninfo = conninfo_of(settings)
        self.address = address_of(conninfo)
        self._several_hosts = has_several_hosts(conninfo)
        # The server ends a statement by itself before that, unless it hangs.
        self.patience = settings.statement_timeout + settings.connection_timeout
        # True while nothing proves that the server answers: the next caller then
        # asks it directly and gets the reason at once, where the pool would wait.
        self._doubtful = True
        self._pool = self._made()
        self._pool.open()

    def conninfo(self) -> str:
        """Return the way to the server, with what the secret files hold now."""
        return conninfo_of(newest(self.limits))

    def figures(self) -> dict[str, int]:
        """Return how many connections there are, are idle, and are waited for."""
        told = self._pool.get_stats()
        return {
            "open": told.get("pool_size", 0),
            "idle": told.get("pool_available", 0),
            "waiting": told.get("requests_waiting", 0),
            "limit": self.limits.pool_size,
        }

    def close(self) -> None:
        """Close the idle connections at once and the others when they come back."""
        self._pool.close()

    def is_transient(self, error: BaseException) -> bool:
        """Whether the whole transaction may work when run again in a moment."""
        return postgres_errors.is_transient(error) or self.is_standby(error)

    def is_standby(self, error: BaseException) -> bool:
        """Whether another of the named servers is the one that takes writes."""
        read_only = isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
        return read_only and self._several_hosts

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Lend a working connection; it is back afterwards."""
        connection = self.checkout()
        with self.returned(connection):
            yield connection

    @contextmanager
    def returned(self, connection: Connection) -> Iterator[None]:
        """Take the connection back, and learn from the error it met, if any."""
        try:
            yield
        except psycopg.Error as error:
            standby = self.is_standby(error)
            if standby:
                # Another server is the primary now; this line leads to the old one.
                connection.close()
            lost = standby or postgres_errors.is_lost(error)
            self._doubtful = self._doubtful or lost
            raise
        finally:
            self.give_back(connection)

    def give_back(self, connection: Connection) -> None:
        """Take the connection back; what was not committed is rolled back."""
        connection.used_at = time.monotonic()
        # Its caller may have kept the error that broke it.
        self._doubtful = self._doubtful or connection.closed
        self._pool.putconn(connection)

    def checkout(self, patience: float | None = None) -> Connection:
        """Return a working connection, to be given back.

        It gives up on a server that is silent for ``patience`` seconds; without it
        for longer than statements may take.
        """
        if self._doubtful:
            self._ask_directly()
        for _ in range(self.limits.pool_size):
            connection = self._next()
            connection.patience = self.patience if patience is None else patience
            if works(connection):
                return self._prepared(connection)
            self._pool.putconn(connection)
            self._ask_directly()
        return self._next()

    def _prepared(self, connection: Connection) -> Connection:
        try:
            if not connection.autocommit:
                connection.autocommit = True
            know_vectors(connection)
        except BaseException:
            self._pool.putconn(connection)
            raise
        return connection

    def _next(self) -> Connection:
        try:
            return self._pool.getconn()
        except PoolTimeout:
            self._ask_directly()
            raise

    def configure(self, connection: Connection) -> None:
        """Give the connection its limits."""
        connection.patience = self.patience
        connection.used_at = time.monotonic()
        connection.asked_at = -math.inf

    def _ask_directly(self) -> None:
        self._doubtful = True
        self.direct().close()
        self._doubtful = False

    def direct(self, seconds: int | None = None) -> Connection:
        """Return a new connection of the caller's own, made within ``seconds``."""
        limits: dict[str, Any] = {}
        if seconds is not None:
            limits = {"connect_timeout": seconds, "tcp_user_timeout": seconds * 1000}
        return Connection.connect(
            self.conninfo(), autocommit=True, row_factory=dict_row, **limits
        )

    def _made(self) -> "ConnectionPool[Connection]":
        return ConnectionPool(
            self.conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "row_factory": dict_row},
            configure=self.configure,
            min_size=0,
            max_size=self.limits.pool_size,
            timeout=self.limits.connection_timeout,
            max_idle=_IDLE_SECONDS,
            # The pool's own attempts back off up to minutes and would block its
            # growth for as long; whoever needs a connection asks for it anew.
            reconnect_timeout=0,
            name="dropzone",
            open=False,
        )
