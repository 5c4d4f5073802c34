"""The sessions for coroutines: Postgres by its own driver, the others in threads."""

from collections.abc import AsyncIterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from dropzone.sessions.health import Health
from dropzone.sessions.objects import ObjectInfo, StoredObject
from dropzone.sessions.pool import SessionPool
from dropzone.sessions.stats import ServiceStats
from dropzone.sessions.threads import Threads

if TYPE_CHECKING:
    import numpy as np

    from dropzone.sessions.bedrock import BedrockSession, Reply
    from dropzone.sessions.mlflow import Artifacts, MlflowSession
    from dropzone.sessions.mlflow_values import Metrics, Table
    from dropzone.sessions.postgres_async import AsyncPostgresSession
    from dropzone.sessions.s3 import S3Session
    from dropzone.sessions.s3_uploads import Metadata
    from dropzone.sessions.sources import Source

# S3 answers so many at once; more threads would only wait for one another.
_THREADS = 32


class AsyncSessionPool:
    """What ``SessionPool`` is, for one event loop: methods of the same names to await.

    The methods take and raise what those of the sessions do. A call to S3, MLflow or
    Bedrock waits in a thread: when its coroutine is cancelled it goes on to its end
    there. A cancelled statement is cancelled on the server.
    """

    def __init__(self, pool: SessionPool) -> None:
        """Wrap ``pool``; both may be used, and closing this one closes it."""
        self.sessions = pool
        self._threads = Threads(_THREADS)
        self._postgres: AsyncPostgresSession | None = None

    @classmethod
    def from_config(cls, path: Path | None = None) -> Self:
        """Return the pool for the configuration, as ``SessionPool.from_config``."""
        return cls(SessionPool.from_config(path))

    @property
    def s3(self) -> "AsyncS3":
        return AsyncS3(self.sessions, self._threads)

    @property
    def mlflow(self) -> "AsyncMlflow":
        return AsyncMlflow(self.sessions, self._threads)

    @property
    def bedrock(self) -> "AsyncBedrock":
        return AsyncBedrock(self.sessions, self._threads)

    @property
    def postgres(self) -> "AsyncPostgresSession":
        """Rows, with connections of psycopg's asynchronous kind."""
        if self._postgres is None:
            from dropzone.sessions.postgres_async import AsyncPostgresSession

            self._postgres = AsyncPostgresSession(self.sessions.postgres, self._threads)
        return self._postgres

    async def health(self) -> dict[str, Health]:
        """Check the open sessions, one round trip each."""
        return await self._threads.run(self.sessions.health)

    def stats(self) -> dict[str, ServiceStats]:
        """Return the figures of the open sessions' operations."""
        return self.sessions.stats()

    async def close(self) -> None:
        """Close everything; calls that are under way may fail."""
        if self._postgres is not None:
            await self._postgres.close()
        await self._threads.run(self.sessions.close)
        self._threads.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncS3:
    """``S3Session`` for coroutines."""

    def __init__(self, pool: SessionPool, threads: Threads) -> None:
        self._pool = pool
        self._threads = threads

    async def upload(
        self,
        key: str,
        source: "Source",
        *,
        bucket: str | None = None,
        content_type: str = "application/octet-stream",
        metadata: "Metadata | None" = None,
    ) -> StoredObject:
        session = await self._session()
        return await self._threads.run(
            session.upload,
            key,
            source,
            bucket=bucket,
            content_type=content_type,
            metadata=metadata,
        )

    @overload
    async def download(self, key: str, *, bucket: str | None = None) -> bytes: ...
    @overload
    async def download(
        self, key: str, path: str | PathLike[str], *, bucket: str | None = None
    ) -> Path: ...
    async def download(
        self,
        key: str,
        path: str | PathLike[str] | None = None,
        *,
        bucket: str | None = None,
    ) -> bytes | Path:
        session = await self._session()
        if path is None:
            return await self._threads.run(session.get, key, bucket=bucket)
        return await self._threads.run(session.download, key, path, bucket=bucket)

    async def list(
        self, prefix: str = "", *, bucket: str | None = None
    ) -> AsyncIterator[ObjectInfo]:
        session = await self._session()
        async for item in self._threads.items(session.list(prefix, bucket=bucket)):
            yield item

    async def head(self, key: str, *, bucket: str | None = None) -> ObjectInfo | None:
        session = await self._session()
        return await self._threads.run(session.head, key, bucket=bucket)

    async def delete(self, key: str, *, bucket: str | None = None) -> None:
        session = await self._session()
        await self._threads.run(session.delete, key, bucket=bucket)

    async def presigned(self, key: str, **options: Any) -> str:
        """Return a link; ``options`` are those of ``S3Session.presigned``."""
        session = await self._session()
        return await self._threads.run(session.presigned, key, **options)

    async def _session(self) -> "S3Session":
        # The first use makes the client, which takes a tenth of a second.
        return await self._threads.run(lambda: self._pool.s3)


class AsyncMlflow:
    """``MlflowSession`` for coroutines."""

    def __init__(self, pool: SessionPool, threads: Threads) -> None:
        self._pool = pool
        self._threads = threads

    async def log_run(
        self,
        run: Mapping[str, Any] | None = None,
        /,
        *,
        name: str = "run",
        params: Mapping[str, object] | None = None,
        metrics: "Metrics | None" = None,
        tags: Mapping[str, object] | None = None,
        artifacts: "Artifacts" = (),
        tables: "Mapping[str, Table] | None" = None,
        experiment: str | None = None,
    ) -> str:
        session = await self._session()
        return await self._threads.run(
            session.log_run,
            run,
            name=name,
            params=params,
            metrics=metrics,
            tags=tags,
            artifacts=artifacts,
            tables=tables,
            experiment=experiment,
        )

    async def log_artifact(
        self,
        path: str | PathLike[str],
        destination: str = "",
        *,
        run_id: str | None = None,
    ) -> str:
        session = await self._session()
        return await self._threads.run(
            session.log_artifact, path, destination, run_id=run_id
        )

    async def log_table(
        self, run_id: str, table: "Table", name: str = "table.json"
    ) -> None:
        session = await self._session()
        await self._threads.run(session.log_table, run_id, table, name)

    async def log_metrics(
        self, run_id: str, metrics: Mapping[str, float], *, step: int = 0
    ) -> None:
        session = await self._session()
        await self._threads.run(session.log_metrics, run_id, metrics, step=step)

    async def _session(self) -> "MlflowSession":
        # The first use imports MLflow, which takes a second.
        return await self._threads.run(lambda: self._pool.mlflow)


class AsyncBedrock:
    """``BedrockSession`` for coroutines."""

    def __init__(self, pool: SessionPool, threads: Threads) -> None:
        self._pool = pool
        self._threads = threads

    async def invoke(self, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
        session = await self._session()
        return await self._threads.run(session.invoke, model, body)

    async def converse(
        self, model: str, messages: str | Sequence[Mapping[str, Any]], **options: Any
    ) -> "Reply":
        """Return the next answer; ``options`` are those of the session's method."""
        session = await self._session()
        return await self._threads.run(session.converse, model, messages, **options)

    async def embed(
        self, texts: Sequence[str], **options: Any
    ) -> "np.ndarray[Any, Any]":
        """Return the vectors; ``options`` are those of the session's method."""
        session = await self._session()
        return await self._threads.run(session.embed, texts, **options)

    async def _session(self) -> "BedrockSession":
        return await self._threads.run(lambda: self._pool.bedrock)
