"""What every setting is, and where it came from."""

from dataclasses import dataclass

from dropzone import config
from dropzone.config import Loaded
from dropzone.config_problems import origin_of
from dropzone.settings import Settings


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting, its value (secrets as stars), and where it came from."""

    key: str
    value: str
    origin: str


def explained(made: Loaded, used: Settings) -> list[Explained]:
    """Return every setting of ``used``, which was made of ``made``."""
    given = dict(config.flatten(made.settings))
    return [
        Explained(key, value, _origin(made, key, dropped=value != given.get(key)))
        for key, value in config.flatten(used)
    ]


def _origin(made: Loaded, key: str, *, dropped: bool) -> str:
    origin = origin_of(key, made.origins)
    return f"{origin} names our embedded server" if dropped else origin
