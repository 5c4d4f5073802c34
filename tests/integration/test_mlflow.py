import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from daemons import wait_for
from dropzone.errors import ConfigurationError, NotFound, ServiceUnavailable
from dropzone.retry import RetryPolicy
from dropzone.sessions import MlflowSettings, SessionPool
from dropzone.sessions.mlflow import BATCH_TAG, MlflowSession

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

NOW = 1_750_000_000.0
BATCH = {
    "run_name": "report.pdf",
    "params": {"model": "hash-v1", "long": "x" * 7000},
    "metrics": {"files": 2, "bytes": 10},
    "tags": {"dropzone.zone": "default"},
    "table": {"name": ["a", "b\x1b"], "size": [1, 2], "outcome": ["indexed", None]},
    "start_time": NOW,
    "end_time": NOW + 5,
}

# Dies with the run open, as a process that is killed does.
DYING = """
import json, os, sys
from pathlib import Path
from dropzone.sessions import MlflowSettings
from dropzone.sessions.mlflow import MlflowSession

class Dying(MlflowSession):
    def _log_table(self, run_id, table, name=""):
        os._exit(9)

session = Dying(MlflowSettings(directory=Path(sys.argv[1])))
session.log_batch(batch_id="killed", **json.loads(sys.argv[2]))
"""

OPENING = """
import sys
from pathlib import Path
from dropzone.sessions import MlflowSettings
from dropzone.sessions.mlflow import MlflowSession

print(MlflowSession(MlflowSettings(directory=Path(sys.argv[1]))).ensure_experiment())
"""


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mlflow") / "a b#c%20d?e"
    session = MlflowSession(MlflowSettings(directory=directory))
    yield session
    session.close()


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_batch_is_one_run_however_often_it_is_logged(mlflow, tmp_path):
    run_id = mlflow.log_batch(batch_id="once", **BATCH)
    assert mlflow.log_batch(batch_id="once", **BATCH) == run_id
    (run,) = mlflow.find_runs("once")
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (NOW * 1000, (NOW + 5) * 1000)
    assert run.info.run_name == "report.pdf"
    assert run.data.metrics == {"files": 2, "bytes": 10}
    assert run.data.params["model"] == "hash-v1"
    assert run.data.tags["dropzone.zone"] == "default"
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "files.json", "type": "table"}
    ]
    path = mlflow.client.download_artifacts(run_id, "files.json", str(tmp_path))
    with open(path) as file:
        assert json.load(file) == {
            "columns": ["name", "size", "outcome"],
            "data": [["a", 1, "indexed"], ["b\x1b", 2, None]],
        }


def test_a_run_left_open_by_a_killed_process_is_completed(mlflow):
    done = python(DYING, str(mlflow._settings.directory), json.dumps(BATCH))
    assert done.returncode == 9, done.stderr
    (left,) = mlflow.find_runs("killed")
    assert left.info.status == "RUNNING"
    assert mlflow.log_batch(batch_id="killed", **BATCH) == left.info.run_id
    (run,) = mlflow.find_runs("killed")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["files"] == 2
    artifacts = mlflow.client.list_artifacts(run.info.run_id)
    assert [artifact.path for artifact in artifacts] == ["files.json"]


def test_of_several_runs_the_oldest_finished_stays(mlflow):
    experiment = mlflow.ensure_experiment()
    made = [
        mlflow.client.create_run(
            experiment, start_time=1000 + number, tags={BATCH_TAG: "many"}
        ).info.run_id
        for number in range(3)
    ]
    for run_id in made[1:]:
        mlflow.client.set_terminated(run_id)
    assert mlflow.log_batch(batch_id="many", **BATCH) == made[1]
    assert [run.info.run_id for run in mlflow.find_runs("many")] == [made[1]]


def test_threads_share_the_session(mlflow):
    def log(number):
        return mlflow.log_batch(batch_id=f"thread-{number}", **BATCH)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(log, range(8)))) == 8


def test_more_parameters_than_fit_into_one_request(mlflow):
    run_id = mlflow.log_run({"params": {f"p{n}": n for n in range(250)}})
    assert len(mlflow.client.get_run(run_id).data.params) == 250


def test_a_run_and_an_artifact_of_the_users_own(mlflow, tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("hello")
    run_id = mlflow.log_run({"name": "mine", "metrics": {"a": 1}, "tags": {"t": "u"}})
    assert mlflow.log_artifact(path, "notes", run_id=run_id) == run_id
    artifacts = mlflow.client.list_artifacts(run_id, "notes")
    assert [artifact.path for artifact in artifacts] == ["notes/note.txt"]
    own = mlflow.log_artifact(path)
    assert mlflow.client.get_run(own).info.run_name == "note.txt"


def test_every_part_of_a_run(mlflow, tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("hello")
    run_id = mlflow.log_run(
        name="whole",
        experiment="birds",
        params={"model": "hash-v1"},
        metrics={"loss": [3.0, 2.0, 1.0], "many": range(1000), "birds": 2},
        tags={"zone": 1},
        artifacts={path: "notes"},
        tables={
            "rows.json": [{"a": 1}, {"a": 2, "b": "x"}],
            "columns.json": {"a": [1, 2], "b": [None, "x"]},
        },
    )
    run = mlflow.client.get_run(run_id)
    assert run.info.experiment_id == mlflow.ensure_experiment("birds")
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"loss": 1.0, "many": 999.0, "birds": 2.0}
    steps = mlflow.client.get_metric_history(run_id, "loss")
    assert [(one.step, one.value) for one in steps] == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert len(json.loads(run.data.tags["mlflow.loggedArtifacts"])) == 2
    for name in ("rows.json", "columns.json"):
        found = mlflow.client.download_artifacts(run_id, name, str(tmp_path))
        with open(found) as file:
            table = json.load(file)
        assert table == {"columns": ["a", "b"], "data": [[1, None], [2, "x"]]}
    kept = mlflow.client.list_artifacts(run_id, "notes")
    assert [one.path for one in kept] == ["notes/note.txt"]


def test_what_is_wrong_with_a_run_is_told(mlflow, tmp_path):
    with pytest.raises(ValueError, match="no part 'metric'"):
        mlflow.log_run({"metric": {}})
    with pytest.raises(FileNotFoundError):
        mlflow.log_artifact(tmp_path / "nothing")
    with pytest.raises(NotFound, match="not found"):
        mlflow.log_table("f" * 32, {"a": [1]})


def test_operations_are_summed_up_in_a_run_where_asked_for(mlflow):
    found = []

    def runs():
        experiment = mlflow.ensure_experiment()
        tag = "tags.`dropzone.operations` LIKE '%'"
        found[:] = mlflow.client.search_runs([experiment], tag)
        return found

    began = time.monotonic()
    with SessionPool(mlflow=mlflow._settings, track_operations_seconds=0.1) as pool:
        for _ in range(3):
            pool.mlflow.ensure_experiment()
        assert time.monotonic() - began < 30
        wait_for(runs, "a summary is logged")
        pool.mlflow.ensure_experiment()
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["mlflow.ensure_experiment.count"] == 4
    assert run.data.metrics["mlflow.ensure_experiment.errors"] == 0
    assert run.data.metrics["mlflow.ensure_experiment.p95_seconds"] < 30
    # The summaries themselves are no operations of the pool.
    assert "mlflow.log_run.count" not in run.data.metrics


def test_an_experiment_that_was_deleted_is_taken_back(mlflow):
    experiment = mlflow.ensure_experiment("thrown away")
    mlflow.client.delete_experiment(experiment)
    fresh = MlflowSession(mlflow._settings)
    assert fresh.ensure_experiment("thrown away") == experiment
    fresh.close()


def test_health(mlflow):
    assert mlflow.check().healthy


def test_two_processes_may_open_a_new_store_at_once(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: python(OPENING, str(tmp_path)), range(2)))
    assert [one.returncode for one in done] == [0, 0], done
    assert len({one.stdout for one in done}) == 1


def test_a_store_whose_making_was_killed_is_made_again(tmp_path):
    """MLflow never opens a store again whose migrations were cut off."""
    with subprocess.Popen([sys.executable, "-c", OPENING, str(tmp_path)]) as maker:
        wait_for(lambda: halfway(tmp_path), "some migrations are done")
        maker.kill()
    assert not (tmp_path / "mlflow.db").exists()
    assert python(OPENING, str(tmp_path)).returncode == 0
    assert [p.name for p in tmp_path.glob("mlflow.db*")] == ["mlflow.db"]


def halfway(directory):
    """Return whether the first of the store's migrations are there."""
    made = directory / "mlflow.db.new"
    return made.exists() and made.stat().st_size > 100_000


@pytest.mark.parametrize(
    "uri", ["http://me:canary@127.0.0.1:9", "postgresql://me:canary@127.0.0.1:9/runs"]
)
def test_a_store_that_is_down_is_told_fast_and_without_secrets(tmp_path, uri):
    session = MlflowSession(
        MlflowSettings(
            directory=tmp_path,
            tracking_uri=uri,
            retry=RetryPolicy(seconds=0.3, first_pause=0.05),
        )
    )
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable) as caught:
        session.log_batch(batch_id="b", **BATCH)
    assert caught.value.service == "mlflow"
    health = session.check()
    assert health.healthy is False
    assert time.monotonic() - began < 30
    assert "canary" not in f"{caught.value} {health.error} {session.address}"


def test_an_address_mlflow_cannot_use_is_told(tmp_path):
    session = MlflowSession(
        MlflowSettings(directory=tmp_path, tracking_uri="carrier-pigeon://x")
    )
    with pytest.raises(ConfigurationError, match="tracking_uri"):
        session.ensure_experiment()
