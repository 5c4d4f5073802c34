"""What the pool and its processes tell each other, as values and as bytes.

A frame is the lengths of its two parts, a JSON header, and raw bytes (the vectors).
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dropzone.models import Chunk

_LENGTHS = struct.Struct("<QQ")
LENGTHS_BYTES = _LENGTHS.size
_BYTES_PER_VALUE = 2
#: What a parser does one after the other, and says how long each took.
PARTS = ("extract", "embed")


@dataclass(frozen=True, slots=True)
class ParseTask:
    """What to parse and how.

    ``fd`` is open for reading (and for nothing else: the parser could write through
    it) and stays the caller's to close; its offset is neither used nor moved.
    """

    fd: int
    doc_type: str
    max_characters: int = 20_000_000
    chunk_characters: int = 800
    chunk_overlap: int = 80
    model: str = "hash-v1"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The chunks of a document and their vectors.

    ``vectors`` holds ``dims`` little-endian float16 values per chunk, in order. No
    chunks means nothing to index; ``notes`` says why (see ``dropzone.extract``).
    """

    chunks: tuple[Chunk, ...]
    vectors: bytes
    dims: int
    metadata: Mapping[str, str]
    notes: tuple[str, ...]
    characters: int
    #: How long each of ``PARTS`` took.
    seconds: Mapping[str, float] = field(default_factory=dict)


def pack(header: Mapping[str, Any], body: bytes = b"") -> list[bytes]:
    """Return the buffers of one frame, to be sent one after the other."""
    encoded = json.dumps(header, ensure_ascii=False).encode("utf-8", "replace")
    return [_LENGTHS.pack(len(encoded), len(body)) + encoded, body]


def lengths(prefix: bytes) -> tuple[int, int]:
    """Return the lengths of header and body that the first bytes announce."""
    header, body = _LENGTHS.unpack(prefix)
    return header, body


def pack_task(task: ParseTask) -> list[bytes]:
    return pack(asdict(task))


def unpack_task(header: bytes, fd: int) -> ParseTask:
    return ParseTask(**{**json.loads(header), "fd": fd})


def pack_parsed(parsed: Parsed) -> list[bytes]:
    rows = [(c.text, c.start, c.end, c.page, c.heading) for c in parsed.chunks]
    header = {
        "chunks": rows,
        "dims": parsed.dims,
        "metadata": dict(parsed.metadata),
        "notes": parsed.notes,
        "characters": parsed.characters,
        "seconds": dict(parsed.seconds),
    }
    return pack(header, parsed.vectors)


def unpack_parsed(header: Mapping[str, Any], body: bytes) -> Parsed:
    """Return the value, checked: the sender may be in a hostile document's hands.

    Raises:
        ValueError: or TypeError or KeyError: it is not what ``pack_parsed`` makes.

    """
    chunks = tuple(
        Chunk(seq, _a(str, text), _a(int, start), _a(int, end), page, _a(str, heading))
        for seq, (text, start, end, page, heading) in enumerate(header["chunks"])
        if page is None or _a(int, page)
    )
    dims = _a(int, header["dims"])
    if len(body) != len(chunks) * dims * _BYTES_PER_VALUE:
        raise ValueError("one vector for each chunk was expected")
    metadata = {_a(str, k): _a(str, v) for k, v in header["metadata"].items()}
    notes = tuple(_a(str, note) for note in header["notes"])
    seconds = {part: _seconds(header["seconds"].get(part, 0.0)) for part in PARTS}
    characters = _a(int, header["characters"])
    return Parsed(chunks, body, dims, metadata, notes, characters, seconds)


def _seconds(value: Any) -> float:
    if type(value) is not float or not 0 <= value < math.inf:
        raise TypeError("seconds expected")
    return value


def _a(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value
