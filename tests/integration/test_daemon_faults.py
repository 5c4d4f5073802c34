"""The daemon while its surroundings fail: killed, cut off, started too early."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import PROMPT, ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone.embedded import EmbeddedServices, ServiceAddresses


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def test_killed_again_and_again_it_loses_and_doubles_nothing(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    dropped: Counter[str] = Counter()
    for number in range(120):
        name = f"c{number % 4}/f{number:03}.txt"
        dropped[zone.drop(name, b"line of text number %d\n" % number * 40)] += 1
    for rounds in range(6):
        daemon = zone.start()
        ended = len(zone.receipts())
        wait_for(
            lambda ended=ended: (
                len(zone.receipts()) > ended or len(zone.receipts()) == 120
            ),
            "some more files end",
        )
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
        dropped[zone.drop(f"late{rounds}.txt", b"dropped while down %d" % rounds)] += 1
    daemon = zone.start()
    zone.wait_for_ends(126)
    zone.stop(daemon)
    check_invariants(zone, services, dropped)
    assert len({r["job"] for r in zone.receipts()}) == 126


def test_services_that_come_late_are_waited_for(tmp_path: Path) -> None:
    servers = EmbeddedServices(tmp_path / "servers", fast_init=True)
    addresses = servers.start()
    zone = zone_on(tmp_path, addresses)
    servers.stop()
    try:
        zone.drop("early.txt", b"before the servers")
        daemon = zone.start()
        pause = wait_for(lambda: zone.report().get("paused"), "a step is paused")[0]
        assert pause["service"] in {"s3", "postgres"}
        wait_for(lambda: not zone.files("input"), "it is taken all the same")
        shown = zone.command("status")
        assert pause["service"] in shown.stdout.lower()
        with zone.journal() as journal:
            assert [job.attempts for job in journal.newest(5)] == [0]

        servers.start()
        zone.wait_for_ends(1)
        assert zone.outcomes() == {"early.txt": "indexed"}
        zone.stop(daemon)
    finally:
        zone.close()
        servers.stop()


def test_postgres_and_s3_come_back_after_a_stop_in_the_middle(tmp_path: Path) -> None:
    servers = EmbeddedServices(tmp_path / "servers", fast_init=True)
    addresses = servers.start()
    zone = zone_on(tmp_path, addresses)
    try:
        dropped: Counter[str] = Counter()
        daemon = zone.start()
        for number in range(150):
            dropped[zone.drop(f"f{number}.txt", b"word%d " % number * 300)] += 1
        wait_for(zone.receipts, "the first file ends")
        servers.stop()
        wait_for(lambda: zone.report().get("paused"), "a step is paused")
        for number in range(10):
            dropped[zone.drop(f"g{number}.txt", b"more%d " % number * 300)] += 1
        wait_for(lambda: not zone.files("input"), "files are accepted all the same")
        servers.start()
        zone.wait_for_ends(160)
        wait_for(lambda: not zone.report()["paused"], "nothing is paused any more")
        zone.stop(daemon)
        check_invariants(zone, addresses, dropped)
    finally:
        zone.close()
        servers.stop()


def test_the_embedded_servers_are_restarted(tmp_path: Path) -> None:
    zone = ZoneOfTest(tmp_path, {})
    try:
        daemon = zone.start()
        zone.drop("one.txt", b"first")
        zone.wait_for_ends(1)
        for name in ("postgres", "rclone"):
            for pid in children_named(daemon.pid, name):
                os.kill(pid, signal.SIGKILL)
        zone.drop("two.txt", b"second")
        zone.wait_for_ends(2)
        assert zone.stop(daemon) < PROMPT
        wait_for(lambda: not children_named(daemon.pid, "postgres"), "servers end")
    finally:
        zone.close()


def test_mlflow_that_is_down_delays_runs_only(zone: ZoneOfTest) -> None:
    zone.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    zone.environment["DROPZONE__MLFLOW__TIMEOUT_SECONDS"] = "1"
    daemon = zone.start()
    zone.drop("a.txt", b"not held up")
    zone.wait_for_ends(1)
    pause = wait_for(
        lambda: [p for p in zone.report().get("paused", ()) if p["step"] == "track"],
        "the track step is paused",
    )
    assert pause[0]["service"] == "mlflow"
    assert zone.stop(daemon) < PROMPT

    del zone.environment["MLFLOW_TRACKING_URI"]
    assert zone.run_once() == 0
    with zone.journal() as journal:
        assert journal.batches_waiting() == 0
        assert len({job.batch_id for job in journal.newest(5)}) == 1


def children_named(parent: int, name: str) -> list[int]:
    """Return the processes of that name whose parent is ``parent``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            command, _, rest = stat.partition("(")[2].rpartition(")")
            if command == name and int(rest.split()[1]) == parent:
                found.append(int(entry.name))
    return found
