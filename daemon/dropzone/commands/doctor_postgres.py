"""What ``dropzone doctor`` asks of Postgres."""

from collections.abc import Iterator, Mapping
from typing import Any

from dropzone import queries
from dropzone.commands.diagnosis import Diagnosis, ok, problem, warning
from dropzone.errors import DropzoneError
from dropzone.sessions import SessionPool
from dropzone.sessions.migrate import UTF8, migrate
from dropzone.settings import Settings

_SQL = queries.load("dropzone", "sql/doctor.sql")
#: What is told of every server that answers.
CONNECTIONS = "Postgres connections"
# Where the setting comes from, as pg_settings names it, and what takes it back there.
_WRITABLE = {
    "database": 'ALTER DATABASE "{database}" RESET default_transaction_read_only;',
    "user": 'ALTER ROLE "{user}" RESET default_transaction_read_only;',
    "database user": 'ALTER ROLE "{user}" IN DATABASE "{database}" '
    "RESET default_transaction_read_only;",
    "client": "Take default_transaction_read_only out of DATABASE_URL and PGOPTIONS.",
}
_WRITABLE_SERVER = (
    "On the server: ALTER SYSTEM SET default_transaction_read_only = off; "
    "SELECT pg_reload_conf();"
)
Row = Mapping[str, Any]


def server(pool: SessionPool, settings: Settings) -> Iterator[Diagnosis]:
    """Connect, and look at what this server is and has room for."""
    health = pool.postgres.check()
    row = _asked(pool)
    if not health.healthy or row is None:
        yield problem("Postgres", health.error or "no answer", _mend(row))
    else:
        yield _version(pool.postgres.address, row, health.latency_seconds or 0.0)
    if row is not None:
        yield from _encoding(row["encoding"])
        yield _connections(row, settings.postgres.pool_size)


def schema(pool: SessionPool) -> Iterator[Diagnosis]:
    """Try the migrations and undo them; look at the rights to what is there.

    Raises:
        DropzoneError: the schema cannot be made.

    """
    closed = [row["name"] for row in pool.postgres.query(_SQL["closed_tables"])]
    if closed:
        row = pool.postgres.query(_SQL["server"])[0]
        yield problem(
            "Postgres rights",
            f"{row['user']} may not read and write {', '.join(closed)}",
            f'As their owner: GRANT USAGE ON SCHEMA dropzone TO "{row["user"]}"; GRANT '
            "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dropzone TO "
            f'"{row["user"]}";',
        )
        return
    with (
        pool.postgres.connection() as connection,
        connection.transaction(force_rollback=True),
    ):
        missing = migrate(connection)
    if missing:
        told = f"the daemon will apply {', '.join(missing)}; this was tried and undone"
        yield ok("Postgres schema", told)
    else:
        yield ok("Postgres schema", "up to date")


def _asked(pool: SessionPool) -> Row | None:
    try:
        return pool.postgres.query(_SQL["server"])[0]
    except DropzoneError:
        return None


def _mend(row: Row | None) -> str:
    if row is None:
        return "Start it, or mend its address and credentials: dropzone config show"
    if row["standby"]:
        return "Name the primary server: export DATABASE_URL=postgresql://..."
    if not row["read_only"]:
        return "It answered a second time: look again."
    mend = _WRITABLE.get(row["read_only_by"], _WRITABLE_SERVER)
    return mend.format(database=row["database"], user=row["user"])


def _version(address: str, row: Row, seconds: float) -> Diagnosis:
    told = f"{address}, version {row['version']}"
    if row["available"] is None:
        package = f"postgresql-{row['major']}-pgvector"
        return problem(
            "Postgres",
            f"{told}, has no pgvector",
            f"On the server, as root: apt-get install {package}",
        )
    vector = row["installed"] or f"{row['available']}, not made yet"
    told += f", pgvector {vector}; connecting and asking take {seconds * 1000:.0f} ms"
    return ok("Postgres", told, seconds)


def _encoding(encoding: str) -> Iterator[Diagnosis]:
    if encoding == "UTF8":
        return
    told = f"the database has the encoding {encoding}"
    if encoding == "SQL_ASCII":
        found = f"{told}, in which texts are bytes without letters; start refuses it"
        yield problem("Postgres encoding", found, UTF8)
    else:
        found = f"{told}: a file with any letter outside of it fails"
        yield warning("Postgres encoding", found, UTF8)


def _connections(row: Row, wanted: int) -> Diagnosis:
    # Our own look takes one of those that are in use.
    left = row["places"] - row["used"] + 1
    told = f"{row['used']} of {row['places']} are in use; the daemon takes {wanted}"
    if left >= wanted:
        return ok(CONNECTIONS, told)
    return warning(
        CONNECTIONS,
        f"{told} at most",
        f"Set postgres.pool_size: {max(2, left)}; or on the server: ALTER SYSTEM SET "
        f"max_connections = {row['places'] + wanted}; and restart it.",
    )
