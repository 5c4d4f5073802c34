"""Reads the settings: defaults, then the file, then the environment; once, at start.

The only module that reads the environment. An unknown key is an error that names the
nearest valid one; ``Loaded.origins`` tells where each value came from.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from dropzone import config_file, secret_sources
from dropzone.config_file import File
from dropzone.config_problems import Told, origin_of
from dropzone.errors import ConfigurationError
from dropzone.settings import Settings

PREFIX = "DROPZONE__"

# The names other tools of this field use already (MISSION A7), and what they set.
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "aws.region",
    "AWS_REGION": "aws.region",
    "AWS_PROFILE": "aws.profile",
    "AWS_ENDPOINT_URL": "aws.endpoint_url",
    "AWS_ENDPOINT_URL_S3": "aws.endpoint_url",
    "DROPZONE_BUCKET": "aws.default_bucket",
    "POSTGRES_HOST": "postgres.host",
    "POSTGRES_PORT": "postgres.port",
    "POSTGRES_DB": "postgres.database",
    "POSTGRES_USER": "postgres.user",
    "POSTGRES_PASSWORD": "postgres.password",
    "DATABASE_URL": "postgres.url",
    "MLFLOW_TRACKING_URI": "mlflow.tracking_uri",
    "MLFLOW_TRACKING_USERNAME": "mlflow.username",
    "MLFLOW_TRACKING_PASSWORD": "mlflow.password",
    "MLFLOW_TRACKING_TOKEN": "mlflow.token",
    "DROPZONE_WEB_TOKEN": "web.token",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "traces.endpoint",
    "DROPZONE_WEB_TOKENS": "web.tokens",
    "DROPZONE_NOTIFICATIONS": "notifications.targets",
    "DROPZONE_WEBHOOK": "notifications.webhook",
}

# Those of them that may lie in a file or in the keyring too. AWS keys have a search of
# their own, in dropzone.sessions.
MLFLOW_LOGIN = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
SECRETS = (
    *("POSTGRES_PASSWORD", "DATABASE_URL", *MLFLOW_LOGIN),
    *("DROPZONE_WEB_TOKEN", "DROPZONE_WEB_TOKENS"),
    # Whoever knows the address of a channel can write into it.
    *("DROPZONE_NOTIFICATIONS", "DROPZONE_WEBHOOK"),
)
_TEXTS = frozenset(ENVIRONMENT[name] for name in SECRETS)


@dataclass(frozen=True)
class Loaded:
    """The settings, the file they came from (if any), and the origin of each key.

    ``referenced`` are the keys of the file whose values name environment variables,
    ``lines`` where in the file each key stands.
    """

    settings: Settings
    path: Path | None
    origins: Mapping[str, str]
    referenced: frozenset[str] = frozenset()
    lines: Mapping[str, int] = field(default_factory=dict)


def find_file(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the configuration file to use when none is named, if any."""
    if named := environ.get("DROPZONE_CONFIG"):
        return Path(named)
    here = Path("config.yaml")
    system = Path("/etc/dropzone/config.yaml")
    return next((path for path in (here, system) if path.is_file()), None)


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read and check everything.

    Raises:
        ConfigurationError: names every wrong key with its origin, what it holds and
            what would be right.

    """
    path = path or find_file(environ)
    file = config_file.read(path, environ) if path else File()
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    told = Told(str(path), file, origins)
    for layer, source in _layers(file.tree, path, environ, told.of_secret):
        _merge(tree, layer, origins, source)
    settings = _checked(tree, path, told)
    if settings is None or told.problems:
        raise ConfigurationError(told.text())
    return Loaded(settings, path, origins, frozenset(file.referenced), file.lines)


def offers(key: str, loaded: Loaded, environ: Mapping[str, str]) -> list[str]:
    """Return every place that sets ``key``, as ``Loaded.origins`` names it.

    The last one wins; the others say why they do not.
    """
    found = []
    file = config_file.read(loaded.path, environ) if loaded.path else File()
    for layer, source in _layers(file.tree, loaded.path, environ):
        origins: dict[str, str] = {}
        _merge({}, layer, origins, source)
        if key in origins:
            found.append(source)
    return found


def flatten(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield ``(key, value)`` for every setting, secrets as stars."""
    for name in type(settings).model_fields:
        yield from _flat(f"{prefix}{name}", getattr(settings, name))


def shown(value: object) -> str:
    """Return the value of a setting for people, secrets as stars."""
    return ", ".join(text for _, text in _flat("", value))


def _flat(key: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from flatten(value, f"{key}.")
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for index, item in enumerate(value):
            yield from _flat(f"{key}.{index}", item)
    elif isinstance(value, SecretStr):
        yield key, "********"
    elif isinstance(value, tuple):
        yield key, ", ".join(str(item) for item in value)
    else:
        # An address may hold a password.
        shown = re.sub(r"://\S*@", "://********@", str(value))
        yield key, "" if value is None else shown


def _layers(
    tree: dict[str, Any],
    path: Path | None,
    environ: Mapping[str, str],
    broken: Callable[[str, ConfigurationError], None] | None = None,
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what each place sets, and its name; later ones win.

    ``tree`` is that of the file; a secret that cannot be read is told to ``broken``.
    """
    if path is not None:
        yield tree, str(path)
    for key, value, source in _from_keyring(tree, environ):
        yield _nested(key, value), source
    for variable in SECRETS:
        # An empty variable says nothing, here as below.
        if not environ.get(variable) and (
            file := secret_sources.file_of(variable, environ)
        ):
            key = ENVIRONMENT[variable]
            try:
                yield _nested(key, secret_sources.read(file)), f"secret file {file}"
            except ConfigurationError as error:
                if broken is not None:
                    broken(key, error)
    for key, value, source in _from_environment(environ):
        yield _nested(key, value), source


def _from_keyring(
    tree: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    section = tree.get("secrets")
    named = section.get("keyring") if isinstance(section, dict) else None
    service = environ.get(f"{PREFIX}SECRETS__KEYRING") or named
    if not isinstance(service, str) or not service:
        return
    for variable in SECRETS:
        if value := secret_sources.from_keyring(service, variable):
            yield ENVIRONMENT[variable], value, f"keyring {service}"


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name, key in ENVIRONMENT.items():
        if value := environ.get(name):
            yield key, value, f"environment variable {name}"
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            yield key, value, f"environment variable {name}"


def _nested(key: str, value: str) -> dict[str, Any]:
    *parents, last = key.split(".")
    # A password may begin with a bracket.
    tree: dict[str, Any] = {last: value if key in _TEXTS else _structure(value)}
    for parent in reversed(parents):
        tree = {parent: tree}
    return tree


def _structure(value: str) -> Any:
    """Return a list or mapping that is written as YAML, any other text as it is.

    Numbers stay text, which the settings read where they want one: a profile or a
    bucket may be called 2024.
    """
    if not value.lstrip().startswith(("[", "{")):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return read if isinstance(read, (list, dict)) else value


def _merge(
    tree: dict[str, Any],
    layer: Mapping[str, Any],
    origins: dict[str, str],
    source: str,
    prefix: str = "",
) -> None:
    for key, value in layer.items():
        # "aws:" with every key commented out is an empty section, not a null one.
        if value is None and not prefix and key in Settings.model_fields:
            continue
        where = f"{prefix}{key}"
        if isinstance(value, dict) and not isinstance(tree.get(key), list):
            child = tree.setdefault(key, {})
            if isinstance(child, dict):
                if not value:
                    origins.setdefault(where, source)
                _merge(child, value, origins, source, f"{where}.")
            # Else a section is no section: that is told, and nothing put over it.
            continue
        tree[key] = value
        origins[where] = source


def _checked(tree: dict[str, Any], path: Path | None, told: Told) -> Settings | None:
    """Return the settings, or tell what is wrong with them and return None.

    What is wrong is taken out and the rest is checked again, since contradictions are
    only looked for among values that are right in themselves.
    """
    told.of_file()
    for key, _, _ in told.file.problems:
        # What the environment put in its place is still to be looked at.
        if origin_of(key, told.origins) == str(path):
            _take_out(tree, key.split("."))
    while True:
        try:
            return _resolve(Settings.model_validate(tree), path)
        except ValidationError as error:
            taken = False
            found = error.errors(include_url=False, include_context=False)
            # What is missing may only have another name, which is told first.
            for problem in sorted(found, key=lambda one: one["type"] == "missing"):
                place = tuple(str(part) for part in problem["loc"])
                told.of_setting(problem, place)
                taken |= _take_out(tree, place)
            if not taken:
                return None


def _take_out(tree: dict[str, Any], place: Sequence[str]) -> bool:
    """Remove what is at ``place``, or the list it is in; return False if not there."""
    owner, last = tree, ""
    current: Any = tree
    for part in place:
        if isinstance(current, dict) and part in current:
            owner, last, current = current, part, current[part]
        elif isinstance(current, list) and part.isdigit() and int(part) < len(current):
            current = current[int(part)]
    return bool(last) and owner.pop(last, None) is not None


def _resolve(settings: Settings, path: Path | None) -> Settings:
    base = (path.parent if path else Path()).resolve()
    zones = tuple(
        zone.model_copy(update={"path": Path(os.path.normpath(base / zone.path))})
        for zone in settings.zones
    )
    directory = settings.embedded.directory
    embedded = settings.embedded.model_copy(
        update={"directory": base / directory if directory else None}
    )
    file = settings.log.file
    log = settings.log.model_copy(update={"file": base / file if file else None})
    tls = {
        name: base / path
        for name in ("tls_certificate", "tls_key")
        if (path := getattr(settings.web, name)) is not None
    }
    web = settings.web.model_copy(update=tls)
    changed = settings.model_copy(
        update={"zones": zones, "embedded": embedded, "log": log, "web": web}
    )
    return Settings.model_validate(changed.model_dump())
