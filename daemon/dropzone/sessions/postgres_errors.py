"""What Postgres' errors mean for us: repeat, pause the step, or refuse the document."""
# ruff: noqa: TID251 - one of the modules that own the Postgres driver.

import re
from types import TracebackType

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from dropzone.errors import DocumentRejected, DropzoneError, ServiceUnavailable

# By SQLSTATE, or by the first two characters of it (its class).
_REPEATED = frozenset(
    {"08", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03"}
)
_UNAVAILABLE = _REPEATED | {"28", "3D", "3F", "53", "57", "58", "25006", "42501"}
_REJECTED = frozenset({"21", "22", "23", "54"})
_OUTAGES = frozenset({"53", "57P03", "58"})
_HINTS = {
    "53100": "Free space on the disk of the database.",
    "53300": "Raise max_connections of the server, or lower postgres.pool_size.",
    "25006": "The server is a standby or read-only: name the primary.",
    "42501": "Grant this user the rights on the schema dropzone.",
    "42P01": "The tables are gone. Restart dropzone: it makes them again.",
    "57014": "It took longer than postgres.statement_timeout_seconds.",
}
_UNDEFINED_TABLE = "42P01"
# While connecting, the driver passes on the server's sentence without its code. In
# another language these are merely repeated for some seconds before they are told.
_REFUSED = re.compile(
    r"password authentication failed|no password supplied|no pg_hba.conf entry"
    r"|(role|database) \"[^\"]*\" does not exist|server does not support SSL"
)


def is_transient(error: BaseException) -> bool:
    """Whether the whole transaction may work when run again in a moment."""
    if not isinstance(error, psycopg.Error) or isinstance(error, PoolTimeout):
        return False
    if error.sqlstate is not None:
        return _matches(error.sqlstate, _REPEATED)
    return _lost(error) and not _REFUSED.search(str(error))


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that the others may be gone too."""
    return isinstance(error, psycopg.Error) and (
        _matches(error.sqlstate, {"08", "57P01", "57P02", "57P03"})
        if error.sqlstate
        else _lost(error)
    )


def is_outage(error: BaseException) -> bool:
    """Whether the server is at fault, so that every other caller meets it too."""
    if not isinstance(error, psycopg.Error) or isinstance(error, PoolTimeout):
        return False
    return is_lost(error) or _matches(error.sqlstate, _OUTAGES)


class Translating:
    """Turns the driver's errors into ours, keeping the cause; others pass."""

    __slots__ = ("_address",)

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, (psycopg.Error, UnicodeEncodeError)):
            translated = translate(error, self._address)
            if translated is not None:
                raise translated from error


def translate(error: Exception, address: str) -> DropzoneError | None:
    """Return the error of ours that says what to do next, or None for a fault."""
    if isinstance(error, UnicodeEncodeError):
        return DocumentRejected(f"The text cannot be stored: {error.reason}.")
    told = " ".join(str(error).partition("\n")[0].split())
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None:
        return _without_state(error, address, told)
    if _matches(state, _REJECTED):
        return DocumentRejected(f"Postgres refuses the document's data: {told}")
    if _matches(state, _UNAVAILABLE) or _misses_ours(state, told):
        return ServiceUnavailable(
            "postgres", f"{address}: {told}", hint=_HINTS.get(state, "")
        )
    return None


def misses_tables(error: DropzoneError) -> bool:
    """Whether our tables are not there: gone, or not made yet."""
    return getattr(error.__cause__, "sqlstate", None) == _UNDEFINED_TABLE


def _misses_ours(state: str, told: str) -> bool:
    # A table of somebody else that is not there is a fault of the statement.
    return state == _UNDEFINED_TABLE and '"dropzone.' in told


def _without_state(error: Exception, address: str, told: str) -> DropzoneError | None:
    if isinstance(error, PoolTimeout):
        return ServiceUnavailable(
            "postgres",
            f"{address}: all connections stay busy.",
            hint="Raise postgres.pool_size.",
        )
    if isinstance(error, psycopg.DataError):
        return DocumentRejected(f"The document's data cannot be stored: {told}")
    if not _lost(error):
        return None
    hint = "Check user, password, database and pg_hba.conf."
    return ServiceUnavailable(
        "postgres",
        f"{address} does not answer: {told}",
        hint=hint if _REFUSED.search(told) else "",
    )


def _lost(error: BaseException) -> bool:
    # Only a connection that is gone leaves an operational error without a code; an
    # interface error is the next use of it.
    kinds = (psycopg.OperationalError, psycopg.InterfaceError)
    return isinstance(error, kinds) and not isinstance(error, PoolClosed)


def _matches(state: str | None, states: frozenset[str] | set[str]) -> bool:
    return state is not None and (state in states or state[:2] in states)
