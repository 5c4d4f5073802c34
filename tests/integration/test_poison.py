"""Files that hang, bloat or kill what reads them, beside files that must not suffer."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import samples
from daemons import PROMPT, ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone.embedded import ServiceAddresses

HOOKS = Path(__file__).parents[1] / "poison"


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    made.environment["PYTHONPATH"] = str(HOOKS)
    yield made
    made.close()


def reason_of(zone: ZoneOfTest, path: str) -> str:
    return next(r["reason"] for r in zone.receipts() if r["path"] == path) or ""


def test_poison_in_parsers_costs_nobody_else(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    zone.environment |= {
        "DROPZONE__EXTRACT__TIMEOUT_SECONDS": "4",
        "DROPZONE__EXTRACT__MEMORY_MB": "600",
        "DROPZONE__EXECUTOR__PROCESSES": "2",
    }
    poison = {
        "hang.txt": b"POISON hang",
        "segv.txt": b"POISON segv",
        "slow.html": samples.slow_html(),
        "bomb.pdf": samples.pdf_bomb(600),
        "bomb.docx": samples.word_bomb(120),
        "laughs.docx": samples.laughing_word(),
        "locked.pdf": samples.encrypted_pdf(),
        "locked.docx": samples.encrypted_word(),
        "half.pdf": samples.truncated_pdf(),
        "half.docx": samples.word([("", "cut")])[:900],
        "deep.html": b"<div>" * 200_000,
        "deep.json": b"[" * 500_000,
        "deep.docx": samples.with_body(
            samples.word([]), lambda _: samples.nested_body(20_000)
        ),
    }
    dropped = Counter(zone.drop(name, data) for name, data in poison.items())
    for number in range(100):
        name = f"good/{number:03}.txt"
        dropped[zone.drop(name, b"a good file, number %d" % number)] += 1
    daemon = zone.start()
    wait_for(lambda: len(zone.files("processed/good")) == 100, "good files end")
    zone.wait_for_ends(len(poison) + 100)
    outcomes = zone.outcomes()
    assert {outcomes[f"good/{number:03}.txt"] for number in range(100)} == {"indexed"}
    # What can be read in part is, and what a limit stops is failed with the limit.
    assert outcomes["half.pdf"] == "indexed"
    for path, words in {
        "hang.txt": "stopped after 4 seconds",
        "slow.html": "stopped after 4 seconds",
        "segv.txt": "SIGSEGV",
        "bomb.pdf": "600 MB",
        "locked.pdf": "password",
        "locked.docx": "password",
    }.items():
        assert outcomes[path] == "failed", path
        assert words in reason_of(zone, path)
    deaths = [r for r in zone.receipts() if r["error"] == "ParserDied"]
    assert {"hang.txt", "segv.txt", "slow.html"} <= {r["path"] for r in deaths}
    assert {receipt["attempts"] for receipt in deaths} == {3}
    for receipt in deaths:
        first, second, last = receipt["tries"]
        assert first["error"] == second["error"] == last["error"] == "ParserDied"
        assert first["at"] < first["until"] <= second["at"] < second["until"]
        assert (last["next"], last["until"]) == ("fails", None)
    assert zone.stop(daemon) < PROMPT
    check_invariants(zone, services, dropped)


def run_until_dead_or_done(zone: ZoneOfTest, files: int) -> bool:
    """Run the daemon; return whether it died before all files had ended."""
    daemon = zone.start()
    wait_for(
        lambda: daemon.poll() is not None or len(zone.receipts()) == files,
        "the daemon dies, or all files end",
    )
    if daemon.poll() is not None:
        assert daemon.returncode == -signal.SIGKILL
        return True
    zone.wait_for_ends(files)
    zone.stop(daemon)
    return False


def test_a_file_that_kills_the_daemon_fails_after_three_deaths(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    dropped = Counter([zone.drop("killer.txt", b"POISON daemon")])
    for number in range(60):
        dropped[zone.drop(f"good{number}.txt", b"innocent %d" % number)] += 1
    deaths = 0
    while run_until_dead_or_done(zone, 61):
        deaths += 1
        assert deaths <= 4
    # Once in company, for which nobody is blamed, and three times alone.
    assert deaths in {3, 4}
    outcomes = zone.outcomes()
    assert outcomes.pop("killer.txt") == "failed"
    assert set(outcomes.values()) == {"indexed"}
    assert "killed while it read this file" in reason_of(zone, "killer.txt")
    assert {r["attempts"] for r in zone.receipts() if r["outcome"] == "indexed"} == {0}
    check_invariants(zone, services, dropped)


def test_a_storm_of_kills_fails_no_innocent(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    pick = random.Random(seed)
    dropped: Counter[str] = Counter()
    for number in range(120):
        text = samples.prose(pick.randrange(100, 60_000), number)
        dropped[zone.drop(f"f{number}.txt", text.encode())] += 1
    for _ in range(8):
        daemon = zone.start()
        threading.Event().wait(pick.uniform(0.1, 1.2))
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
    daemon = zone.start()
    zone.wait_for_ends(120)
    zone.stop(daemon)
    assert set(zone.outcomes().values()) == {"indexed"}
    check_invariants(zone, services, dropped)
