"""One Debian tree for all system tests: a box for systemd, and a base for images.

It is made once for all workers of a test run, takes half a minute and 200 MB, and goes
when the last of them has ended.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance import memory

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
# To boot and to look about.
_FOR_SYSTEMD = (
    "systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd",
    "python3", "procps", "iproute2", "ca-certificates",
)  # fmt: skip
# What a Python that was built elsewhere loads.
_FOR_PYTHON = (
    "netbase", "tzdata", "libssl3", "libffi8", "libsqlite3-0", "libreadline8",
    "libbz2-1.0", "liblzma5", "zlib1g", "libncursesw6", "libuuid1", "libexpat1",
    "libgdbm6", "libdb5.3",
)  # fmt: skip
_LEFT_OUT = ("man", "doc", "locale")
_MOST_SECONDS = 200
_MOST_BYTES = 1_500_000_000


class CannotBeMade(Exception):
    """This machine cannot make the tree; the message says why."""


def missing(*programs: str) -> str:
    """Return why system tests cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "only root can make and boot a Debian tree"
    absent = [name for name in programs if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def make(target: Path) -> None:
    """Bootstrap the tree at ``target``.

    Raises:
        CannotBeMade: no mmdebstrap, no rights, or no way to the packages.

    """
    if reason := missing("mmdebstrap"):
        raise CannotBeMade(reason)
    packages = ",".join([*_FOR_SYSTEMD, *_FOR_PYTHON])
    command = [
        *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"),
        f"--include={packages}",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT),
        '--aptopt=Acquire::Languages "none"',
        *(SUITE, str(target), _mirror()),
    ]
    try:
        subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_MOST_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise CannotBeMade(f"mmdebstrap took over {_MOST_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        told = next((line for line in said if line.startswith("E:")), said[-1:])
        raise CannotBeMade(f"mmdebstrap failed: {told}") from error


def _mirror() -> str:
    """Return where this machine itself gets that Debian from, if it does."""
    asked = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"]
    with contextlib.suppress(OSError):
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
            suite, _, address = line.partition(" ")
            if suite == SUITE and address.rstrip("/").endswith("/debian"):
                return address
    return MIRROR


def _make_once(tree: Path) -> None:
    failed, aside = tree.with_suffix(".failed"), tree.with_suffix(".new")
    if failed.exists():
        raise CannotBeMade(failed.read_text())
    if tree.exists():
        return
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with _quick(aside) as place:
            make(place)
            if place != aside:
                subprocess.run(["/bin/cp", "-a", str(place), str(aside)], check=True)
    except CannotBeMade as error:
        failed.write_text(str(error))
        raise
    aside.rename(tree)


@contextlib.contextmanager
def _quick(aside: Path) -> Iterator[Path]:
    """Lend a place in memory, where there is plenty; else ``aside`` itself.

    Of each package dpkg syncs every file, with all that other tests wrote.
    """
    if not memory.is_plenty():
        yield aside
        return
    folder = aside.with_suffix(".memory")
    folder.mkdir(exist_ok=True)
    with memory.lay(folder, _MOST_BYTES):
        try:
            yield folder / "tree"
        finally:
            memory.take_away(folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[Path]:
    """Make the tree below ``folder``, or share the one that another worker makes.

    Nobody may change it: copy it, or mount something over it.

    Raises:
        CannotBeMade: see ``make``. The other workers are told the same.

    """
    tree = folder / "debian"
    with (folder / "debian.lock").open("a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        # Between two kinds of lock another may make the tree, or take it away.
        while not tree.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            _make_once(tree)
            fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield tree
        finally:
            # Only the last who leaves gets the lock for itself.
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(tree)


@pytest.fixture(scope="session")
def debian_tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian tree to look at or to copy; the test is skipped where none is had."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with contextlib.ExitStack() as stack:
        try:
            tree = stack.enter_context(shared(folder))
        except CannotBeMade as error:
            pytest.skip(str(error))
        yield tree
