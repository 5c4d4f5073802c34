"""Zones, journals and jobs for tests, and waiting for what threads do."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dropzone.models import Job, JobIds, Status

IDS = JobIds()
DEADLINE = 10.0
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
        thread.join(30)
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
        timeout=60,
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
