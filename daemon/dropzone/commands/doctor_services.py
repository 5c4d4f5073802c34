"""What ``dropzone doctor`` asks of S3, Postgres and MLflow, and how fast they are."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator

from dropzone.commands import access
from dropzone.commands.diagnosis import Diagnosis, ok, problem, warning
from dropzone.embedded import postgres as embedded_postgres
from dropzone.embedded import s3 as embedded_s3
from dropzone.errors import DropzoneError
from dropzone.sessions import SessionPool
from dropzone.sessions.migrate import migrate
from dropzone.sessions.settings import (
    mlflow_settings,
    tracking_uri,
    without_userinfo,
)
from dropzone.settings import Settings

_MEND = "Start it, or mend its address and credentials: dropzone config show"
_SERVER = """
SELECT current_setting('server_version') AS version,
    (SELECT installed_version FROM pg_available_extensions WHERE name = 'vector')
        AS installed,
    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')
        AS available
"""


def programs(settings: Settings) -> Iterator[Diagnosis]:
    """Look for the programs of the embedded servers that are needed."""
    wanted: list[tuple[str, bool, Callable[[], object]]] = [
        ("Postgres program", settings.embeds_postgres, embedded_postgres.binaries),
        ("S3 program", settings.embeds_s3, embedded_s3.program),
    ]
    for checked, needed, find in wanted:
        if needed:
            try:
                yield ok(checked, str(find()))
            except DropzoneError as error:
                yield problem(checked, error.message, error.hint)


def all_services(settings: Settings) -> Iterator[Diagnosis]:
    """Use each service once; embedded servers run for the moment if need be."""
    try:
        with access.sessions(settings) as pool:
            yield _told("S3", lambda: _s3(pool, settings))
            yield _told("Postgres", lambda: _postgres(pool))
            yield _told("Postgres schema", lambda: _schema(pool))
            yield _told("MLflow", lambda: _mlflow(pool, settings))
    except DropzoneError as error:
        yield problem("embedded services", error.message, error.hint)


def _told(checked: str, ask: Callable[[], Diagnosis]) -> Diagnosis:
    try:
        return ask()
    except DropzoneError as error:
        return problem(checked, error.message, error.hint or _MEND)


def _s3(pool: SessionPool, settings: Settings) -> Diagnosis:
    s3 = pool.s3
    if settings.embeds_s3:
        s3.ensure_bucket()
    content = secrets.token_bytes(64)
    key = f"{settings.aws.prefix}doctor/{secrets.token_hex(8)}"
    began = time.monotonic()
    s3.put(key, content, sha256=hashlib.sha256(content).hexdigest())
    took = time.monotonic() - began
    try:
        seen = s3.head(key)
        same = seen is not None and seen.size == len(content) and s3.get(key) == content
    finally:
        s3.delete(key)
    if not same:
        return problem(
            "S3",
            f"{s3.address} gives back something else than was put",
            "Look at what stands between this machine and S3.",
        )
    told = f"{s3.address}, credentials from {s3.credentials_source}"
    return ok("S3", f"{told}; a put takes {took * 1000:.0f} ms", took)


def _postgres(pool: SessionPool) -> Diagnosis:
    health = pool.postgres.check()
    if not health.healthy:
        return problem(
            "Postgres",
            health.error or "no answer",
            _MEND,
        )
    row = pool.postgres.query(_SERVER)[0]
    seconds = health.latency_seconds or 0.0
    told = f"{pool.postgres.address}, version {row['version']}"
    if row["available"] is None:
        return problem(
            "Postgres",
            f"{told}, has no pgvector",
            "Install the package postgresql-NN-pgvector on the server.",
        )
    vector = row["installed"] or f"{row['available']}, not made yet"
    told += f", pgvector {vector}; connecting and asking take {seconds * 1000:.0f} ms"
    return ok("Postgres", told, seconds)


def _schema(pool: SessionPool) -> Diagnosis:
    with (
        pool.postgres.connection() as connection,
        connection.transaction(force_rollback=True),
    ):
        missing = migrate(connection)
    if missing:
        told = f"the daemon will apply {', '.join(missing)}; this was tried and undone"
        return ok("Postgres schema", told)
    return ok("Postgres schema", "up to date")


def _mlflow(pool: SessionPool, settings: Settings) -> Diagnosis:
    uri = without_userinfo(tracking_uri(mlflow_settings(settings)))
    health = pool.mlflow.check()
    # The first look opens the store; the second one is what a run costs.
    health = pool.mlflow.check() if health.healthy else health
    if not health.healthy:
        return warning(
            "MLflow",
            health.error or f"{uri} does not answer",
            "Files do not wait for it; their runs are logged when it answers.",
        )
    seconds = health.latency_seconds or 0.0
    return ok("MLflow", f"{uri}; a look takes {seconds * 1000:.0f} ms", seconds)
