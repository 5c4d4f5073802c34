"""The zone's disk is full, out of inodes, or gone; the daemon waits and goes on.

The disks are mounted in a private namespace and seen through its /proc entry.
"""

import contextlib
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import PROMPT, check_invariants, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from zones_helpers import needs_mounts

pytestmark = needs_mounts
_MEGABYTE = 1_000_000
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Disk:
    """A mount namespace of its own, with a zone on a disk that a test made."""

    def __init__(self, base: Path, services: ServiceAddresses) -> None:
        command = ["unshare", "-m", "--propagation", "private", "sleep", "600"]
        self._holder = subprocess.Popen(["/usr/bin/env", *command])
        self._inside = ("/usr/bin/env", "nsenter", "-t", str(self._holder.pid), "-m")
        wait_for(self._unshared, "the namespace is made")
        self.services = services
        self.place = base / "drop_zones"
        self.zone = zone_on(base, services)
        # The zone lies on the disk only, and nothing of it below the mount.
        shutil.rmtree(self.place / "state")
        self.seen = Path(f"/proc/{self._holder.pid}/root{self.place}")
        self.zone.root = self.seen
        self.zone.input = self.seen / "input"
        self.zone.work = self.seen / "state" / "work"
        self.zone.aside = self.seen / "aside"
        self.zone.before = self._inside
        self.dropped: Counter[str] = Counter()
        self._written: list[tuple[Path, str]] = []
        self.zone.environment |= {
            "DROPZONE__ZONES": f'[{{"path": "{self.place}", "quiet_seconds": 0.1,'
            ' "poll_seconds": 0.5, "scan_seconds": 1}]',
            "DROPZONE__LIMITS__FREE_MEGABYTES": "0",
        }

    def _unshared(self) -> bool:
        own = os.readlink("/proc/self/ns/mnt")
        return os.readlink(f"/proc/{self._holder.pid}/ns/mnt") != own

    def run(self, *command: str) -> None:
        subprocess.run([*self._inside, *command], check=True)

    def mount(self, options: str) -> None:
        self.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place))
        self.zone.input.mkdir()

    def fill(self, *, leave: int) -> Path:
        """Leave so many bytes free on the disk, whatever the daemon writes to it."""
        ballast = self.seen / "ballast"
        status = os.statvfs(self.seen)
        size = status.f_bavail * status.f_frsize - leave
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while size > 0:
                size -= file.write(bytes(min(size, 4096)))
        return ballast

    def drop(self, count: int = 3) -> None:
        for _ in range(count):
            number = self.dropped.total()
            text = b"The disk of %d is round.\n" % number * 20
            self.dropped[self.zone.drop(f"f{number}.txt", text)] += 1

    def wait_for_pause(self, words: str) -> dict[str, Any]:
        def told() -> list[dict[str, Any]]:
            paused = self.zone.report().get("paused", ())
            return [pause for pause in paused if words in pause["reason"]]

        pause: dict[str, Any] = wait_for(told, words)[0]
        shown = self.zone.command("status")
        assert shown.returncode == 1
        assert words in " ".join(shown.stdout.split()), shown.stdout
        return pause

    def recovered(self) -> None:
        self.zone.wait_for_ends(self.dropped.total())
        work = self.seen / "state" / "work"
        wait_for(lambda: not list(work.iterdir()), "job folders are removed")
        wait_for(lambda: not self.zone.report()["paused"], "nothing is paused")
        check_invariants(self.zone, self.services, self.dropped)
        assert all(r["attempts"] == 0 for r in self.zone.receipts())

    def close(self) -> None:
        self.zone.close()
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def disk(tmp_path: Path, services: ServiceAddresses) -> Iterator[Disk]:
    made = Disk(tmp_path, services)
    yield made
    made.close()


def test_claiming_pauses_while_little_is_free(disk: Disk) -> None:
    disk.zone.environment["DROPZONE__LIMITS__FREE_MEGABYTES"] = "4"
    disk.mount("size=32m")
    daemon = disk.zone.start()
    disk.drop()
    disk.zone.wait_for_ends(3)
    ballast = disk.fill(leave=3 * _MEGABYTE)
    disk.drop()
    pause = disk.wait_for_pause("limits.free_megabytes")
    assert (pause["step"], pause["service"]) == ("claim", "disk")
    assert len(disk.zone.files("input")) == 3, "they stay where they are"
    ballast.unlink()
    disk.recovered()
    assert disk.zone.log().count('"event": "paused"') == 1
    disk.zone.stop(daemon)


def test_a_disk_that_is_full_to_the_last_byte(disk: Disk) -> None:
    disk.mount("size=32m")
    daemon = disk.zone.start()
    disk.drop(40)
    wait_for(disk.zone.receipts, "the first file ends")
    # Hidden until the disk is full, since a full disk takes no new file.
    disk.drop(5)
    ballast = disk.fill(leave=0)
    for number in range(50):
        names = disk.zone.input, f".late{number}", f"late{number}.txt"
        hidden, name = names[0] / names[1], names[0] / names[2]
        hidden.touch()
        hidden.rename(name)
        disk.dropped[_EMPTY] += 1
    disk.wait_for_pause("disk")
    ballast.unlink()
    disk.recovered()
    assert disk.zone.stop(daemon) < PROMPT


def test_a_start_on_a_full_disk_waits_for_room(disk: Disk) -> None:
    disk.mount("size=32m")
    disk.drop(3)
    ballast = disk.fill(leave=0)
    daemon = disk.zone.launch()
    wait_for(lambda: "waiting for the zone" in disk.zone.log(), "it says so")
    assert "No space left on device" in disk.zone.log()
    ballast.unlink()
    disk.zone.wait_for_ends(3)
    assert disk.zone.log().count("waiting for the zone") == 1
    disk.zone.stop(daemon)


def test_a_disk_that_has_no_inodes_left(disk: Disk) -> None:
    disk.mount("size=64m,nr_inodes=600")
    daemon = disk.zone.start()
    disk.drop()
    disk.zone.wait_for_ends(3)
    ballast = disk.seen / "ballast"
    ballast.mkdir()
    while os.statvfs(disk.seen).f_favail > 150:
        (ballast / f"{os.statvfs(disk.seen).f_favail}").touch()
    disk.drop()
    pause = disk.wait_for_pause("more files fit")
    assert pause["step"] == "claim"
    for path in ballast.iterdir():
        path.unlink()
    disk.recovered()
    disk.zone.stop(daemon)


def test_a_mount_that_is_lost_and_comes_back(disk: Disk) -> None:
    store = disk.place.parent / "disk"
    store.mkdir()
    disk.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(store))
    disk.run("mkdir", str(store / "zone"))
    disk.run("mount", "--bind", str(store / "zone"), str(disk.place))
    disk.zone.input.mkdir()
    daemon = disk.zone.start()
    disk.drop()
    disk.zone.wait_for_ends(3)
    disk.run("umount", "-l", str(disk.place))
    wait_for(lambda: "state is gone" in disk.zone.log(), "it is told")
    below = sorted(path.name for path in disk.seen.iterdir())
    assert below == ["input"], "nothing is made below the mount point"
    disk.run("mount", "--bind", str(store / "zone"), str(disk.place))
    disk.drop()
    disk.recovered()
    told = disk.zone.log().count('"event": "paused"')
    assert told <= 2, "told once for each step"
    assert disk.zone.stop(daemon) < PROMPT
