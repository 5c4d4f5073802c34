"""The names of the former session manager, so that old callers keep working.

Each method is a line over ``SessionPool``, whose errors it raises; nothing returns
False in their place. ``docs/migrating.md`` shows what to write instead.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dropzone.sessions import SessionPool, StoredObject

if TYPE_CHECKING:
    from dropzone.sessions.postgres import Parameters
    from dropzone.sessions.postgres_connection import Connection
    from dropzone.sessions.postgres_rows import Row

#: What the parts of a run were called, and are called.
_PARTS = {
    "experiment_name": "experiment",
    "run_name": "name",
    "parameters": "params",
}


class UnifiedSessionManager:
    """A session pool under the old names; ``pool`` is the pool itself."""

    def __init__(self, pool: SessionPool | None = None) -> None:
        self.pool = pool or SessionPool.from_config()

    def get_s3_client(self) -> Any:
        """Return boto3's client, shared by all threads."""
        return self.pool.s3.client

    def upload_to_s3(
        self, bucket: str, key: str, data: bytes | str | os.PathLike[str]
    ) -> StoredObject:
        """Store bytes, or the file at a path; text is a path."""
        source = Path(data) if isinstance(data, str) else data
        return self.pool.s3.upload(key, source, bucket=bucket)

    def download_from_s3(
        self, bucket: str, key: str, path: str | os.PathLike[str] | None = None
    ) -> bytes | Path:
        """Return the bytes, or write them to ``path`` and return that."""
        if path is None:
            return self.pool.s3.download(key, bucket=bucket)
        return self.pool.s3.download(key, path, bucket=bucket)

    def list_s3_objects(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys below ``prefix``."""
        return [found.key for found in self.pool.s3.list(prefix, bucket=bucket)]

    def get_postgres_connection(self) -> "Connection":
        """Lend a connection; its ``close`` gives it back, ``commit`` keeps the work."""
        return self.pool.postgres.borrow()

    def return_postgres_connection(self, connection: "Connection") -> None:
        """Give a connection back; what was not committed is rolled back."""
        connection.close()

    def execute_postgres_query(
        self, query: str, params: "Parameters | None" = None
    ) -> list[dict[str, Any]]:
        """Run one statement, commit it once, and return its rows, if it has any."""
        return self.pool.postgres.run_once(
            lambda connection: _rows(connection.execute(query, params))
        )

    def bulk_insert_embeddings(
        self, rows: "Iterable[Row]", table: str = "embeddings"
    ) -> int:
        """Insert rows with vectors by binary COPY; return how many."""
        return self.pool.postgres.bulk_insert_embeddings(rows, table=table)

    def get_mlflow_client(self) -> Any:
        """Return MLflow's client."""
        return self.pool.mlflow.client

    def log_mlflow_experiment(self, run: Mapping[str, Any]) -> str:
        """Log a finished run and return its id."""
        renamed = {_PARTS.get(part, part): value for part, value in run.items()}
        return self.pool.mlflow.log_run(renamed)

    def log_mlflow_artifact(
        self, path: str | os.PathLike[str], destination: str = ""
    ) -> str:
        """Log a file as a run of its own and return the run's id."""
        return self.pool.mlflow.log_artifact(path, destination)

    def set_aws_environment(self) -> None:
        """Set the AWS variables of this process, for clients made elsewhere."""
        os.environ.update(self.pool.s3.environment())

    def test_credentials(self) -> dict[str, bool]:
        """Ask S3, Postgres and MLflow once, and tell which of them answered."""
        sessions = (self.pool.s3, self.pool.postgres, self.pool.mlflow)
        found = [bool(session.check().healthy) for session in sessions]
        return dict(zip(("s3", "postgres", "mlflow"), found, strict=True))

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _rows(cursor: Any) -> list[dict[str, Any]]:
    return list(cursor.fetchall()) if cursor.description else []
