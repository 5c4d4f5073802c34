"""What is written about session records, one unit for each kind of change.

``changes`` tells the cache what to take over from the result. None as a result means
that the record was not as the caller thought: read it, and see why.
"""

import sqlite3
from typing import Any, ClassVar, Generic, TypeVar

from dropzone import queries
from dropzone.journal.session import COLUMNS, Session
from dropzone.journal.session_cache import Changes, Row
from dropzone.journal.writer import Unit

SQL = queries.load("dropzone.journal", "sessions_statements.sql")
SECURITY = "security"
_NOTHING: Changes = ((), None)

T = TypeVar("T")


class Work(Unit[T], Generic[T]):
    """A unit whose commit the cache is told of."""

    __slots__ = ()

    def changes(self) -> Changes:
        """Return what the cache must drop and put; asked once it is durable."""
        return _NOTHING


class Add(Work[bool]):
    """Insert the record unless ``limit`` are active already; True if it was."""

    __slots__ = ("limit", "record")
    single: ClassVar[bool] = True

    def __init__(self, record: Session, limit: int | None) -> None:
        super().__init__()
        self.record = record
        self.limit = limit

    def work(self, connection: sqlite3.Connection) -> bool:
        record = self.record
        row = (*record[:COLUMNS], record.last_activity, record.expires_at)
        if self.limit is None:
            connection.execute(SQL["add"], row)
            return True
        return connection.execute(SQL["add_below"], (*row, self.limit)).rowcount == 1

    def changes(self) -> Changes:
        return ((), self.record) if self.result else _NOTHING


class Change(Work[Session | None]):
    """Write new data over the version that ``record`` is."""

    __slots__ = ("record",)
    single: ClassVar[bool] = True

    def __init__(self, record: Session) -> None:
        super().__init__()
        self.record = record

    def work(self, connection: sqlite3.Connection) -> Session | None:
        new = self.record
        row = connection.execute(SQL["change"], (
            new.data_json, new.metadata_json, new.last_activity, new.last_activity,
            new.id, new.version - 1,
        )).fetchone()  # fmt: skip
        if row is None:
            return None
        return new.counted(*row)

    def changes(self) -> Changes:
        return (self.record.id,) if self.result is None else (), self.result


class Touch(Work[Row | None]):
    """Note activity and, with it, what ``then`` inserts."""

    __slots__ = ("cache", "digest", "key", "now", "then")

    def __init__(
        self,
        key: str,
        digest: bytes | None,
        now: float,
        then: tuple[str, Row] | None = None,
    ) -> None:
        super().__init__()
        self.key = key
        self.digest = digest
        self.now = now
        self.then = then

    def work(self, connection: sqlite3.Connection) -> Row | None:
        values = (self.now, self.key, self.digest)
        row: Row | None = connection.execute(SQL["touch"], values).fetchone()
        if row is not None and self.then is not None:
            connection.execute(SQL[self.then[0]], self.then[1])
        return row

    def changes(self) -> Changes:
        # The record itself may be megabytes: memory gets it at the next read.
        return (self.key,), None


class Rewrite(Work[Session | None]):
    """One of the statements that return the whole record: end, lease and so on."""

    __slots__ = ("name", "values")
    single: ClassVar[bool] = True

    def __init__(self, name: str, **values: Any) -> None:
        super().__init__()
        self.name = name
        self.values = values

    def work(self, connection: sqlite3.Connection) -> Session | None:
        row = connection.execute(SQL[self.name], self.values).fetchone()
        return None if row is None else Session.of(row)

    def changes(self) -> Changes:
        return (self.values["id"],), self.result


class Refuse(Work[Row | None]):
    """Count a wrong token and record it as an event; the failures and the lock."""

    __slots__ = ("key", "limit", "now")

    def __init__(self, key: str, limit: int, now: float) -> None:
        super().__init__()
        self.key = key
        self.limit = limit
        self.now = now

    def work(self, connection: sqlite3.Connection) -> Row | None:
        values = {"id": self.key, "limit": self.limit}
        row: Row | None = connection.execute(SQL["refuse"], values).fetchone()
        if row is not None:
            told = f'{{"failures":{row[0]},"locked":{"true" if row[1] else "false"}}}'
            event = (self.key, self.now, SECURITY, told)
            connection.execute(SQL["record"], event)
        return row

    def changes(self) -> Changes:
        return (self.key,), None


class Clean(Work[tuple[list[str], int]]):
    """End one batch of what is due or idle; the ids, and how many it looked at.

    ``before`` is the last activity, in epoch seconds, that is too long ago.
    """

    __slots__ = ("batch", "before", "now")

    def __init__(self, now: float, before: float | None, batch: int) -> None:
        super().__init__()
        self.now = now
        self.before = before
        self.batch = batch

    def work(self, connection: sqlite3.Connection) -> tuple[list[str], int]:
        values = {"now": self.now, "before": self.before, "batch": self.batch}
        ended: list[str] = []
        put_off = 0
        for kind in ("due", "idle") if self.before is not None else ("due",):
            put_off += connection.execute(SQL[f"put_off_{kind}"], values).rowcount
            rows = connection.execute(SQL[f"end_{kind}"], values).fetchall()
            ended += [row[0] for row in rows]
        return ended, len(ended) + put_off

    def changes(self) -> Changes:
        return self.result[0] if self.result else (), None


class Forget(Work[int]):
    """Delete one batch of records that ended ``before``; how many they were."""

    __slots__ = ("batch", "before")

    def __init__(self, before: float, batch: int) -> None:
        super().__init__()
        self.before = before
        self.batch = batch

    def work(self, connection: sqlite3.Connection) -> int:
        values = {"before": self.before, "batch": self.batch}
        return connection.execute(SQL["forget"], values).rowcount
