"""A tracking server that is down, hangs, comes back: runs are late, files are not."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import (
    PROMPT,
    ZoneOfTest,
    check_invariants,
    free_port,
    wait_for,
    zone_on,
)
from dropzone.embedded import ServiceAddresses
from dropzone.retry import RetryPolicy
from dropzone.sessions import MlflowSettings
from dropzone.sessions.mlflow import MlflowSession
from faultproxy import FaultProxy, proxy_to
from webclient import get

_UP_SECONDS = 150


@pytest.fixture(scope="module")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real ``mlflow server``; heavy, so there is one for this module."""
    base = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{base}/runs.db"]
    command += ["--artifacts-destination", str(base / "artifacts")]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    server = subprocess.Popen(
        command,
        cwd=base,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: _answers(port), "the server answers", _UP_SECONDS)
        yield port
    finally:
        os.killpg(server.pid, 15)
        server.wait(60)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
            return True
    except OSError:
        return False


def _runs(port: int) -> list[dict[str, dict[str, Any]]]:
    """Return the runs of every experiment, as the server tells them."""
    body = json.dumps({"experiment_ids": ["0", "1"]}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search",
        body,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        runs: list[dict[str, dict[str, Any]]] = json.load(answer).get("runs", [])
    return runs


def _told_of_mlflow(zone: ZoneOfTest) -> dict[str, Any]:
    overview = get(f"{zone.report()['web']['url']}/api/v1/overview").json
    told: dict[str, Any] = overview["services"][-1]
    assert told["service"] == "mlflow"
    return told


def _is_down(told: dict[str, Any]) -> None:
    assert (told["healthy"], told["latency_seconds"]) == (False, None)
    assert "MLflow" in told["error"]


def _is_up(told: dict[str, Any]) -> None:
    assert (told["healthy"], told["error"]) == (True, None)
    # The proxy holds back every answer for a moment.
    assert 0.02 < told["latency_seconds"] < 30


def _check_link(zone: ZoneOfTest, runs: set[str]) -> None:
    """Check that the page of a file leads to its run in the server's pages."""
    base, job = zone.report()["web"]["url"], zone.receipts()[0]["job"]
    told = get(f"{base}/api/v1/jobs/{job}").json
    assert told["run_id"] in runs
    server = zone.environment["MLFLOW_TRACKING_URI"]
    assert told["run_url"] == f"{server}/#/runs/{told['run_id']}"
    shown = get(f"{base}/files/{job}", accept="text/html").text
    assert f'<a href="{told["run_url"]}"' in shown


@pytest.fixture
def proxy(tracking_server: int) -> Iterator[FaultProxy]:
    with proxy_to(("127.0.0.1", tracking_server)) as proxy:
        yield proxy


@pytest.fixture
def zone(
    tmp_path: Path, services: ServiceAddresses, proxy: FaultProxy
) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    made.environment |= {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{proxy.port}",
        "DROPZONE__MLFLOW__TIMEOUT_SECONDS": "1",
        "DROPZONE__RETRY__CALL_SECONDS": "0.3",
    }
    yield made
    made.close()


def test_runs_are_late_and_files_are_not(
    zone: ZoneOfTest,
    services: ServiceAddresses,
    proxy: FaultProxy,
    tracking_server: int,
) -> None:
    dropped: dict[str, int] = {}
    proxy.refuse()
    daemon = zone.start()
    for fault in (proxy.refuse, proxy.freeze):
        # From one to the other without a moment in which a run could be logged.
        fault()
        for number in range(3):
            name = f"{fault.__name__}{number}.txt"
            dropped[zone.drop(name, f"text of {name}".encode())] = 1
        zone.wait_for_ends(len(dropped))
        pause = wait_for(lambda: zone.report().get("paused"), "track pauses")[0]
        assert (pause["step"], pause["service"]) == ("track", "mlflow")
    _is_down(_told_of_mlflow(zone))
    shown = zone.command("status")
    assert shown.returncode == 1
    assert "mlflow" in shown.stdout.lower()

    proxy.heal()
    proxy.slow(latency=0.02)
    with zone.journal() as journal:
        wait_for(lambda: not journal.batches_waiting(), "all runs are logged")
        batches = {job.batch_id for job in journal.newest(100)}
    wait_for(lambda: not zone.report()["paused"], "nothing is paused")
    assert zone.log().count('"event": "paused"') == 1, "told once"
    wait_for(lambda: _told_of_mlflow(zone)["healthy"], "the page tells it")
    _is_up(_told_of_mlflow(zone))
    runs = _runs(tracking_server)
    tags = [tag["value"] for run in runs for tag in run["data"]["tags"]
            if tag["key"] == "dropzone.batch"]  # fmt: skip
    assert sorted(tags) == sorted(batches), "one run for each batch"
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    _check_link(zone, {run["info"]["run_id"] for run in runs})
    check_invariants(zone, services, dropped)
    assert zone.stop(daemon) < PROMPT


def test_a_run_whose_answer_was_lost_is_not_made_twice(
    tmp_path: Path, proxy: FaultProxy
) -> None:
    session = MlflowSession(
        MlflowSettings(
            directory=tmp_path,
            tracking_uri=f"http://127.0.0.1:{proxy.port}",
            retry=RetryPolicy(seconds=20, first_pause=0.02, longest_pause=0.1),
        )
    )
    session.ensure_experiment()
    proxy.cut_at(b"/runs/create", deliver=True)
    run_id = session.log_run(name="once", metrics={"a": 1})
    assert not proxy.pending
    proxy.refuse()
    threading.Timer(0.3, proxy.heal).start()
    later = session.log_run(name="after an outage")
    found = session.client.search_runs(
        [session.ensure_experiment()], "tags.`dropzone.run` LIKE '%'"
    )
    assert {run.info.run_id for run in found} == {run_id, later}
    assert {run.info.status for run in found} == {"FINISHED"}
    session.close()
