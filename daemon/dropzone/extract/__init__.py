"""Turns a file's bytes into blocks of clean text: one row per format, one reader each.

Importing this package is cheap; a reader and its parser are imported when the first
file of that format arrives.
"""

import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dropzone.text import clean, composed

# What a note in ``Extracted.notes`` says; the words are stored and shown.
BINARY = "binary"
NO_TEXT = "no_text"
PARTIAL = "partial"
TRUNCATED = "truncated_text"
INVALID_JSON = "invalid_json"


class _Format(NamedTuple):
    doc_type: str
    extensions: tuple[str, ...]
    reader: str


# A new format is one row here and a function ``reader(data, limit) -> Extracted``.
_FORMATS = (
    _Format("txt", ("txt", "text", "log"), "plain.read"),
    _Format("md", ("md", "markdown"), "markdown.read"),
    _Format("json", ("json", "jsonl", "ndjson"), "json_lines.read"),
    _Format("csv", ("csv", "tsv"), "table.read"),
    _Format("html", ("html", "htm", "xhtml"), "html.read"),
    _Format("pdf", ("pdf",), "pdf.read"),
    _Format("docx", ("docx",), "docx.read"),
)
_BY_EXTENSION = {name: row.doc_type for row in _FORMATS for name in row.extensions}
_READERS = {row.doc_type: row.reader for row in _FORMATS}
_PLAIN_EXTENSION = re.compile(rb"[a-z0-9]{1,16}")
_METADATA_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Block:
    """A run of text under one heading (its own heading line included), on one page."""

    text: str
    page: int | None = None
    heading: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extracted:
    """A document's text.

    No blocks means there is nothing to index, and ``notes`` says why: ``binary`` (not
    the text its name promises) or ``no_text`` (a scan, or empty).
    """

    blocks: tuple[Block, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def doc_type_of(name: bytes) -> str:
    """Return the format a file name promises, or its plain extension, or ``bin``."""
    extension = os.path.splitext(name)[1][1:].lower()
    if not _PLAIN_EXTENSION.fullmatch(extension):
        return "bin"
    plain = extension.decode("ascii")
    return _BY_EXTENSION.get(plain, plain)


def is_supported(doc_type: str) -> bool:
    return doc_type in _READERS


def read(data: bytes, doc_type: str, max_characters: int) -> Extracted:
    """Extract the text of ``data``; runs foreign parsers, so only in a worker.

    Raises:
        DocumentRejected: the document can never be read (password, damage).

    """
    module, function = _READERS[doc_type].split(".")
    reader: Callable[[bytes, int], Extracted] = getattr(
        importlib.import_module(f"{__name__}.{module}"), function
    )
    found = reader(data, max_characters)
    blocks, cut = _within(_cleaned(found.blocks), max_characters)
    notes = [*found.notes]
    if cut:
        notes.append(TRUNCATED)
    if not blocks and BINARY not in notes:
        notes.append(NO_TEXT)
    metadata = {
        clean(key): composed(clean(value)[:_METADATA_CHARACTERS]).strip()
        for key, value in found.metadata.items()
    }
    kept = {key: value for key, value in metadata.items() if value}
    return Extracted(blocks, kept, tuple(dict.fromkeys(notes)))


def _cleaned(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        # One form of each letter, so that words are found however they are written.
        if text := composed(clean(block.text)).strip():
            heading = tuple(composed(clean(part)).strip() for part in block.heading)
            yield replace(block, text=text, heading=heading)


def _within(blocks: Iterable[Block], limit: int) -> tuple[tuple[Block, ...], bool]:
    kept = []
    left = limit
    for block in blocks:
        if len(block.text) > left:
            if rest := block.text[:left].rstrip():
                kept.append(replace(block, text=rest))
            return tuple(kept), True
        kept.append(block)
        left -= len(block.text)
    return tuple(kept), False
