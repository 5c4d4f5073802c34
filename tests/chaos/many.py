"""Takes very many files from one folder, and one huge file; prints time and memory.

Usage: many.py [--files 1000000] [--huge-gb 5]. Run from the root of the checkout.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from daemons import ZoneOfTest, wait_for

PATIENCE = 3600.0
NOBODY_THERE = {
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "DATABASE_URL": "postgresql://postgres@127.0.0.1:9/postgres",
    "DROPZONE_BUCKET": "none",
}


def memory(pid: int) -> dict[str, int]:
    """Return the resident memory now and at its highest, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    wanted = [line.split() for line in lines if line.startswith(("VmRSS", "VmHWM"))]
    return {name.rstrip(":"): int(value) // 1000 for name, value, _ in wanted}


def take_many(zone: ZoneOfTest, count: int) -> None:
    folder = zone.input / "many"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:07}.txt").write_bytes(b"small %d" % number)
    # Nothing can be stored, so that only the taking is measured.
    zone.environment |= NOBODY_THERE
    daemon = zone.start()
    begun = time.monotonic()
    wait_for(lambda: len(os.listdir(folder)) < 0.99 * count, "it begins", PATIENCE)
    print(f"after {time.monotonic() - begun:.1f} s", memory(daemon.pid), flush=True)
    wait_for(lambda: not any(os.scandir(folder)), "all are taken", PATIENCE)
    took = time.monotonic() - begun
    print(f"{count} files taken in {took:.1f} s", memory(daemon.pid))
    print(f"stopped in {zone.stop(daemon):.1f} s")


def store_huge(zone: ZoneOfTest, gigabytes: float) -> None:
    daemon = zone.start()
    zone.drop("small.txt", b"warms everything up")
    zone.wait_for_ends(1)
    print("before", memory(daemon.pid), flush=True)
    with zone.aside.open("wb") as file:
        file.truncate(int(gigabytes * 1e9))
    begun = time.monotonic()
    zone.aside.rename(zone.input / "huge.bin")
    wait_for(lambda: len(zone.receipts()) == 2, "it ends", PATIENCE)
    took = time.monotonic() - begun
    print(f"{gigabytes:g} GB in {took:.1f} s", memory(daemon.pid))
    zone.stop(daemon)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--huge-gb", type=float, default=5)
    options = parser.parse_args()
    acts = {"many": (take_many, options.files), "huge": (store_huge, options.huge_gb)}
    for name, (act, amount) in acts.items():
        if amount:
            with tempfile.TemporaryDirectory(prefix=f"dropzone-{name}-") as folder:
                zone = ZoneOfTest(Path(folder), {})
                try:
                    act(zone, amount)
                finally:
                    zone.close()


if __name__ == "__main__":
    main()
