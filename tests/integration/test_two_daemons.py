"""Two daemons, one zone: one serves it, the other exits or waits."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import PROMPT, ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone.embedded import ServiceAddresses

_TAKEN_OVER_SECONDS = 30.0
_WAITING = '[{"path": "drop_zones", "quiet_seconds": 0.1, "when_held": "wait"}]'


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def started_by(zone: ZoneOfTest) -> list[int]:
    """Return the processes that began to serve the zone, in that order."""
    lines = [line for line in zone.log().splitlines() if line.startswith("{")]
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [event["pid"] for event in events if event["event"] == "started"]


def test_of_two_that_start_together_one_serves(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    dropped = {zone.drop(f"{n}.txt", b"text %d" % n): 1 for n in range(20)}
    both = [zone.launch(), zone.launch()]
    loser = wait_for(
        lambda: [one for one in both if one.poll() is not None], "one of them exits"
    )[0]
    (winner,) = (one for one in both if one is not loser)
    zone.wait_for_ends(20)
    assert loser.returncode == 1
    assert f"Another daemon (process {winner.pid}) serves" in zone.log()
    assert started_by(zone) == [winner.pid]
    assert winner.poll() is None
    zone.stop(winner)
    check_invariants(zone, services, dropped)


def test_one_that_waits_takes_over_when_the_other_is_killed(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    zone.environment["DROPZONE__ZONES"] = _WAITING
    first = zone.start()
    second = zone.launch()
    wait_for(lambda: "waiting for the zone" in zone.log(), "the second waits")
    assert f"Another daemon (process {first.pid}) serves" in zone.log()
    dropped = {zone.drop(f"{n}.txt", b"text %d" % n): 1 for n in range(50)}
    wait_for(zone.receipts, "the first works")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    begun = time.monotonic()
    wait_for(lambda: second.pid in started_by(zone), "the second takes over")
    assert time.monotonic() - begun < _TAKEN_OVER_SECONDS
    zone.wait_for_ends(50)
    assert zone.log().count("waiting for the zone") == 1
    zone.stop(second)
    check_invariants(zone, services, dropped)


def test_one_that_waits_stops_at_once(zone: ZoneOfTest) -> None:
    zone.environment["DROPZONE__ZONES"] = (
        '[{"path": "drop_zones", "when_held": "wait"}]'
    )
    first = zone.start()
    second = zone.launch()
    wait_for(lambda: "waiting for the zone" in zone.log(), "the second waits")
    assert zone.stop(second) < PROMPT
    assert first.poll() is None
    zone.stop(first)
