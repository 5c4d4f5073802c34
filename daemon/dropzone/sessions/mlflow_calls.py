"""The client of MLflow, and the way that every call takes: repeated and translated.

Nothing here uses MLflow's module-level run stack or its asynchronous logging: the
first belongs to a thread, the second was seen to deadlock.
"""
# ruff: noqa: TID251 - this module owns the MLflow client.

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

# Read by MLflow when it is imported. Telemetry is on unless told otherwise; repeating
# and giving up is our business: by itself a call to a dead server takes 246 seconds.
os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_CONFIGURE_LOGGING="false",
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
    MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
)

import mlflow
import psycopg
import requests
import sqlalchemy.exc
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from mlflow.exceptions import MlflowException
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

from dropzone import fsops
from dropzone.errors import (
    ConfigurationError,
    DropzoneError,
    NotFound,
    ServiceUnavailable,
)
from dropzone.retry import Retry
from dropzone.sessions import s3_errors
from dropzone.sessions.guard import Guard, Operation
from dropzone.sessions.health import Health, measure
from dropzone.sessions.rotation import log_in
from dropzone.sessions.settings import (
    MlflowSettings,
    tracking_uri,
    without_userinfo,
)
from dropzone.sessions.stats import ServiceStats
from dropzone.sessions.tracking_file import make_store

T = TypeVar("T")

# It tells each table that it makes.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)

_CONNECT_SECONDS = 5
# MLflow answers several at a time at best; more callers only wait inside of it.
_CALLS_AT_ONCE = 32

_DRIVER_ERRORS = (
    MlflowException,
    requests.exceptions.RequestException,
    sqlalchemy.exc.SQLAlchemyError,
    psycopg.Error,
    OSError,
    # Artifacts may lie in S3.
    Boto3Error,
    BotoCoreError,
    ClientError,
)
_TRANSIENT = frozenset(
    {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_CONFLICT"}
)
# The request itself is wrong: a fault of the program, not of the surroundings.
_FAULTS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE"})


class MlflowCalls:
    """One tracking store. Shared by all threads."""

    def __init__(
        self, settings: MlflowSettings, *, stop: threading.Event | None = None
    ) -> None:
        self._settings = settings
        self._retry = Retry(settings.retry, transient=is_transient, stop=stop)
        self._uri = tracking_uri(settings)
        self._lock = threading.Lock()
        self._client: mlflow.MlflowClient | None = None
        self._experiments: dict[str, str] = {}
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(1, int(settings.timeout)))
        #: The tracking store, for messages.
        self.address = f"MLflow at {without_userinfo(self._uri)}"
        self._guard = Guard(
            "mlflow",
            address=lambda: self.address,
            look=lambda: measure(self._look),
            counts=is_transient,
            limit=_CALLS_AT_ONCE,
            patience=settings.retry.seconds,
            stop=stop,
        )

    @property
    def client(self) -> "mlflow.MlflowClient":
        """MLflow's client, made at the first use; its errors are the driver's."""
        with self._lock:
            if self._client is None:
                self._client = self._made()
            return self._client

    def operation(self, name: str) -> Operation:
        """Return the context of one operation, which holds all of its calls."""
        return self._guard.operation(name)

    def call(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, repeating it."""
        with self.translating():
            return self._retry.call(function)

    def translating(self) -> "Translating":
        log_in(self._settings)
        return Translating(self.address)

    def ensure_experiment(self, name: str | None) -> str:
        """Return the id of the experiment, by default that of the settings."""
        wanted = name or self._settings.experiment_name
        if (known := self._experiments.get(wanted)) is None:
            known = self.call(lambda: self._find_or_create(wanted))
            self._experiments[wanted] = known
        return known

    def check(self) -> Health:
        return self._guard.looked(measure(self._look))

    def stats(self) -> ServiceStats:
        return self._guard.stats()

    def close(self) -> None:
        with self._lock:
            self._client = None

    def _look(self) -> None:
        with self.translating():
            self.client.search_experiments(max_results=1)

    def _made(self) -> "mlflow.MlflowClient":
        if self._uri.startswith("postgresql+psycopg://"):
            # MLflow itself tries for 101 seconds before it says so.
            plain = self._uri.replace("+psycopg", "", 1)
            psycopg.connect(plain, connect_timeout=_CONNECT_SECONDS).close()
        # Of several processes that open a new store at once, all but one die.
        with _locked(self._settings.directory / "mlflow.lock"):
            make_store(self._uri)
            try:
                client = mlflow.MlflowClient(tracking_uri=self._uri)
            except UnsupportedModelRegistryStoreURIException as error:
                raise ConfigurationError(
                    f"mlflow.tracking_uri: MLflow cannot use {self.address!r}."
                ) from error
            client.search_experiments(max_results=1)
        return client

    def _find_or_create(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(
                    self.client.create_experiment(name, _artifact_root(self._settings))
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)
        # Deleted on MLflow's page: its name stays taken, so nothing else would help.
        elif found.lifecycle_stage != "active":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


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
        # A file of the caller's own that is not there is no fault of MLflow.
        if isinstance(error, _DRIVER_ERRORS) and not isinstance(
            error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)
        ):
            translated = _translated(error, self._address)
            if translated is not None:
                raise translated from error


def is_transient(error: BaseException) -> bool:
    """Whether the same call may work in a moment."""
    if isinstance(error, MlflowException) and error.error_code in _TRANSIENT:
        return True
    # MLflow wraps what the network did to it, and gives it no code of its own.
    links = (error, error.__cause__, error.__context__)
    return any(
        isinstance(
            link,
            (requests.exceptions.RequestException, sqlalchemy.exc.OperationalError),
        )
        or (link is not None and s3_errors.is_transient(link))
        for link in links
    )


def _translated(error: Exception, address: str) -> DropzoneError | None:
    code = error.error_code if isinstance(error, MlflowException) else ""
    if code in _FAULTS:
        return None
    if code == "RESOURCE_DOES_NOT_EXIST":
        return NotFound(f"{address}: {without_userinfo(str(error)[:500])}")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ServiceUnavailable(
        "mlflow",
        f"{address} cannot be used: {without_userinfo(lines[0][:500])}",
        hint="Start it, or check mlflow.tracking_uri.",
    )


def _artifact_root(settings: MlflowSettings) -> str | None:
    if settings.artifact_root is not None or settings.tracking_uri is not None:
        return settings.artifact_root
    return (settings.directory / "artifacts").resolve().as_uri()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The journal relies on the runs in there, also after a power cut.
    fsops.sync_directory(path.parent.parent)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
