"""The machine's clock is set while the daemon runs: forwards, backwards, by years."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone.embedded import ServiceAddresses

_LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
# As far as S3 bears it.
_STEPS = ["-600s", "+600s"]

pytestmark = pytest.mark.skipif(
    not _LIBRARY.exists(), reason="needs libfaketime (Debian: apt-get install faketime)"
)


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    zone = zone_on(tmp_path, services)
    zone.environment |= {
        "LD_PRELOAD": str(_LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        # As when a clock is set: the monotonic one goes on.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    yield zone
    zone.close()


def test_files_go_on_while_the_clock_jumps(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    clock = zone.base / "clock"
    clock.write_text("+0")
    dropped: Counter[str] = Counter()
    daemon = zone.start()
    for number, step in enumerate(_STEPS):
        # One is being written when the clock jumps, one is whole, one comes after.
        growing = zone.input / f"growing{number}.txt"
        begin, end = b"begun before %d\n" % number, b"ended after it\n"
        with growing.open("wb", buffering=0) as file:
            file.write(begin)
            dropped[zone.drop(f"whole{number}.txt", b"whole, %d" % number)] += 1
            clock.write_text(step)
            dropped[zone.drop(f"after{number}.txt", b"after, %d" % number)] += 1
            zone.wait_for_receipts(dropped.total())
            file.write(end)
        dropped[hashlib.sha256(begin + end).hexdigest()] += 1
        zone.wait_for_ends(dropped.total())
    # S3 takes no request that is signed a year ago: files are claimed, and wait.
    clock.write_text("-400d")
    dropped[zone.drop("waits.txt", b"until the clock is right")] += 1
    pause = wait_for(lambda: zone.report()["paused"], "S3 refuses")[0]
    assert "timedatectl" in f"{pause['reason']} {pause['what_to_do']}", pause
    assert not zone.files("input")
    clock.write_text("+0")
    zone.wait_for_ends(dropped.total())
    zone.stop(daemon)
    check_invariants(zone, services, dropped)
    assert all(r["attempts"] == 0 for r in zone.receipts())
