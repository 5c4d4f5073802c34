"""Brings the schema ``dropzone`` to the version this program was written for."""
# ruff: noqa: TID251 - one of the modules that own the Postgres driver.

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from dropzone.errors import ConfigurationError

# Any number will do, as long as all versions of dropzone use the same one.
_LOCK = 0x64726F707A6F6E65 >> 1

#: What to do about a database of another encoding.
UTF8 = (
    "Make one with UTF8, and name it in DATABASE_URL or postgres.database: "
    "CREATE DATABASE dropzone ENCODING 'UTF8' TEMPLATE template0;"
)

# No such extension; or one from before it had the type halfvec.
_NO_PGVECTOR = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.UndefinedFile,
    psycopg.errors.UndefinedObject,
)

# As text it would come as bytes from just the databases that this is about.
_ENCODING = """
SELECT current_database() AS database,
    pg_encoding_to_char(encoding) = 'SQL_ASCII' AS is_unfit
FROM pg_database WHERE datname = current_database()
"""
_BEGIN = """
CREATE SCHEMA IF NOT EXISTS dropzone;
CREATE TABLE IF NOT EXISTS dropzone.migrations (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True)
class Migration:
    """One numbered file; ``version`` is the number."""

    version: int
    name: str
    statements: str


def migrations() -> list[Migration]:
    """Return the files of this program in their order."""
    folder = files("dropzone").joinpath("migrations")
    return sorted(
        (
            Migration(
                int(item.name.partition("_")[0]), item.name, item.read_text("utf-8")
            )
            for item in folder.iterdir()
            if item.name.endswith(".sql")
        ),
        key=lambda migration: migration.version,
    )


def migrate(
    connection: psycopg.Connection[Any], wanted: Sequence[Migration] | None = None
) -> list[str]:
    """Apply what is missing, in one transaction; return the names of those files.

    Several processes may call this at once: one works, the others wait for it.

    Raises:
        ConfigurationError: the schema is newer than this program, or the server has
            no pgvector, or the database no letters, or this user may not make what is
            missing.

    """
    files_in_order = migrations() if wanted is None else wanted
    try:
        with connection.transaction():
            return _apply(connection, files_in_order)
    except _NO_PGVECTOR as error:
        raise ConfigurationError(
            f"This Postgres has no pgvector, or an old one: {_first_line(error)}",
            hint="Install the package postgresql-NN-pgvector on the server, "
            "0.7 or newer.",
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"This Postgres user may not make the tables: {_first_line(error)}",
            hint="As an administrator of the database: CREATE EXTENSION vector; "
            "GRANT CREATE ON DATABASE ... TO this user.",
        ) from error


def _apply(
    connection: psycopg.Connection[Any], files_in_order: Sequence[Migration]
) -> list[str]:
    connection.execute("SET LOCAL statement_timeout = 0")
    _check_encoding(connection)
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if not _is_begun(connection):
        connection.execute(_BEGIN)
    rows = connection.cursor(row_factory=psycopg.rows.scalar_row).execute(
        "SELECT version FROM dropzone.migrations"
    )
    applied = set(rows)
    newest = max((file.version for file in files_in_order), default=0)
    if applied and max(applied) > newest:
        raise ConfigurationError(
            f"The database has schema version {max(applied)}; this dropzone knows "
            f"versions up to {newest}.",
            hint="Install the dropzone that made it, or a newer one.",
        )
    missing = [file for file in files_in_order if file.version not in applied]
    for file in missing:
        connection.execute(sql.SQL(file.statements))
        connection.execute(
            "INSERT INTO dropzone.migrations (version, name) VALUES (%s, %s)",
            [file.version, file.name],
        )
    return [file.name for file in missing]


def _check_encoding(connection: psycopg.Connection[Any]) -> None:
    row = connection.cursor(row_factory=psycopg.rows.dict_row).execute(_ENCODING)
    found = row.fetchone()
    if found is not None and found["is_unfit"]:
        raise ConfigurationError(
            f"The database {found['database']} has the encoding SQL_ASCII, in which "
            "texts are bytes without letters: nothing can be indexed or found.",
            hint=UTF8,
        )


def _is_begun(connection: psycopg.Connection[Any]) -> bool:
    # Asked first, because a user without CREATE on the database may run an
    # installed dropzone, and "IF NOT EXISTS" checks the right before it looks.
    cursor = connection.execute("SELECT to_regclass('dropzone.migrations') IS NOT NULL")
    row = cursor.fetchone()
    return row is not None and bool(next(iter(row.values())))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
