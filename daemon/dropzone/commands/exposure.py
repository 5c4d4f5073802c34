"""Finds files with secrets in them that every user of this machine may read."""

import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dropzone import secret_sources
from dropzone.config import SECRETS, Loaded
from dropzone.text import display

_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_HELD = (
    *("aws.secret_access_key", "postgres.password"),
    *("mlflow.password", "mlflow.token", "web.token"),
    *("notifications.targets", "notifications.webhook"),
)
_URLS = ("postgres.url", "mlflow.tracking_uri")


@dataclass(frozen=True, slots=True)
class Exposed:
    """A file that everybody may read, what it holds, and the command that mends it."""

    path: Path
    holds: str
    what_to_do: str


def exposed_secrets(
    loaded: Loaded, environ: Mapping[str, str] = os.environ
) -> list[Exposed]:
    """Return every such file that this configuration uses.

    What a container engine mounts at /run/secrets is left out: it is for everybody in
    the container, and only there.
    """
    found = []
    for path, holds in _files(loaded, environ):
        if holds and _is_open(path):
            shown = shlex.quote(display(bytes(path)))
            found.append(Exposed(path, holds, f"chmod o-rwx {shown}"))
    return found


def _files(loaded: Loaded, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    if loaded.path is not None:
        yield loaded.path, ", ".join(_in_settings(loaded))
    for variable in (*SECRETS, *_AWS):
        path = secret_sources.file_of(variable, environ)
        if path is not None and secret_sources.RUN_SECRETS not in path.parents:
            yield path, variable
    for variable, default in (
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        ("AWS_CONFIG_FILE", "~/.aws/config"),
        ("", "~/.mlflow/credentials"),
    ):
        path = Path(environ.get(variable) or default).expanduser()
        yield path, _in_text(path)


def _in_settings(loaded: Loaded) -> list[str]:
    ours = str(loaded.path)
    return [
        key
        for key in (*_HELD, *_URLS)
        if loaded.origins.get(key) == ours
        and not _is_referenced(loaded, key)
        and (key in _HELD or _has_password(loaded, key))
    ]


def _is_referenced(loaded: Loaded, key: str) -> bool:
    """Return whether the file names variables there, in each item of a list."""
    if key != "notifications.targets":
        return key in loaded.referenced
    count = len(loaded.settings.notifications.targets)
    return all(f"{key}.{index}" in loaded.referenced for index in range(count))


def _has_password(loaded: Loaded, key: str) -> bool:
    if key == "postgres.url":
        url = loaded.settings.postgres.url
        text = url.get_secret_value() if url else ""
        return "@" in text or "password=" in text
    return "@" in (loaded.settings.mlflow.tracking_uri or "")


def _in_text(path: Path) -> str:
    names = ("aws_secret_access_key", "aws_session_token", "mlflow_tracking_password")
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return ", ".join(name for name in names if name in text)


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
