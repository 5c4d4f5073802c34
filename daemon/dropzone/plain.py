"""Values as JSON knows them: what the commands print, and what the API answers."""

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dropzone.text import display


def of(value: object) -> Any:
    """Return ``value`` as JSON knows it; bytes as they are shown.

    A key ``x`` that holds bytes is joined by ``x_quoted``, from which they can be made
    again exactly.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return of({name: getattr(value, name) for name in names})
    if isinstance(value, dict):
        exact = {f"{k}_quoted": quote(v) for k, v in value.items() if _is_bytes(v)}
        value = value | exact
        return {str(of(key)): of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [of(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (bytes, Path)):
        return display(bytes(value))
    return value


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes)
