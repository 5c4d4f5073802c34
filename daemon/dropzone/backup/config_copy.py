"""The settings file as a backup keeps it: without the secrets, unless asked."""

import yaml
from pydantic import BaseModel, SecretStr

from dropzone.config import Loaded
from dropzone.settings import Settings

_LEFT_OUT = "null"


def content(loaded: Loaded, *, secrets: bool) -> bytes | None:
    """Return the file's bytes, or None where no file is used.

    A secret is replaced by null; a name of the environment in its place stays.
    """
    if loaded.path is None:
        return None
    raw = loaded.path.read_bytes()
    if secrets:
        return raw
    text = raw.decode("utf-8")
    keys = {key for key in _secret_keys(Settings) if key not in loaded.referenced}
    if "@" in (loaded.settings.mlflow.tracking_uri or ""):
        keys.add("mlflow.tracking_uri")
    node = yaml.compose(text, yaml.SafeLoader)
    if isinstance(node, yaml.MappingNode):
        for start, end in sorted(_spans(node, "", keys), reverse=True):
            text = f"{text[:start]}{_LEFT_OUT}{text[end:]}"
    return text.encode("utf-8")


def _secret_keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= _secret_keys(kind, f"{prefix}{name}.")
        elif SecretStr in getattr(kind, "__args__", (kind,)):
            found.add(f"{prefix}{name}")
    return found


def _spans(
    node: yaml.MappingNode, prefix: str, keys: set[str]
) -> list[tuple[int, int]]:
    """Return where the values of these keys stand in the text."""
    found = []
    for name, value in node.value:
        key = f"{prefix}{name.value}"
        if key in keys:
            found.append((value.start_mark.index, value.end_mark.index))
        elif isinstance(value, yaml.MappingNode):
            found += _spans(value, f"{key}.", keys)
    return found
