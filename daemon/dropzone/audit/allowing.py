"""What is allowed: by comments in the code, and by a list with reasons.

The list is ``[[tool.dropzone.audit.allow]]`` in the nearest ``pyproject.toml`` at or
above the audited path: ``paths`` (patterns relative to that file), ``rules`` (ids or
their beginnings) and ``reason``. A comment is ``# dropzone: allow DZ101 reason``, on a
line of the code it allows or alone on the line above.
"""

import io
import re
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dropzone.audit import rules
from dropzone.errors import ConfigurationError

MARK = "dropzone: allow"
_COMMENT = re.compile(r"#\s*dropzone:\s*allow\b[:\s]*(.*)", re.DOTALL)
_RULES = re.compile(r"((?:DZ\d*)(?:\s*,\s*DZ\d*)*)\s*(.*)", re.IGNORECASE)
_TABLE = re.compile(r"^\s*\[\[\s*tool\s*\.\s*dropzone\s*\.\s*audit\s*\.\s*allow\s*\]\]")
_KEYS = {"paths", "rules", "reason"}
_HINT = 'An entry is: paths = ["src/db.py"], rules = ["DZ201"], reason = "..."'


@dataclass(slots=True)
class Comment:
    """An allowance in the code; ``wrong`` says why it allows nothing.

    ``first`` and ``last`` are the lines of code it stands for.
    """

    line: int
    first: int
    last: int
    rules: tuple[str, ...] = ()
    wrong: str = ""
    used: bool = False

    def allows(self, rule: str, line: int, end: int) -> bool:
        if self.wrong or end < self.first or line > self.last:
            return False
        return rule.startswith(self.rules)


@dataclass(eq=False)
class Entry:
    """An allowance in the list, and where it is written."""

    file: Path
    line: int
    paths: tuple[str, ...]
    rules: tuple[str, ...]
    used: bool = field(default=False, compare=False)

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        return [re.compile(_translated(pattern)) for pattern in self.paths]

    def allows(self, rule: str, path: Path) -> bool:
        """Return True when ``path``, absolute, may break ``rule``."""
        if not rule.startswith(self.rules):
            return False
        try:
            inside = path.relative_to(self.file.parent).as_posix()
        except ValueError:
            return False
        return any(pattern.fullmatch(inside) for pattern in self._patterns)

    def lies_within(self, folders: Sequence[Path]) -> bool:
        """Return True when everything that it could allow lies below ``folders``."""
        starts = [self.file.parent.joinpath(_fixed(pattern)) for pattern in self.paths]
        return all(
            any(start == one or one in start.parents for one in folders)
            for start in starts
        )


def comments(text: str) -> list[Comment]:
    """Return the allowances in the comments of a source that can be parsed."""
    if MARK not in text:
        return []
    found: list[Comment] = []
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (match := _COMMENT.match(token.string)):
            line = token.start[0]
            alone = not lines[line - 1][: token.start[1]].strip()
            found.append(_comment(match[1], line, line + 1 if alone else line))
    return found


def _comment(told: str, line: int, stands_for: int) -> Comment:
    match = _RULES.fullmatch(told.strip())
    names = [name.strip() for name in match[1].split(",")] if match else []
    wrong = rules.wrong(names)
    if match and not wrong and not match[2].strip():
        wrong = "the reason is missing"
    return Comment(line, line, stands_for, tuple(names), wrong)


def entries(start: Path) -> list[Entry]:
    """Return the list that holds for ``start``, absolute.

    Raises:
        ConfigurationError: names everything that is wrong in it, with its line.

    """
    folder = start if start.is_dir() else start.parent
    for one in (folder, *folder.parents):
        file = one / "pyproject.toml"
        if file.is_file() and (table := _table(file)) is not None:
            return _entries(file, table)
    return []


def _table(file: Path) -> Any:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}.") from None
    tool = tree.get("tool")
    ours = tool.get("dropzone") if isinstance(tool, dict) else None
    return ours.get("audit") if isinstance(ours, dict) else None


def _entries(file: Path, table: Any) -> list[Entry]:
    lines = [
        number
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1)
        if _TABLE.match(line)
    ]
    listed = table.get("allow", []) if isinstance(table, dict) else None
    if not isinstance(listed, list) or set(table) - {"allow"}:
        raise ConfigurationError(
            f"{file}: [tool.dropzone.audit] knows only the list 'allow'.", hint=_HINT
        )
    wrong, found = [], []
    for number, entry in enumerate(listed):
        line = lines[number] if number < len(lines) else 1
        problems = list(_problems(entry))
        wrong += [f"{file}, line {line}: {problem}" for problem in problems]
        if not problems:
            found.append(
                Entry(file, line, tuple(entry["paths"]), tuple(entry["rules"]))
            )
    if wrong:
        raise ConfigurationError("\n".join(wrong), hint=_HINT)
    return found


def _problems(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "an entry is a table with paths, rules and reason"
        return
    for key in sorted(set(entry) - _KEYS):
        yield f"there is no key {key!r}; known: paths, rules, reason"
    for key in ("paths", "rules"):
        value = entry.get(key)
        if not (
            isinstance(value, list) and value and all(isinstance(v, str) for v in value)
        ):
            yield f"{key} must be a list of texts"
        elif key == "rules" and (told := rules.wrong(value)):
            yield told
    reason = entry.get("reason")
    if not (isinstance(reason, str) and reason.strip()):
        yield "the reason is missing"


def _fixed(pattern: str) -> str:
    """Return the part of a pattern before its first wildcard, in whole names."""
    parts = pattern.split("/")
    wild = next((i for i, part in enumerate(parts) if re.search(r"[*?]", part)), None)
    return "/".join(parts if wild is None else parts[:wild])


def _translated(pattern: str) -> str:
    """Return a pattern as a regular expression.

    ``*`` and ``?`` stay within a name, ``**`` crosses folders; a folder stands for all
    that lies below it.
    """
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.rstrip("/"))
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(known.get(piece, re.escape(piece)) for piece in pieces) + "(?:/.*)?"
