"""One session for each service, opened when first used, shared by all threads."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from dropzone.sessions.health import Health
from dropzone.sessions.settings import (
    MlflowSettings,
    PostgresSettings,
    S3Settings,
    ServiceAddresses,
    mlflow_settings,
    postgres_settings,
    s3_settings,
)
from dropzone.settings import Settings

if TYPE_CHECKING:
    from dropzone.sessions.mlflow import MlflowSession
    from dropzone.sessions.postgres import PostgresSession
    from dropzone.sessions.s3 import S3Session


class _Session(Protocol):
    def check(self) -> Health: ...
    def close(self) -> None: ...


S = TypeVar("S", bound=_Session)


class SessionPool:
    """The sessions of one process.

    A setting may be missing for a service that is never used; asking for its session
    is then a programming error (ValueError).
    """

    def __init__(
        self,
        *,
        s3: S3Settings | None = None,
        postgres: PostgresSettings | None = None,
        mlflow: MlflowSettings | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._s3 = s3
        self._postgres = postgres
        self._mlflow = mlflow
        self._stop = stop or threading.Event()
        # One lock for each service: the import of MLflow takes a second, and nobody
        # who needs S3 should wait for it.
        self._locks = {name: threading.Lock() for name in ("s3", "postgres", "mlflow")}
        self._open: dict[str, _Session] = {}
        self._closed = False

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        addresses: ServiceAddresses | None = None,
        *,
        stop: threading.Event | None = None,
    ) -> Self:
        """Return the pool for ``settings``.

        ``addresses`` are those of the embedded servers, used for what the settings
        do not name.

        Raises:
            ConfigurationError: a service is not named and ``addresses`` is None.

        """
        return cls(
            s3=s3_settings(settings, addresses),
            postgres=postgres_settings(settings, addresses),
            mlflow=mlflow_settings(settings),
            stop=stop,
        )

    @classmethod
    def from_config(cls, path: Path | None = None) -> Self:
        """Return the pool for a configuration that names its own services."""
        from dropzone import config

        return cls.from_settings(config.load(path).settings)

    @property
    def s3(self) -> "S3Session":
        def make() -> "S3Session":
            from dropzone.sessions.s3 import S3Session

            return S3Session(_given(self._s3, "s3"), stop=self._stop)

        return self._session("s3", make)

    @property
    def postgres(self) -> "PostgresSession":
        def make() -> "PostgresSession":
            from dropzone.sessions.postgres import PostgresSession

            return PostgresSession(_given(self._postgres, "postgres"), stop=self._stop)

        return self._session("postgres", make)

    @property
    def mlflow(self) -> "MlflowSession":
        def make() -> "MlflowSession":
            from dropzone.sessions.mlflow import MlflowSession

            return MlflowSession(_given(self._mlflow, "mlflow"), stop=self._stop)

        return self._session("mlflow", make)

    def health(self) -> dict[str, Health]:
        """Check the open sessions, one round trip each; others come out unknown.

        Nothing is opened for a check: a page that asks every few seconds must not
        be what imports MLflow.
        """
        sessions = dict(self._open)
        return {
            name: sessions[name].check() if name in sessions else Health()
            for name in self._locks
        }

    def close(self) -> None:
        """Close MLflow, Postgres and S3, in that order; running calls may fail.

        The order is that of the work: tracking reads what Postgres committed, and
        Postgres names what S3 holds.
        """
        self._closed = True
        with contextlib.ExitStack() as stack:
            # The stack unwinds from the last to the first, also past an error.
            for name in self._locks:
                with self._locks[name]:
                    if session := self._open.pop(name, None):
                        stack.callback(session.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _session(self, name: str, make: Callable[[], S]) -> S:
        session = self._open.get(name)
        if session is None:
            with self._locks[name]:
                if self._closed:
                    raise ValueError("The session pool is closed.")
                session = self._open.get(name) or make()
                self._open[name] = session
        return session  # type: ignore[return-value]  # each name has one type


T = TypeVar("T")


def _given(settings: T | None, name: str) -> T:
    if settings is None:
        raise ValueError(f"This session pool was made without settings for {name}.")
    return settings
