"""A backup made while files are dropped comes to life at another place, whole."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from daemons import DEADLINE, ZoneOfTest, wait_for
from dropzone import given
from dropzone.backup.vault import Vault
from dropzone.daemon import UNFIT
from dropzone.journal import schema
from zones_helpers import needs_mounts

# One worker makes what the tests look at, once.

# As any program may write it.
GIVEN = b'{ "author": "Ada"}'
_CONFIG = """
zones: [{path: drop_zones, quiet_seconds: 0.2}]
postgres:
  password: "hidden-canary-1"
mlflow: {token: hidden-canary-2}
"""


class Dropping:
    """Drops files one after the other until it is told to stop."""

    def __init__(self, zone: ZoneOfTest) -> None:
        self._zone = zone
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.dropped = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            number = self.dropped
            self._zone.drop(f"stream/{number}.txt", b"Stream number %d." % number)
            self.dropped += 1


def embedded(base: Path) -> ZoneOfTest:
    """Return a zone on embedded servers of its own."""
    base.mkdir(parents=True, exist_ok=True)
    return ZoneOfTest(base, {"DROPZONE__EXECUTOR__PROCESSES": "1"})


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A folder with two backups of a zone that was busy, and what was known before."""
    base = tmp_path_factory.mktemp("backups")
    zone = embedded(base / "one")
    (zone.base / "config.yaml").write_text(_CONFIG)
    del zone.environment["DROPZONE__ZONES"]
    zone.aside.touch()
    os.setxattr(zone.aside, given.ATTRIBUTE, GIVEN)
    zone.drop("papers/alpha.txt", b"The heron stands in the reeds.")
    zone.drop("broken.pdf", b"%PDF-1.4 not really")
    zone.drop("blob.bin", b"\x00\x01\xff" * 1000)
    daemon = zone.start()
    zone.wait_for_receipts(3)
    with Dropping(zone) as dropping:
        wait_for(lambda: dropping.dropped > 20, "files are dropped")
        first = zone.command("backup", str(base / "vault"), "--json")
        assert first.returncode == 0, first.stdout + first.stderr
    zone.wait_for_ends(3 + dropping.dropped)
    zone.stop(daemon)
    second = zone.command("backup", str(base / "vault"), "--json")
    assert second.returncode == 0, second.stdout + second.stderr
    yield {
        "vault": base / "vault",
        "zone": zone,
        "made": [json.loads(done.stdout) for done in (first, second)],
        "dropped": dropping.dropped,
    }
    zone.close()


def verify(zone: ZoneOfTest, *arguments: str) -> list[dict[str, Any]]:
    done = zone.command("verify", "--json", *arguments)
    (summary,) = json.loads(done.stdout)["zones"]
    return list(summary["problems"])


def test_what_was_backed_up_while_it_worked_goes_on_elsewhere(
    backups: dict[str, Any], tmp_path: Path
) -> None:
    first = backups["made"][0]
    other = embedded(tmp_path / "another" / "place")
    done = other.command("restore", str(backups["vault"]), "--backup", first["name"])
    assert done.returncode == 0, done.stderr
    assert "verify --deep" in done.stdout
    waiting = len(other.files("input")) + len(other.files("state/work"))
    other.drop("after.txt", b"Dropped after the restore.")
    assert other.run_once() in {0, 1}
    assert verify(other, "--deep") == []
    receipts = other.receipts()
    assert len(receipts) == len({receipt["job"] for receipt in receipts})
    paths = {receipt["path"] for receipt in receipts}
    assert {"papers/alpha.txt", "broken.pdf", "blob.bin", "after.txt"} <= paths
    # Files in order: whatever was dropped before the last one known is there as well.
    stream = sorted(int(p[7:-4]) for p in paths if p.startswith("stream/"))
    assert stream == list(range(len(stream)))
    assert len(stream) >= 20
    assert waiting >= 0
    found = other.command("search", "heron reeds", "--json").stdout
    assert "alpha.txt" in found
    alpha = other.root / "processed" / "papers" / "alpha.txt"
    assert os.getxattr(alpha, given.ATTRIBUTE) == GIVEN
    # Nothing is ever restored over files.
    again = other.command("restore", str(backups["vault"]))
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_what_did_not_change_is_not_stored_again(backups: dict[str, Any]) -> None:
    first, second = backups["made"]
    assert second["files"] >= first["files"]
    vault = Vault(backups["vault"])
    assert vault.names() == [first["name"], second["name"]]
    total = sum(path.stat().st_size for path in vault.root.rglob("blobs/*/*"))
    assert total < first["bytes"] + second["bytes"]
    third = backups["zone"].command("backup", str(vault.root), "--json")
    assert json.loads(third.stdout)["new_bytes"] == 0


def test_the_settings_are_kept_without_secrets(backups: dict[str, Any]) -> None:
    told = backups["zone"].command("restore", str(backups["vault"]), "--show-config")
    assert "quiet_seconds: 0.2" in told.stdout
    assert "password: null" in told.stdout
    assert "token: null" in told.stdout
    every = b"".join(p.read_bytes() for p in backups["vault"].rglob("blobs/*/*"))
    assert b"hidden-canary" not in every


def copied(backups: dict[str, Any], tmp_path: Path) -> tuple[Vault, ZoneOfTest]:
    shutil.copytree(backups["vault"], tmp_path / "vault")
    return Vault(tmp_path / "vault"), embedded(tmp_path / "restored")


def test_a_damaged_content_is_told_and_no_daemon_serves_the_half(
    backups: dict[str, Any], tmp_path: Path
) -> None:
    vault, zone = copied(backups, tmp_path)
    blob = max(vault.root.rglob("blobs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[100] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    done = zone.command("restore", str(vault.root))
    assert done.returncode == 1
    assert "was changed" in done.stderr
    assert blob.name in done.stderr
    refused = zone.command("run", "--once")
    # Only a person mends that: systemd does not try again.
    assert refused.returncode == UNFIT
    assert "half restored" in refused.stderr
    blob.unlink()
    shutil.rmtree(zone.root)
    done = zone.command("restore", str(vault.root))
    assert "is gone" in done.stderr
    # It was found before anything was touched.
    assert not (zone.root / "state").exists()


def test_a_manifest_that_was_changed_or_is_newer_is_refused(
    backups: dict[str, Any], tmp_path: Path
) -> None:
    vault, zone = copied(backups, tmp_path)
    path = vault.path_of(vault.names()[-1])
    whole = path.read_text()
    changed = whole.replace('"mode": 416', '"mode": 511', 1)
    assert changed != whole
    path.write_text(changed)
    told = zone.command("restore", str(vault.root))
    refused = "is not what was written" in told.stderr
    assert (told.returncode, refused) == (1, True), told.stdout + told.stderr
    newer = (
        ('"format": 1', '"format": 2'),
        (f'"journal": {schema.VERSION}', '"journal": 99'),
    )
    for old, new in newer:
        lines = whole.replace(old, new).splitlines(keepends=True)
        end = json.loads(lines[-1])

        digest = hashlib.sha256("".join(lines[:-1]).encode()).hexdigest()
        path.write_text("".join([*lines[:-1], json.dumps({**end, "sha256": digest})]))
        told = zone.command("restore", str(vault.root))
        refused = "newer dropzone" in told.stderr
        assert (told.returncode, refused) == (2, True), told.stdout + told.stderr
    empty = zone.command("restore", str(tmp_path))
    assert (empty.returncode, "no whole backup" in empty.stderr) == (2, True)


def test_a_backup_that_was_killed_is_none_and_the_next_goes_on(
    backups: dict[str, Any], tmp_path: Path
) -> None:
    zone, vault = backups["zone"], Vault(tmp_path / "vault")
    process = subprocess.Popen(
        [sys.executable, "-m", "dropzone", "backup", str(vault.root)],
        cwd=zone.base,
        env=zone.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: list(vault.root.glob("blobs/*/*")), "it copies")
    process.send_signal(signal.SIGKILL)
    assert process.wait(DEADLINE) == -signal.SIGKILL
    assert vault.names() == []
    done = zone.command("backup", str(vault.root), "--keep", "1")
    assert done.returncode == 0, done.stderr
    assert len(vault.names()) == 1
    assert not list(vault.root.glob("blobs/*.aside"))


def test_a_place_that_cannot_hold_a_backup_is_refused(
    backups: dict[str, Any], tmp_path: Path
) -> None:
    zone = backups["zone"]
    inside = zone.command("backup", str(zone.root / "backups"))
    assert (inside.returncode, "best on another disk" in inside.stderr) == (2, True)
    (tmp_path / "plain").write_text("no folder")
    plain = zone.command("backup", str(tmp_path / "plain"))
    assert plain.returncode == 2
    assert "Not a directory" in plain.stderr


@needs_mounts
def test_a_target_that_is_full_is_told_and_holds_no_backup(
    backups: dict[str, Any], tmp_path: Path
) -> None:
    zone = backups["zone"]
    mount = f"mount -t tmpfs -o size=400k tmpfs {tmp_path}"
    again = "find . -name '*.jsonl' -o -name '*.aside' -size +1k"
    zone.before = (
        *("unshare", "-m", "--propagation", "private", "sh", "-c"),
        f'{mount} && "$@"; code=$?; cd {tmp_path} && {again}; exit $code',
        "sh",
    )
    done = zone.command("backup", str(tmp_path / "vault"))
    zone.before = ()
    assert done.returncode == 1, done.stderr
    assert "no backup was made yet" in done.stderr or "cannot be" in done.stderr
    assert "Traceback" not in done.stderr
    assert "jsonl" not in done.stdout
