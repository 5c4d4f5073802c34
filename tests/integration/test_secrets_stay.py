"""Canaries: no secret is in anything the program writes, shows or hands on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251

from daemons import ZoneOfTest, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from servers import connect

TOKEN = "canary-session-token-8f1d"
MLFLOW = "canary-mlflow-token-27aa"
PASSWORD = "canary-postgres-password-51c9"
# Nothing listens there.
HOOKS = ["canary-hook-user-5a", "canary-hook-word-0e", "canary-hook-path-b7"]
HOOK = "://{}:{}@127.0.0.1:9/{}".format(*HOOKS)
WRONG = "canary-wrong-password-77e0"


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    """A zone whose every secret is a canary, and which logs all it can."""
    made = zone_on(tmp_path, services)
    parts = conninfo_to_dict(made.environment["DATABASE_URL"])
    user = f"canary_{os.urandom(4).hex()}"
    with connect(services) as connection:
        connection.execute(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
    made.environment |= {
        "DATABASE_URL": make_conninfo(**{**parts, "user": user, "password": PASSWORD}),
        "AWS_SESSION_TOKEN": TOKEN,
        "MLFLOW_TRACKING_TOKEN": MLFLOW,
        "POSTGRES_PASSWORD": PASSWORD,
        "DROPZONE_WEBHOOK": f"http{HOOK}",
        "DROPZONE_NOTIFICATIONS": f"json{HOOK}",
        "DROPZONE__NOTIFICATIONS__GROUP_SECONDS": "0.1",
        "DROPZONE__LOG__LEVEL": "debug",
        "DROPZONE__RETRY__CALL_SECONDS": "0.2",
        "DROPZONE__MLFLOW__BATCH_SECONDS": "0.1",
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    yield made
    made.close()


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def held(pid: int, name: str) -> bytes:
    """Return a file of /proc; empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def look_for(canaries: list[str], texts: dict[str, bytes]) -> list[tuple[str, str]]:
    return [
        (place, canary)
        for place, text in texts.items()
        for canary in canaries
        if canary.encode() in text
    ]


def written(zone: ZoneOfTest) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in zone.base.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def commands(
    zone: ZoneOfTest, environment: dict[str, str], *lines: str
) -> dict[str, bytes]:
    """Run commands side by side; return all that they said."""
    running = {
        line: subprocess.Popen(
            [sys.executable, "-m", "dropzone", *line.split()],
            cwd=zone.base,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for line in lines
    }
    said = {
        line: process.communicate(timeout=45)[0] for line, process in running.items()
    }
    assert all(said.values()), said
    return said


def test_a_daemon_at_work_gives_no_secret_away(zone: ZoneOfTest) -> None:
    secret = zone.environment["AWS_SECRET_ACCESS_KEY"]
    canaries = [secret, TOKEN, MLFLOW, PASSWORD, *HOOKS]
    daemon = zone.start()
    zone.drop("a.txt", b"The heron waits. " * 40)
    zone.drop("broken.pdf", b"%PDF-1.7 nothing of the kind")
    zone.wait_for_ends(2)

    artifacts = zone.root / "state" / "mlflow" / "artifacts"
    wait_for(lambda: list(artifacts.rglob("files.json")), "a run is logged")
    arrives = '"event": "messages do not arrive"'
    wait_for(lambda: zone.log().count(arrives) == 2, "both targets are tried")
    family = descendants(daemon.pid)
    # MLflow's process and two parsers.
    assert len(family) >= 3
    handed = {f"environment of {pid}": held(pid, "environ") for pid in family}
    assert look_for(canaries, handed) == []
    lines = {
        f"command line of {pid}": held(pid, "cmdline") for pid in [daemon.pid, *family]
    }
    assert look_for(canaries, lines) == []
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if "core file" in line)
    assert core.split()[4] == "0"

    shown = commands(zone, zone.environment, "status", "credentials show --json")
    assert look_for(canaries, shown) == []
    # A crash, with whatever it leaves.
    daemon.send_signal(signal.SIGABRT)
    daemon.wait(10)
    wait_for(
        lambda: not any(held(pid, "environ") for pid in family), "the family has ended"
    )
    texts = written(zone)
    assert any(path.endswith("mlflow.db") for path in texts)
    assert any("receipts" in path for path in texts)
    assert look_for(canaries, texts) == []


def test_failures_give_no_secret_away(zone: ZoneOfTest) -> None:
    parts = conninfo_to_dict(zone.environment["DATABASE_URL"])
    zone.environment |= {
        "DATABASE_URL": make_conninfo(**{**parts, "password": WRONG}),
        "AWS_SECRET_ACCESS_KEY": WRONG,
        # Nothing listens there.
        "MLFLOW_TRACKING_URI": f"http://me:{WRONG}@127.0.0.1:9",
    }
    canaries = [WRONG, TOKEN, MLFLOW, PASSWORD, *HOOKS]
    daemon = zone.start()
    zone.drop("a.txt", b"The heron waits.")
    wait_for(lambda: '"event": "paused"' in zone.log(), "the daemon pauses")
    broken = f"postgresql://me:{WRONG}%zz@[h/d"
    environment = zone.environment
    said = commands(zone, environment, "doctor", "mlflow", "config show")
    assert b"SignatureDoesNotMatch" in said["doctor"]
    assert look_for(canaries, said) == []
    wrong_types = {
        "DROPZONE__POSTGRES": json.dumps({"password": [WRONG]}),
        "DROPZONE__MLFLOW__TOKEN": f"[{WRONG}]",
    }
    for wrong in ({"DATABASE_URL": broken}, wrong_types):
        told = commands(zone, environment | wrong, "credentials show")
        assert look_for(canaries, told) == []
    zone.stop(daemon)
    assert look_for(canaries, written(zone)) == []
