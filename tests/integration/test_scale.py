"""Huge files and odd clocks: flat memory, and small files that need not wait."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import ZoneOfTest, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from outages import behind_proxies

DAY = 86_400.0


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def drop_sparse(zone: ZoneOfTest, name: str, size: int) -> None:
    with zone.aside.open("wb") as file:
        file.write(name.encode())
        file.truncate(size)
    zone.aside.rename(zone.input / name)


def peak(pid: int) -> int:
    """Return the highest resident memory of a process so far in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1000


def test_a_huge_file_needs_no_memory(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    zone.drop("small.txt", b"warms everything up")
    zone.wait_for_ends(1)
    before = peak(daemon.pid)
    begun = time.monotonic()
    drop_sparse(zone, "huge.bin", 800_000_000)
    zone.wait_for_ends(2, 90)
    took, after = time.monotonic() - begun, peak(daemon.pid)
    print(f"800 MB in {took:.1f} s; peak {before} MB before, {after} MB after")
    assert after - before < 150
    zone.stop(daemon)


def test_small_files_need_not_wait_for_large_ones(
    tmp_path: Path, services: ServiceAddresses
) -> None:
    patient = {"DROPZONE__AWS__READ_TIMEOUT_SECONDS": "60"}
    with behind_proxies(tmp_path, services, patient) as outage:
        zone = outage.zone
        # More of them than there are upload threads, on a line that is slow.
        for number in range(8):
            drop_sparse(zone, f"large{number}.bin", 40_000_000)
        outage.s3.slow(rate=3e6)
        daemon = zone.start()
        wait_for(lambda: len(list(zone.work.iterdir())) == 8, "the large are taken")
        outage.drop(40)
        wait_for(lambda: len(zone.receipts()) == 40, "the small ones end")
        assert {r["size"] for r in zone.receipts()} != {40_000_000}
        assert max(r["size"] for r in zone.receipts()) < 40_000_000
        outage.s3.heal()
        zone.wait_for_ends(48)
        zone.stop(daemon)


def test_times_of_files_mean_nothing(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    now = time.time()
    for name, moment in {
        "old.txt": 0.0,
        "1980.txt": 315_532_800.0,
        "tomorrow.txt": now + DAY,
        "far.txt": now + 500 * 365 * DAY,
        "before.txt": -1e9,
    }.items():
        zone.aside.write_bytes(b"a file of another time: " + name.encode())
        os.utime(zone.aside, (moment, moment))
        zone.aside.rename(zone.input / name)
        copied = zone.input / f"copied-{name}"
        copied.write_bytes(b"written in place: " + name.encode())
        os.utime(copied, (moment, moment))
    zone.wait_for_ends(10)
    assert set(zone.outcomes().values()) == {"indexed"}
    zone.stop(daemon)
