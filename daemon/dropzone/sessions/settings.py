"""What each session needs to know, taken from the settings and the servers we run."""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from pydantic import SecretStr

from dropzone import secret_sources
from dropzone.errors import ConfigurationError
from dropzone.retry import DEFAULT_POLICY, RetryPolicy
from dropzone.sessions.credentials import AwsCredentials
from dropzone.settings import Settings


class ServiceAddresses(Protocol):
    """Where the embedded servers listen; used for what the settings do not name."""

    @property
    def database_url(self) -> str | None: ...
    @property
    def s3_endpoint(self) -> str | None: ...
    @property
    def s3_access_key(self) -> str | None: ...
    @property
    def s3_secret_key(self) -> str | None: ...
    @property
    def s3_region(self) -> str: ...
    @property
    def s3_bucket(self) -> str: ...


@dataclass(frozen=True)
class S3Settings:
    """One bucket and the way to it; ``endpoint_url`` None means AWS itself.

    ``concurrency`` is how many threads will call at once. Times are in seconds;
    ``upload_rate`` is in bytes a second, over all threads, None for no limit.
    """

    bucket: str
    region: str
    credentials: AwsCredentials
    endpoint_url: str | None = None
    encryption: str = "AES256"
    kms_key_id: str | None = None
    concurrency: int = 4
    connect_timeout: float = 3.0
    read_timeout: float = 60.0
    retry: RetryPolicy = DEFAULT_POLICY
    upload_rate: float | None = None

    @property
    def fixed_keys(self) -> bool:
        """True for the keys of our own server, so that no other can be found."""
        return self.credentials.isolated


@dataclass(frozen=True)
class PostgresSettings:
    """One database; ``url`` wins over the single parts. Times are in seconds."""

    url: SecretStr | None = None
    host: str | None = None
    port: int = 5432
    database: str = "postgres"
    user: str = "postgres"
    password: SecretStr | None = None
    ssl_mode: str = "prefer"
    connection_timeout: int = 5
    statement_timeout: float = 60.0
    pool_size: int = 8
    retry: RetryPolicy = DEFAULT_POLICY
    #: Where url and password lie, by the names of their variables, if in files.
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class MlflowSettings:
    """One tracking store; without ``tracking_uri`` a file below ``directory``.

    ``artifact_root`` is where a new experiment keeps its files; None leaves that to
    the tracking server. ``timeout`` is in seconds and holds for each request.
    """

    directory: Path
    tracking_uri: str | None = None
    artifact_root: str | None = None
    experiment_name: str = "dropzone"
    timeout: float = 10.0
    retry: RetryPolicy = DEFAULT_POLICY
    #: What a tracking server asks for, by the names of MLflow's variables.
    login: Mapping[str, SecretStr] = field(default_factory=dict)
    #: Where some of it lies in files.
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class BedrockSettings:
    """One region of Bedrock. Times are in seconds; models may think for minutes."""

    region: str
    credentials: AwsCredentials
    endpoint_url: str | None = None
    read_timeout: float = 300.0
    retry: RetryPolicy = DEFAULT_POLICY


def bedrock_settings(settings: Settings) -> BedrockSettings:
    """Return the way to Bedrock: on AWS, with the keys that S3 has there."""
    return BedrockSettings(
        region=settings.aws.region,
        credentials=aws_credentials(settings),
        retry=RetryPolicy(seconds=settings.retry.call_seconds),
    )


def s3_settings(settings: Settings, addresses: ServiceAddresses | None) -> S3Settings:
    """Return the way to S3: the settings, or the embedded server."""
    aws = settings.aws
    retry = RetryPolicy(seconds=settings.retry.call_seconds)
    threads = settings.executor.uploads
    if settings.embeds_s3:
        own = _running(addresses)
        return S3Settings(
            bucket=own.s3_bucket,
            region=own.s3_region,
            credentials=AwsCredentials.embedded(
                _known(own.s3_access_key), _known(own.s3_secret_key)
            ),
            endpoint_url=_known(own.s3_endpoint),
            encryption=aws.encryption,
            concurrency=threads,
            retry=retry,
            upload_rate=upload_rate(settings),
        )
    return S3Settings(
        bucket=aws.default_bucket or "dropzone",
        region=aws.region,
        credentials=aws_credentials(settings),
        endpoint_url=aws.endpoint_url,
        encryption=aws.encryption,
        kms_key_id=aws.kms_key_id,
        concurrency=threads,
        connect_timeout=aws.connect_timeout_seconds,
        read_timeout=aws.read_timeout_seconds,
        retry=retry,
        upload_rate=upload_rate(settings),
    )


def upload_rate(settings: Settings) -> float | None:
    """Return how many bytes may be uploaded in a second; None for no limit."""
    megabytes = settings.limits.upload_megabytes_per_second
    return None if megabytes is None else megabytes * 1_000_000


def aws_credentials(settings: Settings) -> AwsCredentials:
    """Return where to look for AWS keys, as the settings say."""
    aws = settings.aws
    return AwsCredentials(
        aws.access_key_id,
        aws.secret_access_key,
        aws.profile,
        sources=aws.credentials_source,
        keyring=settings.secrets.keyring,
    )


def postgres_settings(
    settings: Settings, addresses: ServiceAddresses | None
) -> PostgresSettings:
    """Return the way to Postgres: the settings, or the embedded server."""
    named = settings.postgres
    url = named.url
    files = _files({"DATABASE_URL": url, "POSTGRES_PASSWORD": named.password})
    if settings.embeds_postgres:
        url = SecretStr(_known(_running(addresses).database_url))
    return PostgresSettings(
        url=url,
        host=named.host,
        port=named.port,
        database=named.database,
        user=named.user,
        password=named.password,
        ssl_mode=named.ssl_mode,
        connection_timeout=named.connection_timeout,
        statement_timeout=named.statement_timeout_seconds,
        pool_size=named.pool_size,
        retry=RetryPolicy(seconds=settings.retry.call_seconds),
        files=files,
    )


def mlflow_settings(settings: Settings) -> MlflowSettings:
    """Return the way to MLflow: the settings, or a file in the first zone's state."""
    named = settings.mlflow
    login = {
        "MLFLOW_TRACKING_USERNAME": named.username,
        "MLFLOW_TRACKING_PASSWORD": named.password,
        "MLFLOW_TRACKING_TOKEN": named.token,
    }
    return MlflowSettings(
        directory=settings.mlflow_directory,
        tracking_uri=named.tracking_uri,
        artifact_root=named.artifact_root,
        experiment_name=named.experiment_name,
        timeout=named.timeout_seconds,
        retry=RetryPolicy(seconds=settings.retry.call_seconds),
        login={name: value for name, value in login.items() if value is not None},
        files=_files(login),
    )


def tracking_uri(settings: MlflowSettings) -> str:
    """Return the tracking store as MLflow takes it."""
    if settings.tracking_uri is None:
        return file_uri(settings.directory / "mlflow.db")
    scheme, found, rest = settings.tracking_uri.partition("://")
    if found and scheme in {"postgres", "postgresql"}:
        # The only Postgres driver that is installed, and not SQLAlchemy's default.
        return f"postgresql+psycopg://{rest}"
    return settings.tracking_uri


def file_uri(path: Path) -> str:
    """Return the tracking URI of a database file."""
    # MLflow decodes it once, and cuts what follows a plain question mark.
    return f"sqlite:///{quote(str(path.resolve()))}"


def without_userinfo(text: str) -> str:
    """Return ``text`` with user names and passwords cut out of the URLs in it."""
    return re.sub(r"://\S*@", "://", text)


def _files(held: Mapping[str, SecretStr | None]) -> dict[str, Path]:
    """Return the files in which these secrets lie; one that lies elsewhere has none."""
    found = {}
    for variable, secret in held.items():
        path = secret_sources.file_of(variable, os.environ)
        if secret is not None and path is not None:
            with contextlib.suppress(ConfigurationError):
                if secret_sources.read(path) == secret.get_secret_value():
                    found[variable] = path
    return found


def _running(addresses: ServiceAddresses | None) -> ServiceAddresses:
    if addresses is None:
        raise _not_running()
    return addresses


def _known(value: str | None) -> str:
    if value is None:
        raise _not_running()
    return value


def _not_running() -> ConfigurationError:
    return ConfigurationError(
        "No Postgres or no S3 is named, and the embedded one is not running.",
        hint="Run 'dropzone services up', or name your own in config.yaml.",
    )
