"""Rows on their way into a table by binary COPY, vectors in wire format."""
# ruff: noqa: TID251 - one of the modules that own the Postgres driver.

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from psycopg import Cursor, sql
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from dropzone.errors import DocumentRejected, ServiceUnavailable
from dropzone.sessions.postgres_connection import Connection

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any] | Sequence[Any]
OnConflict: TypeAlias = Literal["fail", "skip", "replace"]

_ROWS_AT_ONCE = 256
#: The numbers of a vector: as its bytes are given, and as they are sent.
_NUMBERS = {"vector": ("<f4", ">f4"), "halfvec": ("<f2", ">f2")}
_MISFITS = (
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    LookupError,
    struct.error,
)
_COLUMNS = """
SELECT attribute.attname AS name, attribute.atttypid AS oid, type.typname AS type
FROM pg_attribute AS attribute
JOIN pg_type AS type ON type.oid = attribute.atttypid
WHERE attribute.attrelid = %s::regclass AND attribute.attnum > 0
    AND NOT attribute.attisdropped AND attribute.attgenerated = ''
ORDER BY attribute.attnum
"""
_KEY = """
SELECT attribute.attname AS name
FROM pg_index AS index
JOIN pg_attribute AS attribute
    ON attribute.attrelid = index.indrelid AND attribute.attnum = ANY (index.indkey)
WHERE index.indrelid = %s::regclass AND index.indisprimary
"""


class Commit(Protocol):
    """Runs a function in a transaction of its own, repeated and committed once."""

    def __call__(self, function: Callable[[Connection], int]) -> int: ...


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    oid: int
    type: str


class BulkInsert:
    """One insert into one table."""

    def __init__(
        self, table: str, columns: Sequence[str] | None, on_conflict: OnConflict
    ) -> None:
        self._table = sql.Identifier(*table.split("."))
        self._name = table
        self._columns = None if columns is None else list(columns)
        self._on_conflict = on_conflict

    def at_once(self, rows: Iterable[Row], commit: Commit) -> int:
        """Insert all rows in one transaction."""
        first = iter(rows)
        again = first is not rows
        begun = False

        def insert(connection: Connection) -> int:
            nonlocal begun
            if begun and not again:
                raise ServiceUnavailable(
                    "postgres",
                    f"The connection was lost in the middle of the rows for "
                    f"{self._name}, which cannot be read twice; none is inserted.",
                    hint="Pass a list instead of a generator, or set rows_per_commit.",
                )
            source, begun = (iter(rows) if begun else first), True
            return self._insert(connection, source, 0)

        return commit(insert)

    def in_groups(self, rows: Iterable[Row], size: int, commit: Commit) -> int:
        """Insert ``size`` rows in each transaction."""
        inserted = sent = 0
        source = iter(rows)
        while group := list(islice(source, size)):
            try:
                inserted += commit(partial(self._insert, rows=group, sent=sent))
            except DocumentRejected as error:
                told = f"{error.message} The {sent} rows before are inserted."
                raise DocumentRejected(told, hint=error.hint) from error.__cause__
            sent += len(group)
        return inserted

    def _insert(self, connection: Connection, rows: Iterable[Row], sent: int) -> int:
        source = iter(rows)
        first = next(source, None)
        if first is None:
            return 0
        columns = self._described(connection, first)
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        every = chain((first,), source)
        if self._on_conflict == "fail":
            return _copy(connection, self._table, names, columns, every, sent)
        aside = sql.Identifier("dropzone_bulk_insert")
        connection.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS "
                "SELECT {} FROM {} WITH NO DATA"
            ).format(aside, names, self._table)
        )
        _copy(connection, aside, names, columns, every, sent)
        return connection.execute(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT {}").format(
                self._table, names, names, aside, self._settled(connection, columns)
            )
        ).rowcount

    def _described(self, connection: Connection, first: Row) -> list[_Column]:
        found = {
            row["name"]: _Column(**row)
            for row in connection.execute(_COLUMNS, [self._table.as_string(None)])
        }
        wanted = self._columns
        if wanted is None:
            wanted = list(first) if isinstance(first, Mapping) else list(found)
        if unknown := [name for name in wanted if name not in found]:
            raise ValueError(
                f"{self._name} has no column {unknown[0]!r}; it has {', '.join(found)}."
            )
        return [found[name] for name in wanted]

    def _settled(
        self, connection: Connection, columns: Sequence[_Column]
    ) -> sql.Composable:
        if self._on_conflict == "skip":
            return sql.SQL("DO NOTHING")
        rows = connection.execute(_KEY, [self._table.as_string(None)])
        key = [row["name"] for row in rows]
        if not key:
            raise ValueError(f"{self._name} has no primary key to replace rows by.")
        changed = [column.name for column in columns if column.name not in key]
        keys = sql.SQL(", ").join(map(sql.Identifier, key))
        if not changed:
            return sql.SQL("({}) DO NOTHING").format(keys)
        sets = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
            for name in changed
        )
        return sql.SQL("({}) DO UPDATE SET {}").format(keys, sets)


def _copy(
    connection: Connection,
    table: sql.Identifier,
    names: sql.Composable,
    columns: Sequence[_Column],
    rows: Iterable[Row],
    sent: int,
) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, names)
    with connection.cursor() as cursor:
        _send_vectors_raw(cursor, columns)
        with cursor.copy(statement) as copy:
            copy.set_types([column.oid for column in columns])
            write = copy.write_row
            for number, block in _blocks(rows, sent):
                for at, row in enumerate(_fitting(block, columns, number), number + 1):
                    try:
                        write(row)
                    except _MISFITS as error:
                        raise _misfit(f"Row {at}", columns, error) from error
        return cursor.rowcount


def _fitting(
    block: list[Row], columns: Sequence[_Column], number: int
) -> list[list[Any]]:
    try:
        return _encoded(block, columns)
    except _MISFITS as error:
        where = f"One of the rows {number + 1} to {number + len(block)}"
        raise _misfit(where, columns, error) from error


def _misfit(
    where: str, columns: Sequence[_Column], error: Exception
) -> DocumentRejected:
    named = ", ".join(f"{column.name} {column.type}" for column in columns)
    told = f"{type(error).__name__}: {error}"
    return DocumentRejected(f"{where} does not fit the columns ({named}). {told}")


def _blocks(rows: Iterable[Row], sent: int) -> Iterator[tuple[int, list[Row]]]:
    source = iter(rows)
    while block := list(islice(source, _ROWS_AT_ONCE)):
        yield sent, block
        sent += len(block)


def _encoded(block: list[Row], columns: Sequence[_Column]) -> list[list[Any]]:
    """Return the values of each row in the order of the columns, vectors as bytes."""
    names = [column.name for column in columns]
    rows = [
        [row[name] for name in names] if isinstance(row, Mapping) else list(row)
        for row in block
    ]
    for place, column in enumerate(columns):
        if column.type in _NUMBERS:
            given = [row[place] for row in rows]
            for row, wire in zip(rows, _wires(given, column.type), strict=True):
                row[place] = wire
    return rows


def _wires(vectors: list[Any], kind: str) -> Sequence[bytes | None]:
    """Return vectors in pgvector's binary format; a None stays one."""
    given, sent = _NUMBERS[kind]
    try:
        # All at once, where they are alike: a tenth of the time.
        table = np.asarray(vectors)
        if table.ndim == 2 and table.dtype.kind in "fiu":  # noqa: PLR2004 rows, dims
            return _rows_of(table, sent)
    except ValueError:
        pass
    return [None if one is None else _wire(one, given, sent) for one in vectors]


def _wire(vector: Any, given: str, sent: str) -> bytes:
    if isinstance(vector, (bytes, bytearray, memoryview)):
        numbers = np.frombuffer(vector, given)
    elif hasattr(vector, "to_numpy"):
        numbers = vector.to_numpy()
    else:
        numbers = np.asarray(vector, dtype="f8")
    if numbers.ndim != 1:
        raise ValueError("a vector is a list of numbers, of shape (dims,)")
    (wire,) = _rows_of(numbers.reshape(1, -1), sent)
    return wire


def _rows_of(table: Any, sent: str) -> list[bytes]:
    head = struct.pack(">HH", table.shape[1], 0)
    # Too large for the column's numbers becomes infinite, which the server refuses.
    with np.errstate(over="ignore"):
        data = table.astype(sent).tobytes()
    size = len(data) // len(table)
    return [head + data[at : at + size] for at in range(0, len(data), size)]


class _RawDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> Buffer | None:
        return obj


def _send_vectors_raw(cursor: "Cursor[Any]", columns: Sequence[_Column]) -> None:
    """Let bytes pass as they are into vector columns, for this cursor alone."""
    for column in columns:
        if column.type in _NUMBERS:
            raw = type("RawDumper", (_RawDumper,), {"oid": column.oid})
            cursor.adapters.register_dumper(bytes, raw)
