"""The commands that start servers themselves: services, search, doctor, mlflow."""

import json
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg  # noqa: TID251 a client of the test's own
import pytest

from daemons import ZoneOfTest, wait_for


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[ZoneOfTest]:
    """A zone that leaves every service to dropzone."""
    made = ZoneOfTest(tmp_path, {})
    yield made
    made.command("services", "down")
    made.close()


def _environment(zone: ZoneOfTest) -> dict[str, str]:
    done = zone.command("services", "env")
    assert done.returncode == 0, done.stderr
    words = [shlex.split(line) for line in done.stdout.splitlines()]
    assert {first for first, _ in words} == {"export"}
    return dict(word.split("=", 1) for _, word in words)


def _post(url: str, body: object) -> Any:
    request = urllib.request.Request(  # noqa: S310 our own server
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def test_services_run_alone_and_search_works_without_a_daemon(zone: ZoneOfTest) -> None:
    assert "not running" in zone.command("services", "env").stderr
    assert zone.command("services", "down").stdout == "No services were running.\n"
    assert "no daemon ever ran here" in zone.command("search", "newt").stderr
    up = zone.command("services", "up")
    assert up.returncode == 0, up.stderr
    assert "run already" in zone.command("services", "up").stdout

    values = _environment(zone)
    assert values["DATABASE_URL"] not in up.stdout
    assert values["MLFLOW_TRACKING_URI"].startswith("sqlite:////")
    with psycopg.connect(values["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    # A shell that holds these lines still means the embedded servers.
    zone.environment = {**zone.environment, **values}
    zone.drop("note.txt", b"The smooth newt courts in spring.")
    assert zone.run_once() == 0
    assert (zone.root / "state" / "mlflow" / "artifacts").is_dir()
    assert "newt" in zone.command("search", "newt").stdout

    assert zone.command("services", "down").stdout == "The services are stopped.\n"
    # Now Postgres is started for the moment of the search, and stopped again.
    assert "newt" in zone.command("search", "newt").stdout
    assert zone.command("services", "env").returncode == 1


def test_a_daemons_services_are_not_stopped_under_it(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    wait_for(lambda: zone.command("services", "env").returncode == 0, "they run")
    done = zone.command("services", "down")
    assert done.returncode == 2
    assert "Stop that process" in done.stderr
    assert f"process {daemon.pid}" in done.stderr
    zone.stop(daemon)


def test_the_mlflow_page_lists_the_runs_and_stops_with_its_children(
    zone: ZoneOfTest,
) -> None:
    zone.drop("note.txt", b"The runs are listed.")
    assert zone.run_once() == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    page = subprocess.Popen(
        [sys.executable, "-m", "dropzone", "mlflow", "--port", str(port)],
        cwd=zone.base,
        env=zone.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with page:
        assert page.stdout is not None
        assert url in page.stdout.readline()
        api = f"{url}/api/2.0/mlflow"
        found = _post(f"{api}/experiments/search", {"max_results": 10})["experiments"]
        (ours,) = [e["experiment_id"] for e in found if e["name"] == "dropzone"]
        (run,) = _post(f"{api}/runs/search", {"experiment_ids": [ours]})["runs"]
        assert run["info"]["run_name"] == "note.txt"
        table = f"{url}/get-artifact?path=files.json&run_uuid={run['info']['run_id']}"
        with urllib.request.urlopen(table, timeout=10) as answer:  # noqa: S310
            assert "note.txt" in answer.read().decode()
        taken = zone.command("mlflow", "--port", str(port))
        assert taken.returncode == 2
        assert "is taken" in taken.stderr
        page.send_signal(signal.SIGINT)
        assert page.wait(15) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_tracking_server_is_only_named(zone: ZoneOfTest) -> None:
    zone.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    done = zone.command("mlflow")
    assert done.returncode == 0
    assert "http://127.0.0.1:9" in done.stdout


def test_doctor_on_a_fresh_machine_finds_no_problem(zone: ZoneOfTest) -> None:
    done = zone.command("doctor", "--json")
    assert done.returncode == 0, done.stdout
    told = {row["checked"]: row["found"] for row in json.loads(done.stdout)["findings"]}
    assert "undone" in told["Postgres schema"]
    assert "embedded" in told["S3"]
    assert zone.command("services", "env").returncode == 1
