"""Large files and odd clocks: small files need not wait, and times mean nothing."""

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
