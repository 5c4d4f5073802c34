"""The settings as frozen values: names, types, limits and defaults.

``dropzone.config`` reads them from files and the environment. Units are in the names
or in ``config.yaml``. Leaf objects get the values they need, never this whole tree.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)

from dropzone import windows
from dropzone.notification_settings import Notifications
from dropzone.section import Section as _Section
from dropzone.section import web_address as _web_address
from dropzone.web_settings import Traces, Web

#: Where AWS credentials are looked for, in this order unless the settings say another.
#: Explicit before found, files before programs, and what asks the network last.
AWS_SOURCES = (
    *("environment", "secrets", "settings", "keyring"),
    *("assumed-role", "web-identity", "sso", "profile", "container", "instance"),
)

KEY_FIELDS = frozenset(
    {"prefix", "collection", "sha256", "sha256_2", "doc_type", "year", "month", "day"}
    | {"name", "ext", "job", "zone"}
)


def _postgres_address(url: str) -> None:
    """Check what can be checked without a driver; hosts may be several, or none."""
    scheme, found, rest = url.partition("://")
    if not found:
        if "=" not in url:
            raise ValueError(_POSTGRES)
        return
    # A "/" or "?" in the password must be encoded, so the last "@" before them counts.
    hosts = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]
    known = scheme.partition("+")[0] in {"postgres", "postgresql"}
    if not known or not all(map(_HOST.fullmatch, hosts.split(","))):
        raise ValueError(_POSTGRES)


_HOST = re.compile(r"(?:\[[0-9a-fA-F:.%\w]+\]|[^\[\]:@\s]*)(?::[0-9]{0,5})?")
_POSTGRES = (
    "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters "
    "in the password percent-encoded"
)


class Zone(_Section):
    name: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
            description="at most 63 of a-z, 0-9, '-' and '_', the first a-z or 0-9",
        ),
    ] = "default"
    path: Path = Path("drop_zones")
    quiet_seconds: PositiveFloat = 2.0
    quiet_seconds_without_lease: PositiveFloat = 5.0
    scan_seconds: PositiveFloat = 30.0
    poll_seconds: PositiveFloat = 5.0
    events: bool = True
    when_held: Literal["exit", "wait"] = "exit"
    ignore: tuple[str, ...] = ()


class Aws(_Section):
    region: str = "us-east-1"
    profile: str | None = None
    credentials_source: tuple[str, ...] = ("auto",)
    default_bucket: str | None = None
    endpoint_url: str | None = None
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    encryption: Literal["AES256", "aws:kms", "none"] = "AES256"
    kms_key_id: str | None = None
    prefix: str = "dropzones/"
    key_template: str = "{prefix}{collection}/{sha256_2}/{sha256}"
    connect_timeout_seconds: PositiveFloat = 3.0
    read_timeout_seconds: PositiveFloat = 60.0

    @field_validator("credentials_source", mode="before")
    @classmethod
    def _one_source_or_several(cls, given: object) -> object:
        return (
            [name.strip() for name in given.split(",")]
            if isinstance(given, str)
            else given
        )

    @field_validator("credentials_source")
    @classmethod
    def _sources_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names == ("auto",):
            return names
        if unknown := [name for name in names if name not in AWS_SOURCES]:
            known = ", ".join(AWS_SOURCES)
            raise ValueError(f"there is no source {unknown[0]!r}; known: auto, {known}")
        if not names or len(set(names)) != len(names):
            raise ValueError("name each source once, and at least one")
        return names

    @field_validator("key_template")
    @classmethod
    def _template_is_collision_free(cls, template: str) -> str:
        import string

        fields = [
            (name, spec, conversion)
            for _, name, spec, conversion in string.Formatter().parse(template)
            if name is not None
        ]
        names = {name for name, _, _ in fields}
        if unknown := names - KEY_FIELDS:
            known = ", ".join(sorted(KEY_FIELDS))
            raise ValueError(f"unknown field {min(unknown)!r}; known: {known}")
        if any(spec or conversion for _, spec, conversion in fields):
            # {sha256:.2} would cut the hash, and two files could share a key.
            raise ValueError("takes only plain fields, without ':' or '!'")
        if not names & {"sha256", "job"}:
            raise ValueError("needs {sha256} or {job}, or two files could share a key")
        return template

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else _web_address(url)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        wrong = []
        if bool(self.access_key_id) != bool(self.secret_access_key):
            wrong.append("access_key_id and secret_access_key go together")
        if self.kms_key_id and self.encryption != "aws:kms":
            wrong.append("kms_key_id is only used with encryption: aws:kms")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class Postgres(_Section):
    url: SecretStr | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: str = "postgres"
    user: str = "postgres"
    password: SecretStr | None = None
    ssl_mode: Literal[
        "disable", "allow", "prefer", "require", "verify-ca", "verify-full"
    ] = "prefer"
    connection_timeout: PositiveInt = 5
    statement_timeout_seconds: PositiveFloat = 60.0
    pool_size: Annotated[int, Field(ge=2, le=200)] = 8

    @field_validator("url")
    @classmethod
    def _url_can_be_read(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _postgres_address(url.get_secret_value())
        return url


class Mlflow(_Section):
    tracking_uri: str | None = None
    artifact_root: str | None = None
    experiment_name: str = "dropzone"
    batch_seconds: PositiveFloat = 10.0
    batch_files: PositiveInt = 1000
    track_operations_seconds: NonNegativeFloat = 0.0
    timeout_seconds: PositiveFloat = 10.0
    username: SecretStr | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None

    @field_validator("tracking_uri")
    @classmethod
    def _server_is_an_address(cls, uri: str | None) -> str | None:
        # Anything else is a folder, a database or the name of a store.
        is_web = uri is not None and uri.lower().startswith(("http:", "https:"))
        return _web_address(uri) if uri is not None and is_web else uri


class Secrets(_Section):
    keyring: str | None = None


class Embedding(_Section):
    model: Literal["hash-v1"] = "hash-v1"


class Chunking(_Section):
    max_characters: Annotated[int, Field(ge=100, le=8000)] = 800
    overlap_characters: Annotated[int, Field(ge=0)] = 80

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Self:
        if self.overlap_characters * 2 > self.max_characters:
            raise ValueError("overlap_characters is at most half of max_characters")
        return self


class Extract(_Section):
    timeout_seconds: PositiveFloat = 900.0
    memory_mb: Annotated[int, Field(ge=512)] = 1500
    max_characters: PositiveInt = 20_000_000


class Limits(_Section):
    text_megabytes: PositiveFloat = 50.0
    free_megabytes: NonNegativeFloat = 256.0
    jobs_in_memory: Annotated[int, Field(ge=64)] = 4000
    stop_seconds: NonNegativeFloat = 3.0
    upload_megabytes_per_second: Annotated[float, Field(ge=0.01)] | None = None
    upload_windows: tuple[str, ...] = ()

    @field_validator("upload_windows")
    @classmethod
    def _windows_can_be_read(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            windows.parse(text)
        return texts


class Retention(_Section):
    processed_days: PositiveFloat | None = None
    processed_gigabytes: NonNegativeFloat | None = None
    free_gigabytes: PositiveFloat | None = None
    failed_days: PositiveFloat | None = None
    failed_last_copy: bool = False
    receipts_days: PositiveFloat | None = None
    journal_days: PositiveFloat | None = None
    every_seconds: PositiveFloat = 600.0

    @model_validator(mode="after")
    def _last_copy_is_of_failed(self) -> Self:
        if self.failed_last_copy and self.failed_days is None:
            raise ValueError("failed_last_copy says nothing without failed_days")
        return self


class Retry(_Section):
    call_seconds: PositiveFloat = 10.0
    first_pause_seconds: PositiveFloat = 1.0
    longest_pause_seconds: PositiveFloat = 300.0
    unknown_error_attempts: PositiveInt = 5
    parser_death_attempts: PositiveInt = 3

    @model_validator(mode="after")
    def _pauses_grow(self) -> Self:
        if self.first_pause_seconds > self.longest_pause_seconds:
            raise ValueError("first_pause_seconds is above longest_pause_seconds")
        return self


class Executor(_Section):
    processes: Annotated[int, Field(ge=0)] = 0
    uploads: Annotated[int, Field(ge=1, le=64)] = 4


class Log(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"
    file: Path | None = None
    file_megabytes: PositiveFloat = 20.0
    file_count: Annotated[int, Field(ge=1, le=1000)] = 5


class Embedded(_Section):
    directory: Path | None = None
    s3_port: Annotated[int, Field(ge=0, le=65535)] = 0


class Settings(_Section):
    """Every setting. Relative paths are already resolved against the file's folder."""

    zones: tuple[Zone, ...] = Field(default=(Zone(),), min_length=1)
    aws: Aws = Aws()
    postgres: Postgres = Postgres()
    mlflow: Mlflow = Mlflow()
    secrets: Secrets = Secrets()
    embedding: Embedding = Embedding()
    chunking: Chunking = Chunking()
    extract: Extract = Extract()
    limits: Limits = Limits()
    retention: Retention = Retention()
    retry: Retry = Retry()
    executor: Executor = Executor()
    web: Web = Web()
    traces: Traces = Traces()
    log: Log = Log()
    notifications: Notifications = Notifications()
    embedded: Embedded = Embedded()

    @model_validator(mode="after")
    def _zones_are_apart(self) -> Self:
        names = [zone.name for zone in self.zones]
        if len(set(names)) != len(names):
            raise ValueError("zones: two zones have the same name")
        paths = [zone.path for zone in self.zones]
        for one in paths:
            for other in paths:
                if one is not other and one in other.parents:
                    raise ValueError(f"zones: the path {other} lies inside {one}")
        if len(set(paths)) != len(paths):
            raise ValueError("zones: two zones have the same path")
        return self

    @model_validator(mode="after")
    def _retention_comes_first(self) -> Self:
        wanted = self.retention.free_gigabytes
        if wanted is not None and wanted * 1000 < self.limits.free_megabytes:
            raise ValueError(
                "retention.free_gigabytes: is below limits.free_megabytes, where files "
                "are no longer taken; make it larger"
            )
        return self

    @property
    def embeds_postgres(self) -> bool:
        """True when no Postgres is named, so the daemon runs its own."""
        return self.postgres.url is None and self.postgres.host is None

    @property
    def embeds_s3(self) -> bool:
        """True when no bucket and no endpoint is named: the daemon runs its own S3."""
        return self.aws.default_bucket is None and self.aws.endpoint_url is None

    @property
    def services_directory(self) -> Path:
        """Where the embedded servers keep their data."""
        return self.embedded.directory or self.zones[0].path / "state" / "services"

    @property
    def mlflow_directory(self) -> Path:
        """Where runs are kept when no tracking server is named."""
        return self.zones[0].path / "state" / "mlflow"
