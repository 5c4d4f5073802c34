"""The watcher loses its events, its limits or its folder: scanning takes over."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import PROMPT, ZoneOfTest, wait_for, zone_on
from dropzone import fsops
from dropzone.embedded import ServiceAddresses

_POLL = 0.5
_LIMITED = """
for name in watches instances; do
    eval "echo \\$$name > /proc/sys/user/max_inotify_$name"
done
exec "$@"
"""


def _may_unshare() -> bool:
    command = ["/usr/bin/env", "unshare", "-U", "-r", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not _may_unshare(), reason="needs user namespaces"
)


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    made.environment["DROPZONE__ZONES"] = (
        '[{"path": "drop_zones", "quiet_seconds": 0.1, "scan_seconds": 60,'
        f' "poll_seconds": {_POLL}}}]'
    )
    yield made
    made.close()


def watcher(zone: ZoneOfTest) -> dict[str, Any]:
    told: dict[str, Any] = zone.report().get("watcher", {})
    return told


def wait_for_mode(zone: ZoneOfTest, mode: str) -> None:
    wait_for(lambda: watcher(zone).get("mode") == mode, f"mode {mode}")


def raise_limits(pid: int) -> None:
    """Raise the limits of the user namespace that the process lives in."""
    lines = "; ".join(
        f"echo 1000 > /proc/sys/user/max_inotify_{name}"
        for name in ("watches", "instances")
    )
    command = ["nsenter", "-t", str(pid), "-U", "--preserve-credentials"]
    subprocess.run(["/usr/bin/env", *command, "sh", "-c", lines], check=True)


@needs_namespaces
@pytest.mark.parametrize(
    ("limits", "reason", "hint"),
    [
        ("watches=3 instances=9", "limit of 3 inotify watches", "max_user_watches="),
        ("watches=9 instances=0", "limit of 0 inotify inst", "max_user_instances="),
    ],
)
def test_a_limit_of_the_kernel_is_told_and_scanned_around(
    zone: ZoneOfTest, limits: str, reason: str, hint: str
) -> None:
    for number in range(6):
        (zone.input / f"c{number}").mkdir()
    zone.before = ("/usr/bin/env", "unshare", "-U", "-r", "/usr/bin/env")
    zone.before += (*limits.split(), "sh", "-c", _LIMITED, "sh")
    daemon = zone.start()
    wait_for(lambda: reason in watcher(zone).get("without_events_because", ""), reason)
    assert watcher(zone)["mode"] == "polling"
    assert hint in watcher(zone)["what_to_do"]
    shown = " ".join(zone.command("status").stdout.split())
    assert reason in shown
    assert "sysctl fs.inotify." in shown
    for number in range(6):
        zone.drop(f"c{number}/f.txt", b"in every folder %d" % number)
    zone.wait_for_ends(6, seconds=50)

    raise_limits(daemon.pid)
    wait_for_mode(zone, "events")
    told = [line for line in zone.log().splitlines() if "no file events" in line]
    assert len(told) == 1, "told once, however often it was tried"
    wait_for(lambda: "file events are back" in zone.log(), "that is told, too")
    zone.stop(daemon)


def test_a_queue_that_overflows_loses_no_file(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    wait_for_mode(zone, "events")
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        most = int(file.read())
    os.kill(daemon.pid, signal.SIGSTOP)
    noise = zone.input / "noise.tmp"
    # Two events each, and the reader may take some before the signal stops it.
    for _ in range(most):
        os.close(os.open(noise, os.O_CREAT | os.O_WRONLY))
        noise.unlink()
    for number in range(20):
        zone.drop(f"n{number}/f.txt", b"not to be missed %d" % number)
    os.kill(daemon.pid, signal.SIGCONT)
    zone.wait_for_ends(20, seconds=50)
    assert wait_for(lambda: watcher(zone).get("event_losses"), "it is counted") >= 1
    wait_for(lambda: '"events were lost; scanning"' in zone.log(), "it is told")
    assert "max_queued_events=" in zone.log()
    wait_for_mode(zone, "events")
    zone.stop(daemon)


def test_input_that_is_removed_and_made_again(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    shutil.rmtree(zone.input)
    pause = wait_for(lambda: zone.report().get("paused"), "it is paused")[0]
    assert pause["step"] == "claim"
    assert "input is gone" in pause["reason"]
    assert "input is gone" in " ".join(zone.command("status").stdout.split())
    assert not zone.input.exists(), "nothing is made in its place"
    zone.input.mkdir()
    zone.drop("after.txt", b"found again")
    zone.wait_for_ends(1, seconds=50)
    wait_for(lambda: not zone.report().get("paused", True), "nothing is paused")
    wait_for_mode(zone, "events")
    zone.stop(daemon)


def test_input_that_is_replaced_by_another_folder(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    old = zone.root / "input.old"
    zone.input.rename(old)
    zone.input.mkdir()
    aside = zone.base / "aside"
    aside.write_text("for the old folder")
    aside.rename(old / "late.txt")
    zone.drop("new.txt", b"for the new folder")
    zone.wait_for_ends(1, seconds=50)
    assert zone.outcomes() == {"new.txt": "indexed"}
    assert [path.name for path in old.iterdir()] == ["late.txt"]
    wait_for(lambda: "input was replaced" in zone.log(), "it is told")
    zone.drop("event.txt", b"seen by an event, far from the next scan")
    zone.wait_for_ends(2, seconds=50)
    zone.stop(daemon)


def test_a_zone_that_is_renamed_and_renamed_back(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    away = zone.base / "elsewhere"
    zone.root.rename(away)
    told = '"event": "paused"'
    wait_for(lambda: told in zone.log() and "state is gone" in zone.log(), "it pauses")
    assert not zone.root.exists(), "nothing is made where the zone was"
    (away / "input" / "late.txt").write_text("in the folder that was renamed")
    away.rename(zone.root)
    zone.wait_for_ends(1, seconds=50)
    wait_for(lambda: not zone.report().get("paused", True), "nothing is paused")
    assert zone.log().count(told) <= 2, "told once for each step"
    assert zone.stop(daemon) < PROMPT


def test_a_local_disk_is_no_share(tmp_path: Path) -> None:
    with fsops.opened(os.open(tmp_path, fsops.DIRECTORY)) as fd:
        assert fsops.remote_file_system(fd) == ""
