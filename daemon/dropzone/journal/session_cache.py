"""The active records in memory, and the proof that they are those of the file.

Every commit takes the next number (table ``commits``). The cache knows up to which
number nothing in it was changed; a reader compares that with the file's number before
it takes a record from here. A number that this process did not commit empties it.
"""

import threading
from collections.abc import Sequence
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
        #: Nothing in here was changed since by a commit up to this one.
        self.number = number
        #: Grows when a commit begins and ends, and when all is forgotten.
        self.turn = 0
        self._open = False
        self._prepared = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def look(self, key: str, number: int) -> Session | None:
        """Return the record, if it is here and as it was at that commit or later."""
        if number > self.number:
            with self._lock:
                if number > self.number:
                    self._empty(number)
        return self.peek(key)

    def peek(self, key: str) -> Session | None:
        """Return the record if it is here, old or not."""
        row = self._young.get(key) or self._old.get(key)
        return None if row is None else Session._make((*row, None))

    def keep(self, record: Session, turn: int) -> None:
        """Keep a record whose reading began at that turn, if it still is that turn."""
        with self._lock:
            # Else it may be older than what was put or dropped since.
            if turn == self.turn and not self._open:
                self._put(record)

    def begin(self, number: int) -> None:
        """Note that this process holds the file to commit this number."""
        if self.number < number - 1:
            with self._lock:
                self._empty(number - 1)

    def prepare(self, number: int, changes: Sequence[Changes]) -> None:
        """Drop what the commit of this number will change.

        What stays in here is true before and after it, so nobody needs to wait.
        """
        with self._lock:
            self._open = True
            self.turn += 1
            self._prepared = self.turn
            for keys, _ in changes:
                for key in keys:
                    self._drop(key)
            self.number = number

    def publish(self, changes: Sequence[Changes]) -> None:
        """Take over what was committed."""
        with self._lock:
            self._open = False
            # Else somebody else's commit came in between, perhaps to the same records.
            if self.turn == self._prepared:
                for keys, record in changes:
                    # The same record may have been put by one before it.
                    for key in keys:
                        self._drop(key)
                    if record is not None:
                        self._put(record)
            # Who began to read since may have read what was before.
            self.turn += 1

    def abandon(self) -> None:
        """Forget all: the commit failed, and its number may become another's."""
        with self._lock:
            self._empty(0)
            self._open = False

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
        self.turn += 1
        self.number = number


def _size(record: Session) -> int:
    return len(record.data_json) + len(record.metadata_json)
