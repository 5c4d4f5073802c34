"""CSV and TSV: every row as ``header: value, ...``, so that a row reads by itself."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain

from dropzone.extract import BINARY, Block, Extracted
from dropzone.extract.plain import decode
from dropzone.extract.rows import grouped

_DELIMITERS = ",\t;|"
_SAMPLE_LINES = 20
_HEADER_CHARACTERS = 80


def read(data: bytes, limit: int) -> Extracted:
    decoded = decode(data, limit)
    if decoded is None:
        return Extracted(notes=(BINARY,))
    text = decoded.text
    delimiter = _delimiter(text)
    if delimiter is None:
        return Extracted((Block(text),), {}, decoded.notes)
    try:
        blocks = tuple(grouped(_lines(text, delimiter), limit))
    except csv.Error:
        # A field of more than 128 KB or a stray quote: the text still says it all.
        blocks = (Block(text),)
    return Extracted(blocks, {}, decoded.notes)


def _delimiter(text: str) -> str | None:
    """Return the character that occurs on most of the first lines, if any does.

    csv.Sniffer is not used: its regular expressions take minutes on hostile input.
    """
    head = text[:65536].split("\n", _SAMPLE_LINES)[:_SAMPLE_LINES]
    lines = [line for line in head if line.strip()]
    best = max(_DELIMITERS, key=lambda sign: _rate(sign, lines))
    return best if _rate(best, lines)[0] * 2 > len(lines) else None


def _rate(sign: str, lines: Sequence[str]) -> tuple[int, bool, int]:
    """Rate by lines that have it, then evenness (a decimal comma is uneven), count."""
    counts = [line.count(sign) for line in lines]
    return len(counts) - counts.count(0), len(set(counts)) == 1, sum(counts)


def _lines(text: str, delimiter: str) -> Iterator[str]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    first = next(rows, [])
    names: Sequence[str] = ()
    if _is_header(first):
        names = [name.strip()[:_HEADER_CHARACTERS] for name in first]
        yield ", ".join(names)
    else:
        rows = chain([first], rows)  # type: ignore[assignment]
    for row in rows:
        if line := ", ".join(_cells(row, names)):
            yield line


def _cells(row: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    for index, cell in enumerate(row):
        if value := cell.strip():
            yield f"{names[index]}: {value}" if index < len(names) else value


def _is_header(row: Sequence[str]) -> bool:
    names = [cell.strip() for cell in row]
    plain = all(name and not name[0].isdigit() for name in names)
    return bool(names) and plain and len(set(names)) == len(names)
