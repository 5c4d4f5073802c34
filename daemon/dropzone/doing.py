"""What each step is doing now: which files, and since when."""

import time
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """A job that is worked on, or of ``track`` a batch: its name, and since when."""

    id: str
    name: bytes
    since: float


class Doing:
    """Of one zone. Each method may be called from any thread, for every file."""

    def __init__(self, steps: Iterable[str]) -> None:
        self._works: dict[str, dict[str, Work]] = {step: {} for step in steps}

    def begin(self, step: str, id_: str, name: bytes) -> None:
        """Note that work begins; one that is tried again goes on."""
        works = self._works[step]
        if id_ not in works:
            works[id_] = Work(id_, name, time.time())

    def end(self, step: str, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._works[step].pop(id_, None)

    def clear(self, step: str) -> None:
        self._works[step].clear()

    def told(self, step: str) -> list[Work]:
        """Return what the step is doing, the longest first."""
        # Others go on meanwhile; the copy is made in one go.
        works = list(self._works[step].values())
        return sorted(works, key=lambda work: work.since)
