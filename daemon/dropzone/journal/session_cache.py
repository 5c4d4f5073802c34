"""The active records in memory, and the proof that they are those of the file.

Every commit takes the next number (table ``commits``). The cache knows up to which
number it holds every change; a reader compares that with the file's number before it
takes a record from here. What another process committed in between empties the cache.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from dropzone.journal.session import COLUMNS, Session

Row = tuple[Any, ...]
#: Ids of records to drop, and one to put.
Changes = tuple[Sequence[str], Session | None]
# Larger records are read from the file each time.
_LARGEST = 64 * 1024


class SessionCache:
    """At most ``limit`` records, the longest unchanged leaving first; thread-safe.

    Two generations make that cheap: the old one is dropped when the young one has
    half of the limit. Records are plain tuples, which the garbage collector learns
    to pass over.
    """

    def __init__(self, limit: int, number: int) -> None:
        self._half = max(1, limit // 2)
        self._off = limit <= 0
        self._lock = threading.Lock()
        self._young: dict[str, Row] = {}
        self._old: dict[str, Row] = {}
        #: Every change up to this commit is in here.
        self.number = number
        # The commit under way in this process: not yet in here, but nobody else's.
        self._coming = number

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def look(self, key: str) -> Session | None:
        """Return the record; current only after ``covers`` said so."""
        row = self._young.get(key) or self._old.get(key)
        return None if row is None else Session._make((*row, None))

    def covers(self, number: int, *, counted: bool = True) -> bool:
        """Whether records in here are at least as new as that commit.

        Not ``counted``: the file changed, its number did not; somebody wrote to it with
        another program. True also after a foreign commit emptied the cache.
        """
        if counted and number <= self.number:
            return True
        with self._lock:
            if not counted:
                self._empty(self.number)
            elif number > self.number:
                if number == self._coming:
                    return False
                self._empty(number)
        return True

    def keep(self, record: Session, number: int) -> None:
        """Keep a record read when the cache was at ``number``, if it still is."""
        with self._lock:
            # Else it may be older than what was put or dropped since.
            if number == self.number:
                self._put(record)

    def begin(self, number: int) -> None:
        """Note that this process is about to commit this number."""
        with self._lock:
            self._coming = number
            if self.number < number - 1:
                self._empty(number - 1)

    def publish(self, number: int, changes: Iterable[Changes]) -> None:
        """Take over what the commit of this number changed."""
        with self._lock:
            for keys, record in changes:
                for key in keys:
                    self._drop(key)
                if record is not None:
                    self._put(record)
            self.number = number

    def _put(self, record: Session) -> None:
        if self._off or not record.active or _size(record) > _LARGEST:
            self._drop(record.id)
            return
        self._young[record.id] = record[:COLUMNS]
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    def _drop(self, key: str) -> None:
        self._young.pop(key, None)
        self._old.pop(key, None)

    def _empty(self, number: int) -> None:
        self._young = {}
        self._old = {}
        self.number = number


def _size(record: Session) -> int:
    return len(record.data_json) + len(record.metadata_json)
