"""What every setting is, and where it came from."""

from collections.abc import Mapping
from dataclasses import dataclass

from dropzone import config
from dropzone.config import Loaded
from dropzone.config_problems import line_of, origin_of
from dropzone.settings import Settings


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting, its value (secrets as stars), and where it came from.

    ``line`` is that of the file, None where it came from somewhere else.
    """

    key: str
    value: str
    origin: str
    line: int | None = None

    @property
    def where(self) -> str:
        """Return the origin as people look for it, with the line."""
        return self.origin if self.line is None else f"{self.origin}, line {self.line}"


def explained(made: Loaded, used: Settings) -> list[Explained]:
    """Return every setting of ``used``, which was made of ``made``."""
    given = dict(config.flatten(made.settings))
    return [
        _explained(made, key, value, dropped=value != given.get(key))
        for key, value in config.flatten(used)
    ]


def _explained(made: Loaded, key: str, value: str, *, dropped: bool) -> Explained:
    origin = origin_of(key, made.origins)
    is_of_file = made.path is not None and origin == str(made.path)
    if is_of_file and _is_left_out(key, made.lines):
        return Explained(key, value, "default")
    line = line_of(key, made.lines) if is_of_file else None
    told = f"{origin} names our embedded server" if dropped else origin
    return Explained(key, value, told, line)


def _is_left_out(key: str, lines: Mapping[str, int]) -> bool:
    """Return whether an item of a list, such as a zone, says others but not this."""
    above = f"{key.rpartition('.')[0]}."
    said = [name for name in lines if name.startswith(above)]
    return bool(said) and not any(f"{name}.".startswith(f"{key}.") for name in said)
