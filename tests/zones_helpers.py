"""Zones, journals and jobs for tests, and waiting for what threads do."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dropzone.claiming import Claim
from dropzone.models import Job, JobIds, Status
from dropzone.room import Growth, Room
from dropzone.zones import ZoneFolders

IDS = JobIds()
DEADLINE = 60.0
ROOT = os.geteuid() == 0
NOBODY = 65534


def _may_mount():
    command = ["/usr/bin/env", "unshare", "-m", "true"]
    return ROOT and subprocess.run(command, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _may_mount(), reason="needs the right to mount")


def eventually(condition, what="the condition", seconds=DEADLINE):
    """Return the first true value of ``condition()``; fail after ``seconds``."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < end:
        if value := condition():
            return value
        pause.wait(0.005)
    raise AssertionError(f"not in {seconds:.0f} s: {what}")


def in_threads(count, work):
    """Run ``work(number)`` in so many threads at once; raise what one of them met."""
    errors = []
    start = threading.Barrier(count)

    def run(number):
        try:
            start.wait(DEADLINE)
            work(number)
        except BaseException as error:  # noqa: BLE001 raised below, in the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]


def python(code, *arguments, before=(), **options):
    """Run code in a fresh Python (behind ``before``); return what it printed."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [*before, sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(paths)},
        **options,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def new_job(path=b"x.txt", status=Status.CLAIMED, **changes):
    """Return a job that is in no journal yet."""
    values = {
        "zone": "default",
        "collection": "default",
        "size": 1,
        "mtime_ns": 1,
        "created_at": time.time(),
        "last_activity": time.time(),
    }
    return Job(id=IDS.next(), path=path, status=status, **{**values, **changes})


def put(folders, path, content=b"bytes"):
    """Write a whole file into ``input/``; return its claim under a new job id."""
    full = os.path.join(os.fsencode(folders.root), b"input", path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(content)
    return claim_of(folders, path)


def claim_of(folders, path):
    entry = folders.look(path)
    assert entry is not None
    return Claim(IDS.next(), path, entry.signature)


def boundless(folders, journal):
    """Return room for any file, however full the disk is."""
    growth = Growth(copied=False, indexed=False, text_bytes=0)
    return Room(folders.disk_status, journal, growth, 0)


def tree(root):
    """Return every file below a folder: relative path to inode and bytes."""
    base = os.fsencode(root)
    found = {}
    for folder, _, names in os.walk(base):
        for name in names:
            path = os.path.join(folder, name)
            inode = os.lstat(path).st_ino
            if os.path.islink(path):
                content = os.readlink(path)
            else:
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, base)] = (inode, content)
    return found


@pytest.fixture
def folders(tmp_path):
    folders = ZoneFolders(tmp_path / "zone")
    folders.open()
    yield folders
    folders.close()


@pytest.fixture
def open_root():
    """A zone's root that a process without rights may use, and is cleared by us."""
    base = Path(tempfile.mkdtemp(dir="/var/tmp"))
    base.chmod(0o755)
    root = base / "zone"
    root.mkdir()
    if ROOT:
        os.chown(root, NOBODY, NOBODY)
    yield root
    for folder, names, _ in os.walk(base):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o700)
    shutil.rmtree(base)


def become_nobody():
    """Give up root's rights, in a process of its own; imports must be done."""
    if ROOT:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
