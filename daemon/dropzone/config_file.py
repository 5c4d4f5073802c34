"""Reads the settings file: its tree, on which line each key stands, what is wrong."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dropzone.errors import ConfigurationError

# What YAML's errors quote may be a password that begins with one of its signs.
_QUOTED = re.compile(r"(?<=alias|nchor|andle|e tag) '.*'")
_VARIABLE = re.compile(r"\$(\$?)\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass
class File:
    """The file as it was read; keys are written with dots, lines count from 1.

    ``problems`` are ``(key, line, sentence)``; ``is_whole`` is False when nothing of it
    could be read. ``referenced`` are the keys whose values name environment variables.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, int, str]] = field(default_factory=list)
    referenced: set[str] = field(default_factory=set)
    is_whole: bool = True


def read(path: Path, environ: Mapping[str, str]) -> File:
    """Return what the file says, ``${NAME}`` in its texts replaced from ``environ``.

    Raises:
        ConfigurationError: there is no such file.

    """
    try:
        return _understood(path.read_text(encoding="utf-8"), environ)
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no configuration file {path}.",
            hint="Name another with --config, or leave it out to use the defaults.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        return _broken(1, f"the file cannot be read: {error}")
    except yaml.YAMLError as error:
        return _broken(*spot(error))
    except RecursionError:
        return _broken(1, "the file is nested too deeply, or in itself")
    except ValueError:
        return _broken(1, "the file holds a date that does not exist")


def _understood(text: str, environ: Mapping[str, str]) -> File:
    node = yaml.compose(text, yaml.SafeLoader)
    tree = yaml.safe_load(text)
    if tree is not None and not isinstance(tree, dict):
        return _broken(1, "the file must hold sections such as 'aws:'")
    made = File()
    if node is not None:
        _note(node, "", made, set())
    for key, value in (tree or {}).items():
        made.tree[str(key)] = _filled(value, str(key), environ, made)
    return made


def _broken(line: int, told: str) -> File:
    return File(problems=[("", line, told)], is_whole=False)


def spot(error: yaml.YAMLError) -> tuple[int, str]:
    """Return the line of an error in the file, and what is wrong there."""
    # Not the error's own text: it quotes the line, which may hold a password.
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        problem = _QUOTED.sub("", str(error.problem))
        told = f"the file is not valid YAML, column {mark.column + 1}: {problem}"
        return mark.line + 1, told
    return 1, "the file is not valid YAML"


def _note(node: yaml.Node, key: str, made: File, seen: set[int]) -> None:
    """Note the lines of all below a node, and keys that come twice."""
    # An anchor can be named many times, and within itself.
    if id(node) in seen:
        return
    seen.add(id(node))
    for name, below, line in _below(node):
        where = f"{key}.{name}" if key else name
        if where in made.lines and isinstance(node, yaml.MappingNode):
            first = made.lines[where]
            made.problems.append((where, line, f"is set on line {first} already"))
        made.lines[where] = line
        _note(below, where, made, seen)


def _below(node: yaml.Node) -> Iterator[tuple[str, yaml.Node, int]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value != "<<":
                yield str(name.value), value, name.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), value, value.start_mark.line + 1


def _filled(value: Any, key: str, environ: Mapping[str, str], made: File) -> Any:
    """Return ``value`` with the environment variables its texts name."""
    if isinstance(value, dict):
        return {
            name: _filled(item, f"{key}.{name}", environ, made)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [
            _filled(item, f"{key}.{index}", environ, made)
            for index, item in enumerate(value)
        ]
    return _replaced(value, key, environ, made) if isinstance(value, str) else value


def _replaced(text: str, key: str, environ: Mapping[str, str], made: File) -> str:
    def of_environment(match: re.Match[str]) -> str:
        doubled, name = match.groups()
        if doubled:
            return match[0][1:]
        made.referenced.add(key)
        if name not in environ:
            line = made.lines.get(key, 1)
            told = f"the environment variable {name} is not set"
            made.problems.append((key, line, told))
        return environ.get(name, "")

    return _VARIABLE.sub(of_environment, text)
