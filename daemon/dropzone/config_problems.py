"""Tells what is wrong with the settings: which, where it was set, what would be right.

No secret is told, nor a text that could hold one.
"""

import re
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from dropzone.config_file import File
from dropzone.config_words import meant, model_at, model_in
from dropzone.errors import ConfigurationError
from dropzone.text import display

# What is not of the file is told after what is.
_LAST = 1_000_000


class Told:
    """What is wrong with the settings, each with where it was set."""

    def __init__(self, path: str, file: File, origins: Mapping[str, str]) -> None:
        self.file = file
        self.problems: list[tuple[int, str]] = []
        self._path = path
        self.origins = origins
        self._wrong: set[str] = set()
        self._keys: set[str] = set()
        self._meant: set[str] = set()

    def text(self) -> str:
        """Return a line for each problem, those of the file first and in its order."""
        return "\n".join(line for _, line in sorted(self.problems, key=lambda p: p[0]))

    def of_file(self) -> None:
        for key, line, told in self.file.problems:
            self._add(key, line, f"{self._path}, line {line}", told)
        for key in ("host", "port", "database", "user"):
            both = {"postgres.url", f"postgres.{key}"}
            if both <= self.file.lines.keys():
                told = "postgres.url says it too; leave one of them out"
                self._of_key(f"postgres.{key}", told)

    def of_secret(self, key: str, error: ConfigurationError) -> None:
        self._wrong.add(key.rpartition(".")[2])
        told = f"{error.message} {error.hint}".strip()
        self.problems.append((_LAST, f"{key}: {told}"))

    def of_setting(self, problem: Any, place: tuple[str, ...]) -> None:
        key, kind = ".".join(place), problem["type"]
        if self._follows(kind, key, problem["input"]):
            return
        found = meant(problem, place)
        told = found.told
        is_contradiction = kind == "value_error" and (
            not place or model_at(place) is not None
        )
        # Without what was taken out, or could not be read, the rest may not fit.
        if is_contradiction and (
            not self.file.is_whole or self._wrong & set(re.findall(r"\w+", told))
        ):
            return
        told += _held(kind, place, problem["input"])
        if not place:
            key, _, told = told.partition(": ")
        self._of_key(key, told)
        self._meant.update(found.keys)
        self._wrong.update(key.rpartition(".")[2] for key in found.keys)

    def _follows(self, kind: str, key: str, value: object) -> bool:
        """Return whether a problem is only what came of another one, told already."""
        if kind == "missing":
            return key in self._meant or key in self._keys
        # What is wrong with one item makes pydantic count it out.
        return kind == "too_short" and bool(value)

    def _of_key(self, key: str, told: str) -> None:
        source = origin_of(key, self.origins)
        line = 0
        if source == self._path:
            line = line_of(key, self.file.lines)
            source = f"{source}, line {line}"
        self._add(key, line or _LAST, source, told)

    def _add(self, key: str, line: int, source: str, told: str) -> None:
        self._wrong.add(key.rpartition(".")[2] or "settings")
        self._keys.add(key)
        self.problems.append((line, f"{key or 'settings'} ({source}): {told}"))


def line_of(key: str, lines: Mapping[str, int]) -> int:
    """Return the line of a key, or of what is nearest above it."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _held(kind: str, place: tuple[str, ...], value: object) -> str:
    """Return what a wrong setting holds, unless that could be a secret."""
    model = model_at(place[:-1])
    if kind == "extra_forbidden" or model is None or not place:
        return ""
    field = model.model_fields.get(place[-1])
    if field is None or not isinstance(value, (str, int, float)):
        return ""
    secret = SecretStr in (field.annotation, *typing.get_args(field.annotation))
    # A whole section may be written as one text, and an address may hold a password.
    if secret or model_in(field.annotation) or "://" in str(value):
        return ""
    return f"; it holds {display(str(value))[:100]!r}"


def origin_of(key: str, origins: Mapping[str, str]) -> str:
    """Return where the value of this setting, or of one below it, came from."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        if source := origins.get(".".join(parts[:length])):
            return source
    inside = (source for name, source in origins.items() if name.startswith(f"{key}."))
    return next(inside, "default")
