"""SIGTERM and SIGINT at bad moments: ends in time, leaves and loses nothing."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import samples
from daemons import PROMPT, ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from outages import behind_proxies

STOP_SECONDS = 3.0
# What the interpreter needs to end, and a loaded machine.
GRACE_SECONDS = 22.0


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def descendants(pid: int) -> dict[int, str]:
    """Return all processes below ``pid`` with their command lines."""
    found: dict[int, str] = {}
    parents = [pid]
    while parents:
        tasks = Path(f"/proc/{parents.pop()}/task")
        for listed in tasks.glob("*/children"):
            for child in map(int, listed.read_text().split()):
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                found[child] = command.replace(b"\0", b" ").decode()
                parents.append(child)
    return found


def stop(
    zone: ZoneOfTest,
    daemon: "subprocess.Popen[bytes]",
    number: signal.Signals = signal.SIGTERM,
) -> dict[str, Any]:
    """Stop the daemon, check that it ends as it must, and return its last line."""
    below = descendants(daemon.pid)
    begun = time.monotonic()
    daemon.send_signal(number)
    assert daemon.wait(60) == 0, zone.log()[-3000:]
    assert time.monotonic() - begun < STOP_SECONDS + GRACE_SECONDS
    for pid, command in below.items():
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists(), command)
    last: dict[str, Any] = json.loads(zone.log().splitlines()[-1])
    assert last["event"] == "stopped"
    assert not zone.report()["running"]
    return last


def finish(zone: ZoneOfTest, services: ServiceAddresses, dropped: Counter[str]) -> None:
    """Start again, and see that everything ends well."""
    daemon = zone.start()
    zone.wait_for_ends(dropped.total())
    stop(zone, daemon)
    assert all(r["attempts"] == 0 for r in zone.receipts())
    check_invariants(zone, services, dropped)


def statuses(zone: ZoneOfTest) -> set[str]:
    with zone.journal() as journal:
        return {str(job.status) for job in journal.unfinished()}


def under_way(zone: ZoneOfTest) -> int:
    with zone.journal() as journal:
        return journal.counts().under_way


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_files_in_every_step(
    zone: ZoneOfTest, services: ServiceAddresses, number: signal.Signals
) -> None:
    dropped: Counter[str] = Counter()
    for name in range(300):
        dropped[zone.drop(f"f{name}.txt", samples.prose(3000, name).encode())] += 1
    daemon = zone.start()
    wait_for(lambda: len(zone.receipts()) >= 10, "some files ended")
    last = stop(zone, daemon, number)
    left = 300 - len(zone.receipts())
    in_input = len(zone.files("input"))
    # The line says where every file that has not ended is.
    assert last["given_back"] == left - in_input
    assert sum(last.get("under_way", {}).values()) == last["given_back"]
    finish(zone, services, dropped)


def test_while_a_large_file_is_sent(tmp_path: Path, services: ServiceAddresses) -> None:
    patient = {"DROPZONE__AWS__READ_TIMEOUT_SECONDS": "60"}
    with behind_proxies(tmp_path, services, patient) as outage:
        outage.s3.slow(rate=8e6)
        large = outage.zone.base / "aside"
        with large.open("wb") as file:
            file.truncate(80_000_000)
        with large.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        large.rename(outage.zone.input / "large.bin")
        daemon = outage.zone.start()
        wait_for(lambda: outage.s3.connections >= 2, "parts are being sent")
        wait_for(lambda: "claimed" in statuses(outage.zone), "it is claimed")
        last = stop(outage.zone, daemon)
        assert last["under_way"] == {"claimed": 1}
        outage.s3.heal()
        finish(outage.direct(), services, Counter([digest]))


def test_while_a_parser_works(zone: ZoneOfTest, services: ServiceAddresses) -> None:
    dropped = Counter([zone.drop("slow.html", samples.slow_html())])
    dropped[zone.drop("good.txt", b"ends at once")] += 1
    daemon = zone.start()
    wait_for(lambda: len(zone.receipts()) == 1, "the good file ended")
    wait_for(lambda: busy_parsers(daemon.pid), "a parser works")
    last = stop(zone, daemon)
    assert last["under_way"] == {"stored": 1}
    # Not the file's fault, however often it happens.
    with zone.journal() as journal:
        assert [job.attempts for job in journal.unfinished()] == [0]
    zone.environment["DROPZONE__EXTRACT__TIMEOUT_SECONDS"] = "0.5"
    daemon = zone.start()
    zone.wait_for_ends(2)
    stop(zone, daemon)
    check_invariants(zone, services, dropped)


def busy_parsers(pid: int) -> list[int]:
    return [
        child
        for child, command in descendants(pid).items()
        if "executor.worker" in command
        and Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    ]


@pytest.mark.parametrize("service", ["s3", "postgres"])
def test_while_a_service_hangs(
    tmp_path: Path, services: ServiceAddresses, service: str
) -> None:
    # Longer than the stop may take, so only the stop ends the call.
    patient = {
        "DROPZONE__AWS__READ_TIMEOUT_SECONDS": "60",
        "DROPZONE__POSTGRES__STATEMENT_TIMEOUT_SECONDS": "60",
    }
    with behind_proxies(tmp_path, services, patient) as outage:
        daemon = outage.zone.start()
        outage.drop(1)
        outage.zone.wait_for_ends(1)
        proxy = getattr(outage, service)
        proxy.freeze()
        outage.drop(20)
        wait_for(lambda: under_way(outage.zone) == 20, "all were claimed")
        last = stop(outage.zone, daemon)
        assert sum(last["under_way"].values()) == 20
        proxy.heal()
        finish(outage.direct(), services, outage.dropped)


def test_while_mlflow_is_imported(zone: ZoneOfTest, services: ServiceAddresses) -> None:
    dropped = Counter([zone.drop("a.txt", b"a run of one file")])
    daemon = zone.start()
    wait_for(
        lambda: any("track_child" in c for c in descendants(daemon.pid).values()),
        "the tracking process starts",
    )
    last = stop(zone, daemon)
    assert last["runs_given_back"] == 1
    finish(zone, services, dropped)
    assert zone.run_once() == 0
    with zone.journal() as journal:
        assert not journal.batches_waiting()


def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, services: ServiceAddresses
) -> None:
    patient = {
        "DROPZONE__LIMITS__STOP_SECONDS": "60",
        "DROPZONE__POSTGRES__STATEMENT_TIMEOUT_SECONDS": "60",
    }
    with behind_proxies(tmp_path, services, patient) as outage:
        daemon = outage.zone.start()
        outage.drop(1)
        outage.zone.wait_for_ends(1)
        outage.postgres.freeze()
        outage.drop(20)
        wait_for(lambda: under_way(outage.zone) == 20, "all were claimed")
        below = descendants(daemon.pid)
        daemon.send_signal(signal.SIGTERM)
        wait_for(lambda: '"stopping"' in outage.zone.log(), "it says that it stops")
        begun = time.monotonic()
        os.kill(daemon.pid, signal.SIGINT)
        assert daemon.wait(60) == 128 + signal.SIGINT
        assert time.monotonic() - begun < PROMPT
        for pid, command in below.items():
            wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists(), command)
        outage.postgres.heal()
        finish(outage.direct(), services, outage.dropped)
