"""Search over the indexed chunks: words first, vectors beside them, ranks fused."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from dropzone import queries
from dropzone.embed import Embedder
from dropzone.errors import UsageError
from dropzone.sessions.postgres import PostgresSession, half_vectors
from dropzone.sessions.postgres_connection import Connection
from dropzone.text import clean, composed, display, forms

SQL = queries.load("dropzone", "sql/search.sql")

Mode = Literal["hybrid", "vector", "text"]
Match = Literal["text", "vector", "both"]
Place = tuple[int, int]

_MOST_HITS = 1000
_PER_DOCUMENT = 3
_FEW_WORDS = 2
# Reciprocal rank fusion: a hit counts weight / (_K + rank). With the usual 60 the
# better list drowns in the worse one.
_K = 10
# What is less similar is no match. A model that compares words reaches 0.11 when one
# word of a query falls on the place of another word, which one chunk in ten does.
_LEAST_SIMILARITY = 0.1
_LEAST_LEXICAL_SIMILARITY = 0.15
_ASCII, _BACKSLASH = 0x80, 0x5C
# 48 bits of milliseconds are in an id.
_LAST_MILLIS = 2**48 - 1
_LAST_MOMENT = _LAST_MILLIS / 1000
_START, _STOP = "\x02", "\x03"
_QUOTED = re.compile(r'"([^"]+)"')
# Names of things rather than words: --option, snake_case, camelCase, v1.2, a/b.
_IDENTIFIER = re.compile(r"(?<!\w)--?\w|\w[_./:\\]\w|[a-z][A-Z]|[A-Za-z]\d|\d[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk that answers the query.

    ``name`` is for people, ``path`` the bytes of the path dropped last. ``snippet``
    is plain text; ``marks`` are the (start, end) of the matching words in it.
    ``job`` is the drop that brought it last. ``score`` compares hits of one search.
    """

    document_id: int
    seq: int
    collection: str
    name: str
    path: bytes
    zone: str
    job: str
    s3_key: str
    sha256: str
    page: int | None
    heading: str
    snippet: str
    marks: tuple[tuple[int, int], ...]
    score: float
    matched_by: Match
    #: What persons said of the file, text by name.
    given: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Query:
    """A query taken apart; ``words`` and ``phrases`` are texts of tsqueries."""

    text: str
    words: str | None
    phrases: str | None
    exact: bool


@dataclass(frozen=True, slots=True)
class Where:
    """What documents are searched: all that fit what is not None.

    ``name`` is part of the path, in letters of any case (A to Z) and any Unicode form,
    ``since`` and ``until`` are times of a claim (epoch). ``given`` is what a person
    said of the file, as NAME=VALUE, or NAME alone for any value.
    """

    collection: str | None = None
    zone: str | None = None
    doc_type: str | None = None
    name: str | None = None
    since: float | None = None
    until: float | None = None
    given: str | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what the statements take."""
        given_name, sign, value = (self.given or "").partition("=")
        names = None if self.name is None else map(_as_shown, forms(self.name))
        collection = self.collection
        of_paths = (self.zone, self.name, self.since, self.until)
        return {
            "collections": None if collection is None else forms(clean(collection)),
            "doc_type": _cleaned(self.doc_type),
            "given_name": clean(given_name) if given_name else None,
            "given_value": clean(value) if sign else None,
            "of_paths": any(one is not None for one in of_paths),
            "zone": _cleaned(self.zone),
            "names": None if names is None else list(names),
            "since": _first_id(self.since or 0.0),
            "until": _first_id(_LAST_MOMENT if self.until is None else self.until),
        }


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _as_shown(name: str) -> str:
    """Return part of a path as Postgres' ``encode(path, 'escape')`` has it."""
    return "".join(
        chr(byte) if byte < _ASCII and byte != _BACKSLASH and byte else _escaped(byte)
        for byte in name.encode("utf-8", "surrogateescape").lower()
    )


def _escaped(byte: int) -> str:
    return "\\\\" if byte == _BACKSLASH else f"\\{byte:03o}"


def _first_id(moment: float) -> str:
    """Return what comes before every job's id that was made from that moment on."""
    millis = int(min(max(moment, 0.0), _LAST_MOMENT) * 1000)
    return f"{millis:012x}" + "0" * 20


class Search:
    """Searches one database with one model; vectors of other models are not seen.

    ``lexical`` says that the model itself only compares words (as ``hash-v1``), so
    that its opinion adds little to that of the full-text index. A server that is
    silent for ``patience`` seconds is given up.
    """

    def __init__(
        self,
        postgres: PostgresSession,
        embedder: Embedder,
        *,
        lexical: bool = True,
        patience: float | None = None,
    ) -> None:
        self._patience = patience
        self._postgres = postgres
        self._embedder = embedder
        self._lexical = lexical

    def search(
        self,
        text: str,
        *,
        collection: str | None = None,
        limit: int = 10,
        mode: Mode = "hybrid",
        where: Where | None = None,
    ) -> list[Hit]:
        """Return the best chunks, best first, at most three of one document.

        A chunk with any of the words is found; words in double quotes must occur
        together. Superseded documents are left out, and what does not fit ``where``.

        Raises:
            UsageError: the query is empty, or ``mode`` or ``limit`` make no sense.
            ServiceUnavailable: Postgres cannot be asked; nothing is repeated here.

        """
        plain = composed(clean(text)).strip()
        if not plain:
            raise UsageError("The query is empty.", hint="Give at least one word.")
        if mode not in get_args(Mode):
            raise UsageError(f"There is no search mode {mode!r}.")
        if not 1 <= limit <= _MOST_HITS:
            raise UsageError(f"The limit must be between 1 and {_MOST_HITS}.")
        where = where or Where(collection=collection)
        scope = {**where.parameters(), "limit": max(50, limit * 5)}
        with self._postgres.connection(patience=self._patience) as connection:
            query = _parse(connection, plain)
            scope |= {"words": query.words, "phrases": query.phrases}
            by_text = _by_text(connection, query, scope) if mode != "vector" else []
            by_vector = (
                self._by_vector(connection, query, scope) if mode != "text" else []
            )
            fused = _fuse(by_text, by_vector, self._weights(query))
            best = list(_spread(fused, limit))
            return _show(connection, query, best, set(by_text), set(by_vector))

    def _by_vector(
        self, connection: Connection, query: _Query, scope: Mapping[str, Any]
    ) -> list[Place]:
        vector = self._embedder.embed_query(query.text)
        if not vector.any():
            return []
        data = vector.astype("<f2").tobytes()
        parameters = {
            **scope,
            "vector": half_vectors(data, len(vector))[0],
            "fingerprint": self._embedder.fingerprint,
            "floor": (
                _LEAST_LEXICAL_SIMILARITY if self._lexical else _LEAST_SIMILARITY
            ),
        }
        return _places(connection.execute(SQL["by_vector"], parameters))

    def _weights(self, query: _Query) -> tuple[float, float]:
        if self._lexical:
            return (5.0, 1.0) if query.exact else (3.0, 1.0)
        return (3.0, 1.0) if query.exact else (1.0, 2.0)


def _parse(connection: Connection, text: str) -> _Query:
    quoted = _QUOTED.findall(text)
    phrases = _value(connection, "phrases", quoted) if quoted else None
    few = len(text.split()) <= _FEW_WORDS
    exact = bool(quoted) or few or _IDENTIFIER.search(text) is not None
    return _Query(text, _value(connection, "lexemes", text), phrases, exact)


def _value(connection: Connection, name: str, parameter: object) -> str | None:
    row = connection.execute(SQL[name], [parameter]).fetchone()
    return next(iter(row.values())) if row else None


def _by_text(
    connection: Connection, query: _Query, scope: Mapping[str, Any]
) -> list[Place]:
    if query.words is not None:
        return _places(connection.execute(SQL["by_words"], scope))
    bare = query.text.replace('"', "").strip()
    if not bare:
        return []
    escaped = re.sub(r"([\\%_])", r"\\\1", bare)
    parameters = {**scope, "pattern": f"%{escaped}%"}
    return _places(connection.execute(SQL["by_substring"], parameters))


def _places(rows: Iterable[Mapping[str, Any]]) -> list[Place]:
    return [(row["document_id"], row["seq"]) for row in rows]


def _fuse(
    by_text: Sequence[Place], by_vector: Sequence[Place], weights: tuple[float, float]
) -> list[tuple[Place, float]]:
    """Return the places of both lists, best first, with their scores."""
    scores: Counter[Place] = Counter()
    for places, weight in zip((by_text, by_vector), weights, strict=True):
        for rank, place in enumerate(places, 1):
            scores[place] += weight / (_K + rank)  # type: ignore[assignment]
    return sorted(scores.items(), key=lambda item: (-item[1], -item[0][0], item[0][1]))


def _spread(
    fused: Iterable[tuple[Place, float]], limit: int
) -> Iterator[tuple[Place, float]]:
    """Yield up to ``limit``, but no document more often than three times."""
    seen: Counter[int] = Counter()
    for place, score in fused:
        seen[place[0]] += 1
        if seen[place[0]] > _PER_DOCUMENT:
            continue
        yield place, score
        limit -= 1
        if not limit:
            return


def _show(
    connection: Connection,
    query: _Query,
    best: Sequence[tuple[Place, float]],
    by_text: set[Place],
    by_vector: set[Place],
) -> list[Hit]:
    scores = dict(best)
    parameters = {
        "words": query.words,
        "documents": [document for (document, _), _ in best],
        "seqs": [seq for (_, seq), _ in best],
    }
    hits = []
    for row in connection.execute(SQL["show"], parameters):
        place = (row["document_id"], row["seq"])
        snippet, marks = unmark(row.pop("snippet"))
        matched: Match = "text" if place in by_text else "vector"
        if place in by_text and place in by_vector:
            matched = "both"
        row["path"] = bytes(row["path"])
        row["name"] = display(os.path.basename(row["path"]))
        hits.append(
            Hit(
                **row,
                snippet=snippet,
                marks=marks,
                score=scores[place],
                matched_by=matched,
            )
        )
    return hits


def unmark(marked: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the text without its control characters, and where they marked it."""
    pieces: list[str] = []
    marks: list[tuple[int, int]] = []
    length = 0
    for index, part in enumerate(marked.split(_START)):
        inside, stop, after = part.partition(_STOP)
        if index and stop:
            marks.append((length, length + len(inside)))
        pieces += [inside, after]
        length += len(inside) + len(after)
    return "".join(pieces), tuple(marks)
