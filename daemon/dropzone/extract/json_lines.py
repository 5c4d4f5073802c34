"""JSON and JSON lines as ``path: value`` lines; what is not valid stays plain text."""

import json
from collections.abc import Iterator
from typing import Any

from dropzone.extract import BINARY, INVALID_JSON, Block, Extracted
from dropzone.extract.plain import Decoded, decode
from dropzone.extract.rows import grouped

# A parsed tree takes about ten times its text; above this the text itself is indexed.
_TREE_CHARACTERS = 8_000_000
_PATH_CHARACTERS = 200


def read(data: bytes, limit: int) -> Extracted:
    decoded = decode(data, limit)
    if decoded is None:
        return Extracted(notes=(BINARY,))
    if len(decoded.text) > _TREE_CHARACTERS:
        return Extracted((Block(decoded.text),), {}, decoded.notes)
    try:
        values = _parse(decoded.text)
    except (ValueError, RecursionError):
        return _as_text(decoded)
    lines = (line for value in values for line in _flatten(value))
    return Extracted(tuple(grouped(lines, limit)), {}, decoded.notes)


def _as_text(decoded: Decoded) -> Extracted:
    return Extracted((Block(decoded.text),), {}, (*decoded.notes, INVALID_JSON))


def _parse(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        return [json.loads(line) for line in lines]


def _flatten(value: Any) -> Iterator[str]:
    # A stack instead of recursion: depth is bounded by memory, not by the interpreter.
    waiting = [("", value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            inner = [(f"{path}.{key}" if path else key, v) for key, v in value.items()]
        elif isinstance(value, list):
            inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        else:
            yield f"{path[:_PATH_CHARACTERS]}: {_shown(value)}" if path else str(value)
            continue
        waiting += [(name[:_PATH_CHARACTERS], item) for name, item in reversed(inner)]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
