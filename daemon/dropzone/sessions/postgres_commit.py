"""Commits a transaction exactly once, though the line may break in the middle of it."""
# ruff: noqa: TID251 - one of the modules that own the Postgres driver.

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, cast

import psycopg

from dropzone.errors import ServiceUnavailable, Stopping
from dropzone.sessions.postgres_connection import Connection

T = TypeVar("T")
_PAUSE_SECONDS = 0.05
_BEGIN = "BEGIN; SELECT pg_current_xact_id()::text AS number"


class CommitOnce(Generic[T]):
    """A transaction to be called with one connection after the other until it is in.

    The number of the transaction is asked for at its begin. When the answer to the
    commit is lost, the next call asks what became of the number.
    """

    def __init__(
        self,
        function: Callable[[Connection], T],
        address: str,
        patience: float,
        stop: threading.Event,
    ) -> None:
        self._function = function
        self._address = address
        self._patience = patience
        self._stop = stop
        self._number: str | None = None
        self._result: T | None = None

    def __call__(self, connection: Connection) -> T:
        if self._number is not None and self._was_committed(connection, self._number):
            return cast("T", self._result)
        self._number = None
        # One round trip for both; the second answer is the number.
        cursor = connection.execute(_BEGIN)
        cursor.nextset()
        row = cursor.fetchone()
        try:
            result = self._function(connection)
        except BaseException:
            # Where the line is gone, there is nothing to take back.
            with suppress(psycopg.Error):
                connection.rollback()
            raise
        self._number, self._result = (row["number"] if row else None), result
        connection.commit()
        return result

    def _was_committed(self, connection: Connection, number: str) -> bool:
        until = time.monotonic() + self._patience
        while time.monotonic() < until:
            status = self._status(connection, number)
            if status != "in progress":
                return status == "committed"
            # The server has not noticed yet that the other line is gone.
            if self._stop.wait(_PAUSE_SECONDS):
                raise Stopping("The wait for a commit is given up: we are stopping.")
        raise self._unknown()

    def _status(self, connection: Connection, number: str) -> str:
        try:
            row = connection.execute(
                "SELECT pg_xact_status(%s::xid8) AS status", [number]
            ).fetchone()
        except psycopg.errors.InvalidParameterValue as error:
            # A number that this server never gave: another one took over.
            raise self._unknown() from error
        if row is None or row["status"] is None:
            raise self._unknown()
        return str(row["status"])

    def _unknown(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            "postgres",
            f"{self._address} was lost during a commit and cannot tell whether it took "
            "place.",
            hint="Look whether the rows are there before doing it again.",
        )
