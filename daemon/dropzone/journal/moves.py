"""Which moves a job may make from state to state. Pure."""

import dataclasses
import time
from typing import Any

from dropzone.models import Job, Status

# Drawn in docs/architecture.md. WAITING goes back to where it was.
MOVES = {
    Status.CLAIMING: {Status.CLAIMED},
    Status.CLAIMED: {Status.STORED, Status.WAITING, Status.FAILED, Status.CLAIMED},
    Status.STORED: {Status.INDEXED, Status.WAITING, Status.FAILED, Status.CLAIMED},
    Status.INDEXED: {Status.DONE, Status.WAITING, Status.FAILED, Status.CLAIMED},
    Status.WAITING: {Status.CLAIMED, Status.STORED, Status.INDEXED, Status.FAILED},
    Status.DONE: set[Status](),
    Status.FAILED: {Status.FAILED},
}


def move(job: Job, status: Status, **changes: Any) -> Job:
    """Return the job in its next state. Pure: ``Journal.save`` makes it durable.

    Raises:
        ValueError: the state machine has no such move.

    """
    if status not in MOVES[job.status]:
        raise ValueError(f"a job cannot go from {job.status} to {status}")
    now = time.time()
    return dataclasses.replace(
        job, status=status, last_activity=now, version=job.version + 1, **changes
    )
