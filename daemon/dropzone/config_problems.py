"""Tells what is wrong with the settings: which, where it was set, what would be right.

No secret is told, nor a text that could hold one.
"""

import difflib
import re
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from dropzone.config_file import File
from dropzone.errors import ConfigurationError
from dropzone.settings import Settings
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
        told = _sentence(problem["type"], place, problem["msg"])
        is_contradiction = problem["type"] == "value_error" and (
            not place or _model_at(place) is not None
        )
        # Without what was taken out, or could not be read, the rest may not fit.
        if is_contradiction and (
            not self.file.is_whole or self._wrong & set(re.findall(r"\w+", told))
        ):
            return
        told += _held(problem["type"], place, problem["input"])
        if place:
            self._of_key(".".join(place), told)
        else:
            key, _, told = told.partition(": ")
            self._of_key(key, told)

    def _of_key(self, key: str, told: str) -> None:
        source = origin_of(key, self.origins)
        line = 0
        if source == self._path:
            line = line_of(key, self.file.lines)
            source = f"{source}, line {line}"
        self._add(key, line or _LAST, source, told)

    def _add(self, key: str, line: int, source: str, told: str) -> None:
        self._wrong.add(key.rpartition(".")[2] or "settings")
        self.problems.append((line, f"{key or 'settings'} ({source}): {told}"))


def line_of(key: str, lines: Mapping[str, int]) -> int:
    """Return the line of a key, or of what is nearest above it."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _held(kind: str, place: tuple[str, ...], value: object) -> str:
    """Return what a wrong setting holds, unless that could be a secret."""
    model = _model_at(place[:-1])
    if kind == "extra_forbidden" or model is None or not place:
        return ""
    field = model.model_fields.get(place[-1])
    if field is None or not isinstance(value, (str, int, float)):
        return ""
    secret = SecretStr in (field.annotation, *typing.get_args(field.annotation))
    # A whole section may be written as one text, and an address may hold a password.
    if secret or _model_in(field.annotation) or "://" in str(value):
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


def _sentence(kind: str, place: tuple[str, ...], message: str) -> str:
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    model = _model_at(place[:-1])
    known = sorted(model.model_fields) if model else []
    near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
    told = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return f"there is no such setting; {told}"


def _model_at(place: tuple[str, ...]) -> type[BaseModel] | None:
    """Return the section of the settings at this place."""
    model: type[BaseModel] | None = Settings
    for part in place:
        if model is not None and not part.isdigit():
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
