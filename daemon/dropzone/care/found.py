"""What a pass looks up: receipts by their jobs, and the room on the disk."""

import datetime as dt
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dropzone import receipts
from dropzone.models import Job

_JOB = b'"job": "'
_ID_LENGTH = 36


def receipts_of(root: Path, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """Return the receipts of these jobs by their ids, read from the disk."""
    wanted = {job.id.encode() for job in jobs}
    first = min((job.ended_at or 0 for job in jobs), default=0)
    # The receipt comes just before the end: perhaps in the month before.
    begin = dt.datetime.fromtimestamp(first, dt.UTC) - dt.timedelta(days=1)
    found: dict[str, dict[str, Any]] = {}
    for path in receipts.files(root / "state" / "receipts"):
        # By name, and the current one in any case: clocks are set back sometimes.
        if path.stem < f"{begin:%Y-%m}":
            continue
        with path.open("rb") as lines:
            for line in lines:
                at = line.find(_JOB) + len(_JOB)
                job_id = line[at : at + _ID_LENGTH]
                if job_id in wanted and line.endswith(b"\n"):
                    found[job_id.decode()] = json.loads(line)
                    wanted.discard(job_id)
            if not wanted:
                break
    return found


def free(root: Path) -> int:
    """Return how many bytes are free on the zone's disk."""
    status = os.statvfs(root)
    return status.f_bavail * status.f_frsize
