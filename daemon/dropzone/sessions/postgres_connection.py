"""What a connection to Postgres is here: patient to a limit, and known to be alive."""
# ruff: noqa: TID251 - one of the modules that own the Postgres driver.

import math
import select
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow
from psycopg.types import TypeInfo
from psycopg_pool import ConnectionPool

from dropzone.errors import ConfigurationError
from dropzone.sessions.settings import PostgresSettings

T = TypeVar("T")
# A server that was cut off without a word is noticed by asking it.
DOUBT_SECONDS = 10.0
# An extension that another process makes is noticed so much later.
_ASK_SECONDS = 1.0


class Connection(psycopg.Connection[DictRow]):
    """A connection that gives up on a server which stays silent for ``patience``.

    The server keeps its own limit on statements; this one is for a server that hangs,
    whose system still acknowledges every packet.
    """

    patience = math.inf
    #: When it was given back last, and when it was asked for vectors: monotonic.
    used_at = -math.inf
    asked_at = -math.inf
    #: Set while it is lent without a context: then ``close`` gives it back.
    lender: "Callable[[Connection], None] | None" = None

    def close(self) -> None:
        lender, self.lender = self.lender, None
        if lender is None:
            super().close()
        else:
            lender(self)

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


def works(connection: Connection) -> bool:
    """Whether a connection that lay idle may be lent: asked only where in doubt.

    A server that ended, or closed it, is known to the kernel: then there is something
    to read. That look costs a microsecond, where a question costs a round trip.
    """
    idle = time.monotonic() - connection.used_at
    if idle < DOUBT_SECONDS and not has_word(connection):
        return True
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True


def has_word(connection: "psycopg.BaseConnection[Any]") -> bool:
    """Whether the server said something that nobody asked for, such as goodbye."""
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    except (psycopg.Error, OSError):
        return True


def know_vectors(connection: Connection) -> None:
    """Teach the connection pgvector's types, as soon as the extension is there."""
    # Asked again and again, not once when connecting: the extension may be made later,
    # by this process or by another one.
    if connection.adapters.types.get("halfvec") is not None:
        return
    now = time.monotonic()
    if now - connection.asked_at < _ASK_SECONDS:
        return
    connection.asked_at = now
    if info := TypeInfo.fetch(connection, "halfvec"):
        from pgvector.psycopg.halfvec import register_halfvec_info

        register_halfvec_info(connection, info)
    if info := TypeInfo.fetch(connection, "vector"):
        from pgvector.psycopg.vector import register_vector_info

        register_vector_info(connection, info)


def address_of(conninfo: str) -> str:
    """Return database, host and port, for messages."""
    parts = conninfo_to_dict(conninfo)
    where = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"Postgres {parts.get('dbname', '')!s} at {where}{port}"


def has_several_hosts(conninfo: str) -> bool:
    """Whether another server may take over."""
    parts = conninfo_to_dict(conninfo)
    return "," in f"{parts.get('host') or ''}{parts.get('hostaddr') or ''}"


def conninfo_of(settings: PostgresSettings) -> str:
    """Return the settings as the driver takes them."""
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
        # Else the database's own encoding would decide what becomes text here.
        "client_encoding": "utf8",
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
