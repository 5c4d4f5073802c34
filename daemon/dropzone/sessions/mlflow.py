"""The one way to MLflow: runs of the caller's own, and one run for each batch."""
# ruff: noqa: TID251 - this module owns the MLflow client.

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from dropzone.sessions import mlflow_values
from dropzone.sessions.batch_run import BatchRun
from dropzone.sessions.health import Health
from dropzone.sessions.mlflow_calls import MlflowCalls
from dropzone.sessions.mlflow_values import Metrics, Table
from dropzone.sessions.settings import MlflowSettings
from dropzone.sessions.stats import ServiceStats

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Artifacts: TypeAlias = Iterable[str | PathLike[str]] | Mapping[Any, str]

BATCH_TAG = "dropzone.batch"
#: One value for each call of ``log_run``: found again by it after a lost answer.
RUN_TAG = "dropzone.run"
_SHOWN_TAG = "mlflow.loggedArtifacts"
_BATCH_TABLE = "files.json"
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
_RUNS_AT_ONCE = 1000


class MlflowSession:
    """One tracking store and one experiment in it. Shared by all threads.

    Every method raises ServiceUnavailable (``mlflow``) while the store is at fault and
    NotFound for a run that is not there, with the driver's error as ``__cause__``.
    No current run is kept anywhere: what belongs to a run takes its id.
    """

    def __init__(
        self, settings: MlflowSettings, *, stop: threading.Event | None = None
    ) -> None:
        self._settings = settings
        self._calls = MlflowCalls(settings, stop=stop)
        #: The tracking store, for messages.
        self.address = self._calls.address

    @property
    def client(self) -> "MlflowClient":
        """MLflow's own client, for what this class does not offer."""
        with self._calls.translating():
            return self._calls.client

    def ensure_experiment(self, name: str | None = None) -> str:
        """Return the id of the experiment, by default that of the settings.

        It is made when there is none, and taken back when it was deleted.
        """
        with self._calls.operation("ensure_experiment"):
            return self._calls.ensure_experiment(name)

    def tag_experiment(self, name: str, value: str) -> None:
        """Write a tag on the experiment of the settings."""
        with self._calls.operation("tag_experiment"):
            experiment = self._calls.ensure_experiment(None)
            self._calls.call(
                partial(self._calls.client.set_experiment_tag, experiment, name, value)
            )

    def log_run(
        self,
        run: Mapping[str, Any] | None = None,
        /,
        *,
        name: str = "run",
        params: Mapping[str, object] | None = None,
        metrics: Metrics | None = None,
        tags: Mapping[str, object] | None = None,
        artifacts: Artifacts = (),
        tables: Mapping[str, Table] | None = None,
        experiment: str | None = None,
    ) -> str:
        """Log one finished run and return its id. Each call makes exactly one.

        The parts are given by name, or as one mapping with these names. A metric is a
        number, or a sequence of them for the steps 0, 1, 2... ``artifacts`` are paths,
        or a mapping of paths to folders within the run. ``tables`` are, by the name of
        their file, either mappings of columns to values or sequences of rows as
        mappings. Parameters are cut at 6,000 characters and tags at 5,000.

        Raises:
            ValueError: ``run`` has a part of another name.

        """
        if run is not None:
            return self.log_run(**mlflow_values.parts_of(run))
        now = time.time()
        mark = (RUN_TAG, uuid4().hex)
        with self._calls.operation("log_run"):
            run_id = self._create(name, tags or {}, now, mark, experiment)
            self._log(run_id, params or {}, metrics or {}, now)
            for path, folder in mlflow_values.places_of(artifacts):
                self._log_artifact(run_id, path, folder)
            for file_name, table in (tables or {}).items():
                self._log_table(run_id, table, file_name)
            self._finish(run_id, time.time())
        return run_id

    def log_artifact(
        self,
        path: str | PathLike[str],
        destination: str = "",
        *,
        run_id: str | None = None,
    ) -> str:
        """Copy a file into a folder of a run's artifacts; return the run's id.

        Without ``run_id`` the file gets a run of its own, named after it.

        Raises:
            FileNotFoundError: there is no such file.

        """
        source = Path(path)
        if run_id is None:
            return self.log_run(name=source.name, artifacts={source: destination})
        with self._calls.operation("log_artifact"):
            self._log_artifact(run_id, source, destination)
        return run_id

    def log_table(self, run_id: str, table: Table, name: str = "table.json") -> None:
        """Write a table into a run's artifacts; MLflow's page shows it as one.

        ``table`` is a mapping of columns to values or a sequence of rows as mappings.
        A file of that name is replaced.
        """
        with self._calls.operation("log_table"):
            self._log_table(run_id, table, name)

    def log_metrics(
        self, run_id: str, metrics: Mapping[str, float], *, step: int = 0
    ) -> None:
        """Add one value to each of a run's metrics, also of one that is finished."""
        now = time.time()
        with self._calls.operation("log_metrics"):
            for some in mlflow_values.at_step(metrics, step, now):
                self._calls.call(
                    partial(self._calls.client.log_batch, run_id, metrics=some)
                )

    def find_runs(self, batch_id: str) -> "list[Run]":
        """Return the runs of a batch, the oldest first; there should be one."""
        with self._calls.operation("find_runs"):
            return self._tagged(BATCH_TAG, batch_id)

    def batch_runs(self) -> Iterator[BatchRun]:
        """Yield every run of a batch in the experiment."""
        experiment = self.ensure_experiment()
        token: str | None = None
        while True:
            with self._calls.operation("batch_runs"):
                page = self._calls.call(partial(self._page, experiment, token))
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
        with self._calls.operation("log_batch"):
            found = self._keep_one(self._tagged(BATCH_TAG, batch_id))
            if found is not None and found.info.status in _ENDED:
                return str(found.info.run_id)
            mark = (BATCH_TAG, batch_id)
            run_id = (
                self._create(run_name, tags, start_time, mark)
                if found is None
                else str(found.info.run_id)
            )
            logged = dict(found.data.params) if found is not None else {}
            missing = {key: value for key, value in params.items() if key not in logged}
            self._log(run_id, missing, metrics, end_time)
            if table:
                self._log_table(run_id, table)
            self._finish(run_id, end_time)
            return run_id

    def discard(self, batch_id: str) -> None:
        """Put the runs of a batch into MLflow's trash; it can be logged anew then."""
        with self._calls.operation("discard"):
            for run in self._tagged(BATCH_TAG, batch_id):
                self._delete(run)

    def check(self) -> Health:
        """Ask the store for one experiment and tell how that went."""
        return self._calls.check()

    def stats(self) -> ServiceStats:
        """Return how often each operation was called, and how that went."""
        return self._calls.stats()

    def close(self) -> None:
        """Forget the client; its connections close with it."""
        self._calls.close()

    def _page(self, experiment: str, token: str | None) -> Any:
        return self._calls.client.search_runs(
            [experiment], max_results=_RUNS_AT_ONCE, page_token=token
        )

    def _tagged(
        self, tag: str, value: str, experiment: str | None = None
    ) -> "list[Run]":
        where = self._calls.ensure_experiment(experiment)
        quoted = value.replace("'", "")
        return self._calls.call(
            lambda: list(
                self._calls.client.search_runs(
                    [where],
                    f"tags.`{tag}` = '{quoted}'",
                    order_by=["attributes.start_time ASC"],
                )
            )
        )

    def _keep_one(self, runs: "Sequence[Run]") -> "Run | None":
        if not runs:
            return None
        ended = [run for run in runs if run.info.status in _ENDED]
        kept = (ended or runs)[0]
        for run in runs:
            if run is not kept:
                self._delete(run)
        return kept

    def _delete(self, run: "Run") -> None:
        run_id = run.info.run_id
        self._calls.call(lambda: self._calls.client.delete_run(run_id))

    def _create(
        self,
        name: str,
        tags: Mapping[str, object],
        start: float,
        mark: tuple[str, str],
        experiment: str | None = None,
    ) -> str:
        """Make the one run with the tag ``mark`` and return its id."""
        where = self._calls.ensure_experiment(experiment)
        texts = mlflow_values.tag_texts({**tags, mark[0]: mark[1]})
        tried = False

        def once() -> str:
            nonlocal tried
            # A lost answer may hide a run, which only its tag finds.
            if tried and (found := self._tagged(*mark, experiment)):
                return str(found[0].info.run_id)
            tried = True
            run = self._calls.client.create_run(
                where,
                start_time=mlflow_values.millis(start),
                tags=texts,
                run_name=name,
            )
            return str(run.info.run_id)

        return self._calls.call(once)

    def _log(
        self,
        run_id: str,
        params: Mapping[str, object],
        metrics: Metrics,
        at: float,
    ) -> None:
        for some, texts in mlflow_values.requests(params, metrics, at):
            self._calls.call(
                partial(
                    self._calls.client.log_batch, run_id, metrics=some, params=texts
                )
            )

    def _log_artifact(self, run_id: str, path: Path, folder: str) -> None:
        self._calls.call(
            lambda: self._calls.client.log_artifact(run_id, str(path), folder or None)
        )

    def _log_table(self, run_id: str, table: Table, name: str = _BATCH_TABLE) -> None:
        content = mlflow_values.table_text(table)
        self._calls.call(lambda: self._calls.client.log_text(run_id, content, name))
        # MLflow's page shows as tables what this tag names; a batch has just one.
        known = None if name == _BATCH_TABLE else self._shown(run_id)
        shown = mlflow_values.shown_with(known, name)
        self._calls.call(lambda: self._calls.client.set_tag(run_id, _SHOWN_TAG, shown))

    def _shown(self, run_id: str) -> str | None:
        run = self._calls.call(lambda: self._calls.client.get_run(run_id))
        shown: str | None = run.data.tags.get(_SHOWN_TAG)
        return shown

    def _finish(self, run_id: str, end: float) -> None:
        at = mlflow_values.millis(end)
        self._calls.call(
            lambda: self._calls.client.set_terminated(run_id, "FINISHED", at)
        )
