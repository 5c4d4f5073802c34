"""Audits one file."""

import ast
import gc
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from dropzone.audit import allowing
from dropzone.audit.catalogue import MENTIONED, Values
from dropzone.audit.findings import Finding
from dropzone.audit.literals import is_suspicious, literals
from dropzone.audit.sources import Source, Unreadable, read
from dropzone.audit.statements import Found, follow
from dropzone.text import display

# Generated code nests far deeper than the 1,000 calls that Python allows by itself.
_DEPTH = 6000


_IMPORTS = re.compile(
    r"^[ \t]*(?:from[ \t]+[\w.]+[ \t]+import[ \t]*(?:\([^)]*\)|[^\n]*)"
    r"|import[ \t][^\n]*)",
    re.MULTILINE,
)
_WORD = re.compile(r"\w+|\*")


@dataclass(slots=True)
class Audited:
    """What is in one file.

    ``exports`` are the module's names that could make a client, ``imported`` all words
    of its import statements.
    """

    path: Path
    findings: list[Finding] = field(default_factory=list)
    allowed: int = 0
    exports: dict[str, Values] = field(default_factory=dict)
    imported: frozenset[str] = frozenset()


def audit_file(
    path: Path, shown: str, foreign: Mapping[str, Values] = MappingProxyType({})
) -> Audited:
    """Return what is in the file; what cannot be read is a finding.

    ``shown`` is how its path is told, ``foreign`` what other modules of the code base
    export, by dotted name.
    """
    audited = Audited(path)
    try:
        source = read(path)
        with _surroundings():
            _look(audited, source, shown, foreign)
    except Unreadable as error:
        found = Finding(shown, error.line, 1, "DZ001", str(error), error.line, 1)
        audited.findings = [found]
    except (RecursionError, MemoryError):
        found = Finding(shown, 1, 1, "DZ001", "it is nested too deeply", 1, 1)
        audited.findings = [found]
    return audited


def module_name(path: Path) -> tuple[str, str]:
    """Return the dotted names of a module and of the package around it."""
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    package = parts if path.name == "__init__.py" else parts[:-1]
    return ".".join(parts), ".".join(package)


def _look(
    audited: Audited, source: Source, shown: str, foreign: Mapping[str, Values]
) -> None:
    tree = _parsed(source)
    found: Found = {}
    if foreign or MENTIONED.search(source.text):
        _, package = module_name(audited.path)
        found, audited.exports = follow(tree, foreign, package)
    if is_suspicious(source.text):
        found |= {(node, rule): (told, "") for node, rule, told in literals(tree)}
    imports = " ".join(_IMPORTS.findall(source.text))
    audited.imported = frozenset(_WORD.findall(imports))
    comments = allowing.comments(source.text)
    shower = _Shower(source, shown)
    for (node, rule), (subject, within) in found.items():
        last = node.end_lineno or node.lineno
        allowing_it = [c for c in comments if c.allows(rule, node.lineno, last)]
        for comment in allowing_it:
            comment.used = True
        if allowing_it:
            audited.allowed += 1
        else:
            audited.findings.append(shower.finding(node, rule, subject, within))
    audited.findings += [
        shower.about(comment) for comment in comments if not comment.used
    ]


def _parsed(source: Source) -> ast.Module:
    """Return the syntax tree.

    Raises:
        Unreadable: this Python does not know the syntax.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source.text)
    except SyntaxError as error:
        line = source.place(max(error.lineno or 1, 1)).number
        raise Unreadable(error.msg or "invalid syntax", line) from None
    except ValueError as error:
        raise Unreadable(str(error)) from None


class _Shower:
    """Turns places in the code into places in the file."""

    def __init__(self, source: Source, shown: str) -> None:
        self._source = source
        self._shown = shown
        self._lines = source.text.split("\n")

    def finding(self, node: ast.expr, rule: str, subject: str, within: str) -> Finding:
        start = self._source.place(node.lineno)
        end = self._source.place(node.end_lineno or node.lineno)
        return Finding(
            self._shown,
            start.number,
            self._column(node.lineno, node.col_offset),
            rule,
            display(subject)[:120],
            end.number,
            self._column(node.end_lineno or node.lineno, node.end_col_offset or 0),
            within,
            start.cell,
        )

    def about(self, comment: allowing.Comment) -> Finding:
        """Return the finding for a comment that allows nothing."""
        place = self._source.place(comment.line)
        rule = "DZ003" if comment.wrong else "DZ002"
        told = comment.wrong or f"this comment ({', '.join(comment.rules)})"
        line = place.number
        return Finding(self._shown, line, 1, rule, told, line, 1, cell=place.cell)

    def _column(self, line: int, offset: int) -> int:
        """Return a column from 1 in characters; the tree counts bytes of UTF-8."""
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        if text.isascii():
            return offset + 1
        return (
            len(
                text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore")
            )
            + 1
        )


@contextmanager
def _surroundings() -> Iterator[None]:
    """Allow deep trees; trees hold no cycles, and looking for them takes a third."""
    before, collecting = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(before, _DEPTH))
    gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
        if collecting:
            gc.enable()
