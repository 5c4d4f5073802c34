"""Steps that a person pauses: nothing new begins, nothing is lost, not at a restart."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import samples
from daemons import ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone import pauses
from dropzone.embedded import ServiceAddresses
from dropzone.models import Status
from dropzone.pauses import Held


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def status_of(zone: ZoneOfTest) -> tuple[int, dict[str, Any]]:
    done = zone.command("status", "--json")
    return done.returncode, json.loads(done.stdout)["zones"][0]


def without(held: dict[str, Held], step: str) -> dict[str, Held]:
    return {name: one for name, one in held.items() if name != step}


def count(zone: ZoneOfTest, status: Status) -> int:
    with zone.journal() as journal:
        return journal.counts().states.get(status, 0)


def test_each_step_is_held_in_turn_over_restarts(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    (zone.root / "state").mkdir(exist_ok=True)
    paused = zone.command("pause", "--reason", "the big move", "--json")
    assert [one["step"] for one in json.loads(paused.stdout)["paused"]] == [
        *("claim", "store", "index", "release", "track")
    ]
    dropped: Counter[str] = Counter()
    for number in range(20):
        text = samples.prose(500, number).encode()
        dropped[zone.drop(f"{number}.txt", text)] += 1
    daemon = zone.start()
    code, told = status_of(zone)
    assert code == 1
    assert {(p["service"], p["reason"]) for p in told["paused"]} == {
        ("person", "the big move")
    }
    for step, waiting in (
        ("claim", Status.CLAIMED),
        ("store", Status.STORED),
        ("index", Status.INDEXED),
    ):
        pauses.change(zone.root, lambda held, s=step: without(held, s))
        wait_for(lambda w=waiting: count(zone, w) == 20, f"all are {waiting}")
        if waiting is Status.STORED:
            # What was wanted is wanted by the next daemon too.
            zone.stop(daemon)
            daemon = zone.start()
    assert not zone.receipts()
    assert "release goes on" in zone.command("resume", "--step", "release").stdout
    zone.wait_for_ends(20)
    with zone.journal() as journal:
        wait_for(journal.batches_waiting, "a run waits to be logged")
    assert "Paused: track" in zone.command("status").stdout
    assert '"tracked"' not in zone.log()
    zone.command("resume")
    wait_for(lambda: '"tracked"' in zone.log(), "the run is logged")
    check_invariants(zone, services, dropped)
    zone.stop(daemon)


def test_a_pause_ends_by_itself_and_a_damaged_one_is_told(zone: ZoneOfTest) -> None:
    zone.start()
    done = zone.command("pause", "--step", "claim", "--for", "4s", "--json")
    zone.drop("a.txt", b"waits for four seconds")
    # By now it may be over where the machine is busy.
    (pause,) = json.loads(done.stdout)["paused"]
    assert pause["until"] - pause["since"] == 4
    zone.wait_for_ends(1)
    wait_for(lambda: '"done"' in zone.log(), "its end is logged")
    log = zone.log()
    assert log.index('"paused"') < log.index('"resumed"') < log.index('"done"')
    (zone.root / "state" / "pauses.json").write_text("{")
    wait_for(lambda: "pauses unknown" in zone.log(), "it is told")
    zone.drop("b.txt", b"goes on")
    zone.wait_for_ends(2)
    assert zone.log().count("pauses unknown") == 1
    code, told = status_of(zone)
    assert code == 1
    assert "dropzone resume" in told["pauses_unknown"]
    assert zone.command("pause").returncode == 1
    assert zone.command("resume").returncode == 0
    wait_for(lambda: status_of(zone)[0] == 0, "it is mended")


def test_wrong_use_is_told(zone: ZoneOfTest) -> None:
    for wrong in (("--step", "walk"), ("--for", "soon"), ("--zone", "nowhere")):
        done = zone.command("pause", *wrong)
        assert done.returncode == 2, done.stdout + done.stderr
    shutil.rmtree(zone.root / "state", ignore_errors=True)
    assert "no zone" in zone.command("pause").stderr
    assert "Nothing was paused" in zone.command("resume").stdout


def test_a_single_run_does_not_wait_for_a_person(zone: ZoneOfTest) -> None:
    (zone.root / "state").mkdir(exist_ok=True)
    zone.command("pause", "--step", "store")
    zone.drop("a.txt", b"text")
    assert zone.run_once() == 1
    assert "dropzone resume --step store" in zone.log()
