"""Follows files that were put in until their jobs have ended."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropzone.errors import DropzoneError
from dropzone.journal import Journal
from dropzone.models import ENDED, Job
from dropzone.put import Placed

_LOOK_SECONDS = 0.1
# Looking takes this share of the time at most, however many files there are.
_LOOK_SHARE = 0.1
_MOST_NAMESAKES = 20


@dataclass(frozen=True, slots=True)
class Ended:
    """How a file ended: with a job, or without one when it was refused."""

    placed: Placed
    job: Job | None = None
    refusal: str = ""
    hint: str = ""

    @property
    def fine(self) -> bool:
        return self.job is not None and self.job.error_class is None


class Follower:
    """Reads the journal of a running daemon. Use ``close`` at the end."""

    def __init__(self, root: Path, *, since: float) -> None:
        """``since`` is when the first file was put in, in epoch seconds."""
        self._journal = Journal(root / "state" / "journal.sqlite", create=False)
        self._since = since
        self._jobs: dict[Placed, str] = {}

    def close(self) -> None:
        self._journal.close()

    def ends(
        self, placed: Sequence[Placed], still_served: Callable[[], bool]
    ) -> Iterator[Ended]:
        """Yield each file when it has ended.

        Raises:
            DropzoneError: the daemon stopped before the last one.

        """
        left = list(placed)
        pause = threading.Event()
        while left:
            begun = time.monotonic()
            served = still_served()
            ended = [end for file in left if (end := self._end(file)) is not None]
            yield from ended
            done = {end.placed for end in ended}
            left = [file for file in left if file not in done]
            if left and not served:
                raise DropzoneError(
                    f"The daemon stopped before {len(left)} of the files had ended.",
                    hint="They are safe, and go on when it starts: dropzone run.",
                )
            took = time.monotonic() - begun
            if left:
                pause.wait(max(_LOOK_SECONDS, took / _LOOK_SHARE))

    def _end(self, file: Placed) -> Ended | None:
        job = self.job(file)
        if job is not None:
            return Ended(file, job) if job.status in ENDED else None
        for finding in self._journal.rows("finding", path=file.path):
            return Ended(file, refusal=finding["reason"], hint=finding["hint"])
        return None

    def job(self, file: Placed) -> Job | None:
        """Return the job of a file as it is now, or None while there is none."""
        if known := self._jobs.get(file):
            return self._journal.get(known)
        rows = self._journal.rows("by_path", path=file.path, limit=_MOST_NAMESAKES)
        for row in rows:
            # An inode number is used again once a file is gone, so time counts too.
            if row["inode"] == file.inode and row["created_at"] >= self._since:
                self._jobs[file] = row["id"]
                return self._journal.get(row["id"])
        return None
