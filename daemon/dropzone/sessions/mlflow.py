"""The one way to MLflow: one client, one run for each batch, found again by its tag.

Nothing here uses MLflow's module-level run stack or its asynchronous logging: the
first belongs to a thread, the second was seen to deadlock.
"""
# ruff: noqa: TID251 - this module owns the MLflow client.

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

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
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

from dropzone import fsops
from dropzone.errors import ConfigurationError, DropzoneError, ServiceUnavailable
from dropzone.retry import Retry
from dropzone.sessions.health import Health, measure
from dropzone.sessions.rotation import log_in
from dropzone.sessions.settings import (
    MlflowSettings,
    tracking_uri,
    without_userinfo,
)
from dropzone.sessions.tracking_file import make_store

T = TypeVar("T")

BATCH_TAG = "dropzone.batch"
_TABLE = "files.json"
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
# What the tracking stores take at once.
_PARAM_CHARACTERS = 6000
_TAG_CHARACTERS = 5000
_PARAMS_AT_ONCE = 100
_RUNS_AT_ONCE = 1000
_CONNECT_SECONDS = 5

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


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A run of a batch: its ``status`` as MLflow calls it, its metric ``files``."""

    run_id: str
    batch_id: str
    status: str
    files: int | None


class MlflowSession:
    """One tracking store and one experiment in it. Thread-safe.

    Every method raises ServiceUnavailable (``mlflow``) while the store is at fault.
    """

    def __init__(
        self, settings: MlflowSettings, *, stop: threading.Event | None = None
    ) -> None:
        self._settings = settings
        self._retry = Retry(settings.retry, transient=_is_transient, stop=stop)
        self._uri = tracking_uri(settings)
        self._lock = threading.Lock()
        self._client: mlflow.MlflowClient | None = None
        self._experiments: dict[str, str] = {}
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(1, int(settings.timeout)))

    @property
    def address(self) -> str:
        """The tracking store, for messages."""
        return f"MLflow at {without_userinfo(self._uri)}"

    @property
    def client(self) -> "mlflow.MlflowClient":
        """MLflow's own client, for what this class does not offer."""
        with self._lock:
            if self._client is None:
                with self._translating():
                    self._client = self._made()
            return self._client

    def ensure_experiment(self, name: str | None = None) -> str:
        """Return the id of the experiment, by default that of the settings."""
        wanted = name or self._settings.experiment_name
        if (known := self._experiments.get(wanted)) is None:
            known = self._call(lambda: self._find_or_create(wanted))
            self._experiments[wanted] = known
        return known

    def tag_experiment(self, name: str, value: str) -> None:
        """Write a tag on the experiment of the settings."""
        experiment = self.ensure_experiment()
        self._call(lambda: self.client.set_experiment_tag(experiment, name, value))

    def find_runs(self, batch_id: str) -> list[Run]:
        """Return the runs of a batch, the oldest first; there should be one."""
        experiment = self.ensure_experiment()
        quoted = batch_id.replace("'", "")
        return self._call(
            lambda: list(
                self.client.search_runs(
                    [experiment],
                    f"tags.`{BATCH_TAG}` = '{quoted}'",
                    order_by=["attributes.start_time ASC"],
                )
            )
        )

    def batch_runs(self) -> Iterator[BatchRun]:
        """Yield every run of a batch in the experiment."""
        experiment = self.ensure_experiment()
        token: str | None = None
        while True:
            page = self._call(
                partial(
                    self.client.search_runs,
                    [experiment],
                    max_results=_RUNS_AT_ONCE,
                    page_token=token,
                )
            )
            for run in page:
                if batch_id := run.data.tags.get(BATCH_TAG):
                    files = run.data.metrics.get("files")
                    yield BatchRun(
                        str(run.info.run_id),
                        batch_id,
                        str(run.info.status),
                        None if files is None else int(files),
                    )
            token = page.token
            if not token:
                return

    def log_batch(
        self,
        *,
        run_name: str,
        batch_id: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, object],
        table: Mapping[str, Sequence[object]],
        start_time: float,
        end_time: float,
    ) -> str:
        """Return the id of the one finished run of this batch, logged if need be.

        May be called again after any failure: what an earlier call left is completed,
        and of several runs the oldest finished one stays. ``table`` has one list for
        each column, one row for each file. Times are in epoch seconds.
        """
        found = self._keep_one(self.find_runs(batch_id))
        if found is not None and found.info.status in _ENDED:
            return str(found.info.run_id)
        every_tag = {**tags, BATCH_TAG: batch_id}
        run_id = (
            self._create(run_name, every_tag, start_time)
            if found is None
            else str(found.info.run_id)
        )
        logged = dict(found.data.params) if found is not None else {}
        missing = {key: value for key, value in params.items() if key not in logged}
        self._log(run_id, missing, metrics, end_time)
        self._log_table(run_id, table)
        self._finish(run_id, end_time)
        return run_id

    def discard(self, batch_id: str) -> None:
        """Put the runs of a batch into MLflow's trash; it can be logged anew then."""
        for run in self.find_runs(batch_id):
            self._call(partial(self.client.delete_run, run.info.run_id))

    def log_run(self, run: Mapping[str, Any]) -> str:
        """Log one finished run, given as ``name``, ``params``, ``metrics``, ``tags``.

        Returns the id of the run. Each call makes a new one.
        """
        now = time.time()
        run_id = self._create(str(run.get("name", "run")), run.get("tags", {}), now)
        self._log(run_id, run.get("params", {}), run.get("metrics", {}), now)
        self._finish(run_id, now)
        return run_id

    def log_artifact(
        self, path: Path, destination: str = "", *, run_id: str | None = None
    ) -> str:
        """Copy a file into a run's artifacts; return the run's id.

        Without ``run_id`` the file gets a run of its own, named after it.
        """
        owner = run_id or self.log_run({"name": path.name})
        self._call(
            lambda: self.client.log_artifact(owner, str(path), destination or None)
        )
        return owner

    def check(self) -> Health:
        """Ask the store for one experiment and tell how that went."""

        def ask() -> None:
            with self._translating():
                self.client.search_experiments(max_results=1)

        return measure(ask)

    def close(self) -> None:
        """Forget the client; its connections close with it."""
        with self._lock:
            self._client = None

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

    def _keep_one(self, runs: Sequence[Run]) -> Run | None:
        if not runs:
            return None
        ended = [run for run in runs if run.info.status in _ENDED]
        kept = (ended or runs)[0]
        for run in runs:
            if run is not kept:
                self._call(partial(self.client.delete_run, run.info.run_id))
        return kept

    def _create(self, name: str, tags: Mapping[str, object], start: float) -> str:
        experiment = self.ensure_experiment()
        texts = {key: str(value)[:_TAG_CHARACTERS] for key, value in tags.items()}
        # Not repeated here: a lost answer may hide a run, which only the search for
        # the batch's tag finds.
        with self._translating():
            run = self.client.create_run(
                experiment, start_time=_millis(start), tags=texts, run_name=name
            )
        return str(run.info.run_id)

    def _log(
        self,
        run_id: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        at: float,
    ) -> None:
        values = [Metric(key, value, _millis(at), 0) for key, value in metrics.items()]
        texts = [
            Param(key, str(value)[:_PARAM_CHARACTERS]) for key, value in params.items()
        ]
        first, rest = texts[:_PARAMS_AT_ONCE], texts[_PARAMS_AT_ONCE:]
        self._call(lambda: self.client.log_batch(run_id, metrics=values, params=first))
        for start in range(0, len(rest), _PARAMS_AT_ONCE):
            part = rest[start : start + _PARAMS_AT_ONCE]
            self._call(partial(self.client.log_batch, run_id, params=part))

    def _log_table(self, run_id: str, table: Mapping[str, Sequence[object]]) -> None:
        if not table:
            return
        rows = [list(row) for row in zip(*table.values(), strict=True)]
        content = json.dumps({"columns": list(table), "data": rows})
        shown = json.dumps([{"path": _TABLE, "type": "table"}])
        self._call(lambda: self.client.log_text(run_id, content, _TABLE))
        # MLflow's page shows as tables what this tag names.
        self._call(lambda: self.client.set_tag(run_id, "mlflow.loggedArtifacts", shown))

    def _finish(self, run_id: str, end: float) -> None:
        self._call(lambda: self.client.set_terminated(run_id, "FINISHED", _millis(end)))

    def _call(self, function: Callable[[], T]) -> T:
        with self._translating():
            return self._retry.call(function)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        log_in(self._settings)
        try:
            yield
        except _DRIVER_ERRORS as error:
            translated = self._translated(error)
            if translated is None:
                raise
            raise translated from error

    def _translated(self, error: Exception) -> DropzoneError | None:
        code = error.error_code if isinstance(error, MlflowException) else ""
        if code in _FAULTS:
            return None
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return ServiceUnavailable(
            "mlflow",
            f"{self.address} cannot be used: {without_userinfo(lines[0][:500])}",
            hint="Runs are logged when it answers again; files do not wait for it.",
        )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, MlflowException):
        return error.error_code in _TRANSIENT
    return isinstance(
        error, (requests.exceptions.RequestException, sqlalchemy.exc.OperationalError)
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


def _millis(seconds: float) -> int:
    return int(seconds * 1000)
