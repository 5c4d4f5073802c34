"""File systems in memory that are known again once the run they were for was killed."""

import contextlib
import fcntl
import re
import subprocess
from pathlib import Path
from typing import IO

#: What the system calls those of ours.
_NAME = "dropzone-test-images"
#: What must be free before anything may lie in memory.
_PLENTY = 8_000_000_000


def is_plenty() -> bool:
    return _free_bytes() > _PLENTY


def lay(folder: Path, size: int) -> IO[bytes]:
    """Mount memory at ``folder`` where that is allowed; else it stays on the disk.

    It is ours as long as what is returned is open, which no death leaves it.
    """
    owned = _lock_of(folder).open("wb")
    fcntl.flock(owned, fcntl.LOCK_EX)
    mount = ("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", _NAME, str(folder))
    subprocess.run(["/usr/bin/env", *mount], check=False, capture_output=True)
    return owned


def abandoned() -> list[Path]:
    """Return the folders under which memory lies still, though nobody owns it."""
    # Podman binds a folder of it over itself, which is called the same.
    ours = [at for at, root, name in _mounts() if (root, name) == ("/", _NAME)]
    return [folder for folder in ours if not _is_owned(folder)]


def take_away(folder: Path) -> None:
    """Unmount all that is mounted at and below ``folder``, the last first."""
    below = [at for at, _, _ in _mounts() if at == folder or folder in at.parents]
    for at in reversed(below):
        umount = ("/usr/bin/env", "umount", "--lazy", str(at))
        subprocess.run(umount, check=False, capture_output=True)


def _lock_of(folder: Path) -> Path:
    # Beside it, so that it is there before the memory is.
    return folder.with_name(f"{folder.name}.owned")


def _is_owned(folder: Path) -> bool:
    # The lock goes only with the folder above, once no test run needs that any more.
    with contextlib.suppress(FileNotFoundError), _lock_of(folder).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _mounts() -> list[tuple[Path, str, str]]:
    """Return what is mounted in its order: where, which folder of it, and its name."""
    found = []
    # Of the thread: a test may be the only one to see its mounts.
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, at = before.split()[3:5]
        at = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), at)
        found.append((Path(at), root, after.split()[1]))
    return found


def _free_bytes() -> int:
    told = Path("/proc/meminfo").read_text()
    available = int(told.partition("MemAvailable:")[2].split()[0]) * 1024
    limit = "9" * 18
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError):
            limit = Path("/sys/fs/cgroup", name).read_text().strip()
    return min(available, int(limit)) if limit.isdigit() else available
