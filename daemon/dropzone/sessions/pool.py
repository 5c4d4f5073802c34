"""One session for each service, opened when first used, shared by all threads."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from dropzone.errors import ConfigurationError
from dropzone.retry import RetryPolicy
from dropzone.sessions.health import Health
from dropzone.sessions.settings import (
    BedrockSettings,
    MlflowSettings,
    PostgresSettings,
    S3Settings,
    ServiceAddresses,
    bedrock_settings,
    mlflow_settings,
    postgres_settings,
    s3_settings,
    upload_rate,
)
from dropzone.sessions.stats import ServiceStats
from dropzone.settings import Settings

if TYPE_CHECKING:
    from dropzone.sessions.bedrock import BedrockSession
    from dropzone.sessions.mlflow import MlflowSession
    from dropzone.sessions.postgres import PostgresSession
    from dropzone.sessions.s3 import S3Session
    from dropzone.sessions.tracker import OperationTracker


class _Session(Protocol):
    def check(self) -> Health: ...
    def stats(self) -> ServiceStats: ...
    def close(self) -> None: ...


S = TypeVar("S", bound=_Session)
T = TypeVar("T")

#: In the order in which they are opened; they are closed the other way round.
_SERVICES = ("s3", "postgres", "mlflow", "bedrock")


class SessionPool:
    """The sessions of one process: ``s3``, ``postgres``, ``mlflow``, ``bedrock``.

    Make one at the start and share it between all threads; close it at the end, or use
    it in a ``with`` statement. Nothing is opened before it is used. A setting may be
    missing for a service that is never used; asking for its session is then a
    programming error (ValueError).

    Everything the sessions raise on purpose is a DropzoneError, told apart by what to
    do next: ServiceUnavailable (try later), DocumentRejected (never, with this data),
    NotFound (it is not there), ConfigurationError (mend the settings).
    """

    def __init__(
        self,
        *,
        s3: S3Settings | None = None,
        postgres: PostgresSettings | None = None,
        mlflow: MlflowSettings | None = None,
        bedrock: BedrockSettings | None = None,
        stop: threading.Event | None = None,
        track_operations_seconds: float = 0.0,
    ) -> None:
        """``stop`` ends every wait of a call that is being repeated.

        With ``track_operations_seconds`` the figures of ``stats`` are logged so often
        in an MLflow run, by a thread.
        """
        self._s3 = s3
        self._postgres = postgres
        self._mlflow = mlflow
        self._bedrock = bedrock
        self._stop = stop or threading.Event()
        # One lock for each service: the import of MLflow takes a second, and nobody
        # who needs S3 should wait for it.
        self._locks = {name: threading.Lock() for name in _SERVICES}
        self._open: dict[str, _Session] = {}
        self._closed = False
        self._missing: dict[str, ConfigurationError] = {}
        self._tracker: OperationTracker | None = None
        if track_operations_seconds:
            self._tracker = self._tracking(track_operations_seconds)

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
            bedrock=bedrock_settings(settings),
            stop=stop,
        )

    @classmethod
    def from_config(cls, path: Path | None = None) -> Self:
        """Return the pool for the configuration file and the environment.

        Without ``path`` the file is found as by the command ``dropzone``; none is
        needed. A service that is named nowhere is the embedded one, where it runs.

        Raises:
            ConfigurationError: a setting is wrong; or neither S3 nor Postgres is
                named, and the embedded ones do not run. Where only one of the two is
                missing, asking for its session raises it.

        """
        from dropzone import config
        from dropzone.embedded import running

        settings = config.load(path).settings
        found = None
        if settings.embeds_postgres or settings.embeds_s3:
            found = running(settings.services_directory)
        addresses = found.addresses if found is not None else None
        missing: dict[str, ConfigurationError] = {}
        s3 = _or_missing("s3", s3_settings, settings, addresses, missing)
        postgres = _or_missing(
            "postgres", postgres_settings, settings, addresses, missing
        )
        if s3 is None and postgres is None:
            raise missing["s3"]
        pool = cls(
            s3=s3,
            postgres=postgres,
            mlflow=mlflow_settings(settings),
            bedrock=bedrock_settings(settings),
            track_operations_seconds=settings.mlflow.track_operations_seconds,
        )
        pool._missing = missing
        return pool

    def update(self, settings: Settings) -> None:
        """Take what may change while the sessions are open; the rest stays.

        That is ``retry.call_seconds``, ``executor.uploads``, and
        ``limits.upload_megabytes_per_second``.
        """
        retry = RetryPolicy(seconds=settings.retry.call_seconds)
        with self._locks["s3"]:
            if self._s3 is not None:
                uploads = settings.executor.uploads
                rate = upload_rate(settings)
                self._s3 = replace(
                    self._s3, retry=retry, concurrency=uploads, upload_rate=rate
                )
                if "s3" in self._open:
                    self.s3.update(self._s3)
        with self._locks["postgres"]:
            if self._postgres is not None:
                self._postgres = replace(self._postgres, retry=retry)
                if "postgres" in self._open:
                    self.postgres.retry.update(retry.seconds)

    @property
    def s3(self) -> "S3Session":
        """Objects: upload, download, list, links."""

        def make() -> "S3Session":
            from dropzone.sessions.s3 import S3Session

            return S3Session(self._given(self._s3, "s3"), stop=self._stop)

        return self._session("s3", make)

    @property
    def postgres(self) -> "PostgresSession":
        """Rows: connections, queries, streams, bulk inserts."""

        def make() -> "PostgresSession":
            from dropzone.sessions.postgres import PostgresSession

            return PostgresSession(
                self._given(self._postgres, "postgres"), stop=self._stop
            )

        return self._session("postgres", make)

    @property
    def mlflow(self) -> "MlflowSession":
        """Runs: parameters, metrics, artifacts, tables."""

        def make() -> "MlflowSession":
            from dropzone.sessions.mlflow import MlflowSession

            return MlflowSession(self._given(self._mlflow, "mlflow"), stop=self._stop)

        return self._session("mlflow", make)

    @property
    def bedrock(self) -> "BedrockSession":
        """Hosted models: answers and vectors."""

        def make() -> "BedrockSession":
            from dropzone.sessions.bedrock import BedrockSession

            return BedrockSession(
                self._given(self._bedrock, "bedrock"), stop=self._stop
            )

        return self._session("bedrock", make)

    def health(self, *, look: bool = True) -> dict[str, Health]:
        """Check the open sessions, one round trip each; others come out unknown.

        Nothing is opened for a check: a page that asks every few seconds must not
        be what imports MLflow. Without ``look`` nobody is asked: what the last look
        found is returned.
        """
        sessions = dict(self._open)
        if not look:
            known = {name: session.stats().health for name, session in sessions.items()}
            return {name: known.get(name, Health()) for name in _SERVICES}
        return {
            name: sessions[name].check() if name in sessions else Health()
            for name in _SERVICES
        }

    def stats(self) -> dict[str, ServiceStats]:
        """Return the figures of the open sessions' operations since they were opened.

        Nobody is asked for them.
        """
        return {name: session.stats() for name, session in dict(self._open).items()}

    def close(self) -> None:
        """Close Bedrock, MLflow, Postgres and S3, in that order; calls may fail.

        The order is that of the work: tracking reads what Postgres committed, and
        Postgres names what S3 holds.
        """
        self._closed = True
        if self._tracker is not None:
            self._tracker.close()
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

    def _tracking(self, seconds: float) -> "OperationTracker":
        from dropzone.sessions.tracker import OperationTracker

        return OperationTracker(
            self._given(self._mlflow, "mlflow"), self.stats, seconds
        )

    def _given(self, settings: T | None, name: str) -> T:
        if settings is not None:
            return settings
        if missing := self._missing.get(name):
            raise missing
        raise ValueError(f"This session pool was made without settings for {name}.")

    def _session(self, name: str, make: Callable[[], S]) -> S:
        session = self._open.get(name)
        if session is None:
            with self._locks[name]:
                if self._closed:
                    raise ValueError("The session pool is closed.")
                session = self._open.get(name) or make()
                self._open[name] = session
        return session  # type: ignore[return-value]  # each name has one type


def _or_missing(
    name: str,
    make: Callable[[Settings, ServiceAddresses | None], T],
    settings: Settings,
    addresses: ServiceAddresses | None,
    missing: dict[str, ConfigurationError],
) -> T | None:
    try:
        return make(settings, addresses)
    except ConfigurationError as error:
        missing[name] = error
        return None
