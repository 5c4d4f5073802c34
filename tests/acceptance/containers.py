"""Builds the image and runs it, with tools that need no service of their own.

The base image cannot be pulled everywhere, so one is made: the Debian tree of the
system tests, with a Python that was built elsewhere where the real one has it.
"""

import contextlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from acceptance import memory
from acceptance.debian_tree import CannotBeMade, missing
from daemons import wait_for

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python"
IMAGE = "localhost/dropzone"
#: What every container of a careful person is started with.
CONFINED = (
    *("--read-only", "--tmpfs=/tmp:size=64m,noexec,nosuid", "--cap-drop=all"),
    *("--security-opt=no-new-privileges", "--memory=2g", "--pids-limit=400"),
    # Docker makes up no names for users, Podman does.
    *("--passwd=false", "--shm-size=64m"),
)
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_BUILD_SECONDS = 900
#: More than the images take.
_STORAGE_BYTES = 4_000_000_000
_NOT_IN_AN_IMAGE = re.compile(
    r"/(test|tests|__pycache__|idlelib|share)(/|$)|\.a$"
    r"|/site-packages/(?!pip(/|$))[^/]+"
)
_STORAGE = """
[storage]
driver = "overlay"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
"""
# Neither systemd nor the right to raise limits is asked for; the network is the host's.
_CONTAINERS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
tmp_dir = "{folder}/tmp"
"""


class Podman:
    """Podman and Buildah on storage of their own, which goes with ``close``."""

    def __init__(self, folder: Path) -> None:
        """Raise CannotBeMade where the tools are not to be had."""
        if reason := missing("buildah", "podman", "runc", "catatonit"):
            raise CannotBeMade(reason)
        self.folder = folder
        # The images are thrown away with the test, but Podman has each one written to
        # the disk before it goes on, together with all that other tests have written.
        self._owned = None
        if memory.is_plenty():
            clear_abandoned()
            self._owned = memory.lay(folder, _STORAGE_BYTES)
        #: What every command is started by, such as nsenter with its options.
        self.before: tuple[str, ...] = ()
        for name, text in (("storage", _STORAGE), ("containers", _CONTAINERS)):
            (folder / f"{name}.conf").write_text(text.format(folder=folder))
        self.environment = _environment(folder)

    def __call__(
        self, *arguments: str | Path, check: bool = True, seconds: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        return self.run(("podman", *arguments), check=check, seconds=seconds)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        seconds: float,
        cwd: Path = ROOT,
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*self.before, *map(str, command)],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if check:
            told = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
            assert done.returncode == 0, f"{command}: {told}"
        return done

    def logs(self, name: str) -> str:
        done = self("logs", name, check=False)
        return done.stdout + done.stderr

    def close(self) -> None:
        self("rm", "--all", "--force", "--volumes", "--time=5", check=False)
        self("rmi", "--all", "--force", check=False)
        memory.take_away(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._owned is not None:
            self._owned.close()


def clear_abandoned(only: Path | None = None) -> None:
    """End the containers of killed runs, and give back the memory they lie in."""
    for folder in memory.abandoned():
        if only is not None and folder != only:
            continue
        storage = folder / "storage.conf"
        # Without it, or once the folder has another name, Podman would take that of
        # the machine's own containers.
        if storage.is_file() and f'"{folder}/graph"' in storage.read_text():
            podman = ["podman", "rm", "--all", "--force", "--volumes", "--time=5"]
            subprocess.run(
                podman, env=_environment(folder), check=False, capture_output=True
            )
        memory.take_away(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
    }


def make_base(podman: Podman, tree: Path) -> str:
    """Make the stand-in for the base image; return its version of Python.

    Raises:
        CannotBeMade: there is no Python here to copy, or containers do not run.

    """
    version, prefix = _python()
    name = f"{BASE}:{version}-slim-bookworm"
    unlinked = "localhost/unlinked"
    packed = podman.folder / "base.tar"
    with packed.open("wb") as out:
        _pack(out, tree, prefix)
    podman(
        *("import", "--quiet"),
        *("--change", "ENV LANG=C.UTF-8"),
        *("--change", "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        *(packed, unlinked),
    )
    packed.unlink()
    podman("run", "--name=link", unlinked, "ldconfig")
    podman("commit", "--quiet", "link", name)
    tried = podman(
        "run", "--rm", name, "python3", "-m", "pip", "--version", check=False
    )
    if tried.returncode != 0:
        raise CannotBeMade(f"containers do not run here: {tried.stderr.strip()[-300:]}")
    return version


def _python() -> tuple[str, Path]:
    """Return the version of the image's Python, or else our own, and where it lies."""
    code = "import sys; print(sys.base_prefix)"
    asked = re.search(
        r"^ARG PYTHON=(.*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    wanted = asked[1] if asked else ""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        done = subprocess.run(
            [f"python{wanted}", "-c", code],
            # Where pyenv keeps several, it is asked for this one.
            env={**os.environ, "PYENV_VERSION": wanted},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        if (prefix := Path(done.stdout.strip())) != Path("/usr"):
            return wanted, prefix
    if Path(sys.base_prefix) == Path("/usr"):
        raise CannotBeMade("the only Python here is the system's, woven into it")
    return f"{sys.version_info.major}.{sys.version_info.minor}", Path(sys.base_prefix)


def _pack(out: IO[bytes], tree: Path, prefix: Path) -> None:
    # No name may come twice.
    def around(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        replaced = member.name.startswith(("./usr/local/bin", "./usr/local/lib"))
        return None if replaced else member

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if _NOT_IN_AN_IMAGE.search(f"/{member.name}") else member

    with tarfile.open(fileobj=out, mode="w|") as archive:
        archive.add(tree, arcname=".", filter=around)
        for part in ("bin", "lib"):
            archive.add(prefix / part, arcname=f"usr/local/{part}", filter=wanted)


def build(podman: Podman, python: str) -> None:
    """Build the image from the checkout, as ``make image`` does, on the stand-in."""
    settings = podman.folder / "pip.conf"
    settings.write_text(_pip_settings())
    volumes = [f"--volume={settings}:/etc/pip.conf:ro"]
    certificates = ssl.get_default_verify_paths().cafile
    if certificates:
        volumes.append(f"--volume={certificates}:{_CERTIFICATES}:ro")
    podman.run(
        (
            *("buildah", "build", "--isolation=chroot", "--network=host"),
            *("--pull-never", "--format=docker", "--layers=false", *volumes),
            *(f"--build-arg=PYTHON={python}", "--build-arg=VERSION=0.0.test"),
            *(f"--tag={IMAGE}", str(ROOT)),
        ),
        seconds=_BUILD_SECONDS,
    )


def _pip_settings() -> str:
    """Return where this machine gets packages from, for the build to do the same."""
    asked = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    index = re.findall(r"index-url='(https?://[^']*)'", told)
    lines = ["[global]", f"cert = {_CERTIFICATES}"]
    return "\n".join([*lines, *(f"index-url = {url}" for url in index[:1])]) + "\n"


class Container:
    """One container of the image over the folder ``zone`` of the host."""

    def __init__(self, podman: Podman, name: str, zone: Path) -> None:
        self.podman = podman
        self.name = name
        self.zone = zone

    def start(self, *options: str) -> None:
        """Start it, and return when it is healthy."""
        mount = f"--volume={self.zone}:/srv/dropzone"
        self.podman(
            *("run", "--detach", f"--name={self.name}", *CONFINED, mount),
            *(*options, "--env=DROPZONE__WEB__PORT=0", IMAGE),
        )
        self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        wait_for(self.is_healthy, f"{self.name} is healthy: {self.logs()}", 180)

    def is_healthy(self) -> bool:
        asked = self.podman("healthcheck", "run", self.name, check=False)
        return asked.returncode == 0

    def inside(
        self, *command: str, check: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        return self.podman("exec", self.name, *command, check=check)

    def drop(self, name: str, content: str) -> None:
        aside = self.zone / f".{name}"
        aside.write_text(content)
        # On its own files the daemon gets a lease, and need not wait.
        owner = self.zone.stat()
        os.chown(aside, owner.st_uid, owner.st_gid)
        aside.rename(self.zone / "input" / name)

    def finds(self, words: str, name: str) -> None:
        # Each search is a process of the container, which would hold up the file.
        wait_for(
            (self.zone / "processed" / name).exists,
            f"{name} is processed",
            180,
        )
        wait_for(
            lambda: name in self.inside("dropzone", "search", words).stdout,
            f"{name} is found: {self.logs()[-3000:]}",
            180,
        )

    def state(self, path: str) -> str:
        asked = self.podman("inspect", self.name, f"--format={{{{.State.{path}}}}}")
        return asked.stdout.strip()

    def states_of_processes(self) -> list[str]:
        told = self.podman("top", self.name, "state").stdout.split()
        return told[1:]

    def logs(self) -> str:
        return self.podman.logs(self.name)

    def remove(self) -> None:
        options = ("--force", "--time=5", "--volumes")
        self.podman("rm", *options, self.name, check=False)


@contextlib.contextmanager
def container(podman: Podman, zone: Path, owner: int, name: str) -> Iterator[Container]:
    """Lend a container, not yet started, over a new folder that is ``owner``'s."""
    zone.mkdir()
    os.chown(zone, owner, owner)
    made = Container(podman, name, zone)
    try:
        yield made
    finally:
        made.remove()
