"""Finds the Python files below a path, and reads them as Python would."""

import io
import json
import os
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SKIPPED = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox"}
    | {".nox", ".eggs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    | {"site-packages", "__pypackages__", ".ipynb_checkpoints", ".direnv"}
)
_SUFFIXES = (".py", ".pyw", ".ipynb")
LARGEST = 8_000_000


class Unreadable(Exception):
    """The file is no Python; the message says why, ``line`` where, from 1."""

    def __init__(self, why: str, line: int = 1) -> None:
        super().__init__(why)
        self.line = line


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line of the source lies in the file; ``cell`` is 0 but in notebooks."""

    number: int
    cell: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """The code of a file; ``lines`` tells where each comes from, if not the same."""

    text: str
    lines: list[Line] | None = None

    def place(self, line: int) -> Line:
        """Return where line ``line`` of the code, from 1, lies in the file."""
        if self.lines is None:
            return Line(line)
        return self.lines[line - 1] if line <= len(self.lines) else Line(1)


def files(path: Path) -> Iterator[Path]:
    """Yield the files to audit, in order; a file that is named counts as Python.

    Raises:
        OSError: ``path`` cannot be read. Folders below it that cannot be are skipped.

    """
    if not path.is_dir():
        path.stat()
        yield path
        return
    os.scandir(path).close()
    for folder, inside, names in os.walk(path):
        inside[:] = sorted(name for name in inside if not _is_skipped(folder, name))
        for name in sorted(names):
            whole = Path(folder, name)
            # A pipe with such a name would never end.
            if name.endswith(_SUFFIXES) and whole.is_file():
                yield whole


def _is_skipped(folder: str, name: str) -> bool:
    return name in _SKIPPED or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def read(path: Path) -> Source:
    """Return the code of a file.

    Raises:
        Unreadable: it is too large, or not in the encoding it claims.

    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise Unreadable(f"{error.strerror}") from None
    if len(raw) > LARGEST:
        raise Unreadable(f"it is larger than {LARGEST // 1_000_000} MB")
    if path.suffix == ".ipynb":
        return _notebook(raw)
    return Source(_decoded(raw))


def _decoded(raw: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        with io.TextIOWrapper(io.BytesIO(raw), encoding) as text:
            return text.read()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Unreadable(f"it is not {error.encoding}", line) from None
    except (SyntaxError, LookupError, ValueError, OSError) as error:
        raise Unreadable(str(error)) from None


def _notebook(raw: bytes) -> Source:
    """Return the code cells one after the other, without the magic commands."""
    try:
        text = raw.decode("utf-8-sig")
        tree = json.loads(text)
        cells = [
            (number, _lines(cell.get("source", "")))
            for number, cell in enumerate(tree["cells"], 1)
            if cell.get("cell_type") == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unreadable("it is not a notebook of format 4") from None
    code: list[str] = []
    places: list[Line] = []
    position = 0
    for number, lines in cells:
        foreign = bool(lines) and lines[0].startswith("%%")
        for line in lines:
            position = _position(text, line, position)
            places.append(Line(text.count("\n", 0, position) + 1, number))
            code.append("" if foreign else _without_magic(line))
    return Source("\n".join(code), places)


def _position(text: str, line: str, start: int) -> int:
    """Return where this line of code is written in the notebook, after ``start``."""
    for ascii_only in (False, True):
        written = json.dumps(line, ensure_ascii=ascii_only)[:-1]
        if (found := text.find(written, start)) >= 0:
            return found + len(written)
    return start


def _lines(source: Any) -> list[str]:
    whole = source if isinstance(source, str) else "".join(source)
    return whole.splitlines()


def _without_magic(line: str) -> str:
    bare = line.lstrip()
    if bare.startswith(("%", "!", "?")) or line.rstrip().endswith("?"):
        return line[: len(line) - len(bare)] + "pass"
    return line
