"""File systems of their own, whose power can be cut."""

import ctypes
import fcntl
import os
import select
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS = 0x20000
_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2
_MEGABYTE = 1 << 20
# Of the smallest that each file system takes.
_SIZES = {"ext4": 64 * _MEGABYTE, "xfs": 320 * _MEGABYTE}
#: ext4 would commit its journal by itself; a copy of an xfs has the same name.
_OPTIONS = {"ext4": "loop,commit=300", "xfs": "loop,nouuid"}


def missing(kind: str) -> str:
    """Return why no image of this kind can be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which(f"mkfs.{kind}") is None:
        return f"needs mkfs.{kind}"
    if not os.path.exists("/dev/loop-control"):
        return "needs loop devices"
    known = Path("/proc/filesystems").read_text().split()
    load = ("/usr/bin/env", "modprobe", kind)
    if kind not in known and subprocess.run(load, check=False).returncode:
        return f"needs a kernel with {kind}"
    return ""


def in_private_mounts(work: Callable[[], T]) -> T:
    """Do the work in a thread whose mounts nobody else sees; they end with it."""

    def apart() -> T:
        if _libc.unshare(_NEW_MOUNTS) != 0:
            raise OSError(ctypes.get_errno(), "no mount namespace of our own")
        _run("mount", "--make-rprivate", "/")
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(apart).result()


class Image:
    """One file system in a file, copied from an empty one and mounted."""

    def __init__(self, kind: str, empty: Path, at: Path) -> None:
        self.at = at
        self._kind = kind
        self._file = at.with_suffix(".img")
        _run("cp", "--sparse=always", str(empty), str(self._file))
        at.mkdir(parents=True)
        self.mount()

    def mount(self) -> None:
        options = _OPTIONS[self._kind]
        _run("mount", "-t", self._kind, "-o", options, str(self._file), str(self.at))

    def unmount(self) -> None:
        # A process that was killed still has to close its files.
        until = time.monotonic() + 10
        while True:
            try:
                return _run("umount", str(self.at))
            except OSError:
                if time.monotonic() > until:
                    raise
                select.select([], [], [], 0.01)

    def cut(self) -> None:
        """Cut the power: what is not on the disk by now is lost."""
        self._ioctl(_SHUTDOWN, struct.pack("I", _WITHOUT_LOG))

    def sync_something_else(self) -> None:
        """Write and sync a file that is nobody's: it takes others' renames along."""
        aside = self.at / "unrelated"
        with aside.open("ab") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())

    def sync(self) -> None:
        fd = os.open(self.at, os.O_RDONLY)
        try:
            _libc.syncfs(fd)
        finally:
            os.close(fd)

    def discard(self) -> None:
        self.unmount()
        self._file.unlink()

    def _ioctl(self, request: int, argument: bytes) -> None:
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, request, argument)
        finally:
            os.close(fd)


def make_empty(kind: str, path: Path) -> Path:
    """Make an empty file system in a file, to be copied."""
    with path.open("wb") as file:
        file.truncate(_SIZES[kind])
    quick = {"ext4": ["-F", "-E", "lazy_itable_init=1"], "xfs": ["-f"]}[kind]
    _run(f"mkfs.{kind}", "-q", *quick, str(path))
    return path


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
