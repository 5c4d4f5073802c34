"""The page of a running daemon: alive, ready, and never in the way of a file."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import ZoneOfTest, free_port, wait_for, zone_on
from dropzone import config
from dropzone.commands import doctor_web
from dropzone.embedded import ServiceAddresses
from webclient import get


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    zone = zone_on(tmp_path, services)
    yield zone
    zone.close()


def doctor(zone: ZoneOfTest) -> tuple[str, str, str]:
    """Return what doctor says of the page of this zone."""
    os.chdir(zone.base)
    settings = config.load(None, zone.environment).settings
    (found,) = doctor_web.page(settings)
    return str(found.verdict), found.found, found.what_to_do


def test_a_taken_port_stops_no_file_and_is_taken_when_it_is_free(zone, monkeypatch):
    monkeypatch.chdir(zone.base)
    # One that nobody gets by chance when it is free.
    with socket.create_server(("127.0.0.1", free_port())) as other:
        port = other.getsockname()[1]
        zone.environment["DROPZONE__WEB__PORT"] = str(port)
        verdict, found, _ = doctor(zone)
        assert (verdict, str(port) in found) == ("warning", True)
        process = zone.start()
        zone.drop("a.txt", b"a word")
        zone.wait_for_ends(1)
        assert zone.outcomes() == {"a.txt": "indexed"}
        wait_for(lambda: zone.report().get("web", {}).get("problem"), "it is told")
        shown = zone.command("status")
        assert shown.returncode == 0
        assert f"port {port}" in shown.stdout
        verdict, found, what = doctor(zone)
        assert (verdict, "web.port" in what) == ("warning", True)
    assert zone.url() == f"http://127.0.0.1:{port}"
    assert get(f"{zone.url()}/readyz").status == 200
    assert doctor(zone) == ("ok", f"served at {zone.url()}", "")
    assert zone.log().count("the page is not served") == 1
    zone.stop(process)
    assert doctor(zone)[0] == "ok"


def test_ready_says_which_step_is_paused_and_why(zone):
    # Nothing listens there: storing pauses, claiming goes on.
    zone.environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    zone.environment["DROPZONE__RETRY__CALL_SECONDS"] = "0.1"
    process = zone.start()
    zone.drop("a.txt", b"a word")
    url = zone.url()
    wait_for(lambda: get(f"{url}/readyz").status == 503, "it is not ready")
    (reason,) = get(f"{url}/readyz").json["reasons"]
    assert (reason["zone"], reason["step"], reason["service"]) == (
        *("default", "store"),
        "s3",
    )
    assert reason["reason"]
    assert reason["what_to_do"]
    assert reason["since"] > 0
    # Alive is another question: nobody may kill it for a service that is away.
    assert get(f"{url}/healthz").json == {"alive": True}
    assert zone.command("pause", "--step", "claim").returncode == 0
    wait_for(lambda: len(get(f"{url}/readyz").json["reasons"]) == 2, "a person's too")
    told = {one["step"]: one for one in get(f"{url}/readyz").json["reasons"]}
    assert told["claim"]["service"] == "person"
    assert "dropzone resume" in told["claim"]["what_to_do"]
    zone.stop(process)


def test_a_run_that_ends_by_itself_serves_nothing(zone):
    assert zone.run_once() == 0
    assert zone.report()["web"]["url"] is None
    assert "the page" not in zone.log()
