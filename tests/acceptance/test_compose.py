"""compose.yaml: four containers that find each other, and a file that goes through."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from acceptance import standins
from acceptance.containers import ROOT, Podman
from daemons import wait_for

pytestmark = pytest.mark.timeout(1200)

FILE = ROOT / "compose.yaml"
SERVICES = ("postgres", "s3", "mlflow", "dropzone")
# All four are on one network that is this test's alone, and find each other by name: no
# port of this machine is in the way, and no name server is needed. Whoever holds it
# sets up the loopback interface first.
HOLD_A_NETWORK = """
import fcntl, signal, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 1))
print("up", flush=True)
signal.pause()
"""
DEADLINE = 120.0


def described() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return tree


class Composed:
    """The project of compose.yaml in a folder of the test."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self.folder = folder
        shutil.copy(FILE, folder)
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "drop_zones").mkdir()
        os.chown(folder / "drop_zones", 1234, 1234)
        names = dict.fromkeys(SERVICES, "127.0.0.1")
        near = {
            "network_mode": "host",
            "extra_hosts": [f"{name}:{address}" for name, address in names.items()],
        }
        override = {"services": dict.fromkeys(SERVICES, near)}
        (folder / "compose.override.yaml").write_text(yaml.safe_dump(override))

    def __call__(
        self, *arguments: str, check: bool = True, seconds: float = 240
    ) -> "subprocess.CompletedProcess[str]":
        compose = Path(sys.executable).with_name("podman-compose")
        command = (compose, "--project-name=composed", *arguments)
        return self.podman.run(command, check=check, seconds=seconds, cwd=self.folder)

    def name_of(self, service: str) -> str:
        return f"composed_{service}_1"

    def logs(self) -> str:
        return "\n".join(
            f"--- {one}\n{self.podman.logs(self.name_of(one))[-2500:]}"
            for one in SERVICES
        )

    def inside(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return self.podman("exec", self.name_of("dropzone"), *command, check=False)

    def is_healthy(self, service: str) -> bool:
        asked = self.podman("healthcheck", "run", self.name_of(service), check=False)
        return asked.returncode == 0


@contextlib.contextmanager
def network() -> Iterator[tuple[str, ...]]:
    """Hold a network; yield what starts a command within it."""
    holder = subprocess.Popen(
        ["/usr/bin/env", "unshare", "--net", sys.executable, "-c", HOLD_A_NETWORK],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        yield ("/usr/bin/env", "nsenter", f"--net=/proc/{holder.pid}/ns/net")
    finally:
        holder.kill()
        holder.communicate()


@pytest.fixture
def composed(podman: Podman, tmp_path: Path) -> Iterator[Composed]:
    services = described()["services"]
    standins.make(podman, services["postgres"]["image"], services["s3"]["image"])
    with network() as within:
        podman.before = within
        made = Composed(podman, tmp_path)
        try:
            yield made
        finally:
            print(made.logs())
            made("down", "--volumes", "--timeout=10", check=False)
            podman.before = ()


def make_secrets(folder: Path) -> dict[str, str]:
    subprocess.run(
        ["/usr/bin/env", "make", "--quiet", ".env"],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable},
        check=True,
        capture_output=True,
    )
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_four_containers_and_a_file_that_goes_through_all(composed: Composed):
    made_up = make_secrets(composed.folder)
    settings = composed.folder / ".env"
    # This test is run by root; a person's numbers would stand there.
    settings.write_text(re.sub(r"(_[UG]ID)=0", r"\1=1234", settings.read_text()))

    # One after the other, because only systemd would run the health checks by itself.
    for service in SERVICES:
        composed("up", "--detach", "--no-deps", service)
        wait_for(
            lambda service=service: composed.is_healthy(service),
            f"{service} is healthy",
            DEADLINE,
        )
    zone = composed.folder / "drop_zones"
    aside = zone / "aside"
    aside.write_text("A grey heron crosses the river.")
    os.chown(aside, 1234, 1234)
    aside.rename(zone / "input" / "heron.txt")
    wait_for(
        lambda: "heron.txt" in composed.inside("dropzone", "search", "heron").stdout,
        "the file is found",
        DEADLINE,
    )
    # The run as well, so all three servers hold their part.
    wait_for(
        lambda: "tracked" in composed.podman.logs(composed.name_of("dropzone")),
        "the run is logged",
        DEADLINE,
    )
    proved = composed.inside("dropzone", "verify", "--deep")
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert "1 documents, 1 objects, 1 runs" in proved.stdout
    assert not (zone / "state" / "services").exists()
    asked = composed.inside("dropzone", "doctor").stdout
    assert "http://mlflow:5000" in asked
    assert all(
        made_up[name] not in composed.logs() for name in made_up if name[-2:] != "ID"
    )

    composed.podman("stop", "--time=30", composed.name_of("dropzone"))
    state = "{{.State.ExitCode}}"
    told = composed.podman("inspect", composed.name_of("dropzone"), f"--format={state}")
    assert told.stdout.strip() == "0"


def test_no_password_stands_in_the_file_and_none_is_made_up(tmp_path: Path):
    text = FILE.read_text()
    secrets = re.findall(r"(?:PASSWORD|ACCESS_KEY|_KEY_ID|AUTH_KEY): (.*)", text)
    assert secrets
    assert all(
        re.fullmatch(r"[\"']+(\$\{\w+:\?run make .env first\},?)+[\"']+", s)
        for s in secrets
    )
    shutil.copy(ROOT / "Makefile", tmp_path)
    first = make_secrets(tmp_path)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert len(first["POSTGRES_PASSWORD"]) == len(first["AWS_SECRET_ACCESS_KEY"]) == 48
    # Not made again: the databases know the first ones.
    assert make_secrets(tmp_path) == first
    (tmp_path / ".env").unlink()
    assert make_secrets(tmp_path) != first


def test_every_service_is_confined_limited_and_watched():
    for name, service in described()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert {"mem_limit", "pids_limit", "image", "volumes"} <= service.keys(), name
        # Our own image brings its health check along.
        assert "healthcheck" in service or name == "dropzone"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port
    awaited = described()["services"]["dropzone"]["depends_on"]
    assert awaited == {
        name: {"condition": "service_healthy"} for name in ("postgres", "s3", "mlflow")
    }
