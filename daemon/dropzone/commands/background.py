"""The commands ``services up``, ``down`` and ``env``: the embedded servers alone."""

import os

from pydantic import SecretStr

from dropzone import embedded
from dropzone.embedded import Role, ServiceAddresses
from dropzone.errors import ZoneError
from dropzone.sessions.settings import (
    mlflow_settings,
    postgres_settings,
    s3_settings,
    tracking_uri,
)
from dropzone.settings import Settings

_HOW_TO_CONNECT = 'Connect with: eval "$(dropzone services env)"'


def up(settings: Settings) -> str:
    """Start the servers, or find them running; return what to say.

    Raises:
        ServiceUnavailable: a server does not start.

    """
    if not _any_embedded(settings):
        return "The configuration names its own Postgres and S3: nothing to start."
    directory = settings.services_directory
    known = embedded.running(directory)
    embedded.start_background(
        directory,
        postgres=settings.embeds_postgres,
        s3=settings.embeds_s3,
        s3_port=settings.embedded.s3_port,
    )
    if known is not None:
        who = "the daemon" if known.role is Role.DAEMON else "an earlier 'services up'"
        return f"The services run already, held by {who}.\n{_HOW_TO_CONNECT}"
    return f"The services are running.\n{_HOW_TO_CONNECT}"


def down(settings: Settings) -> str:
    """Stop the servers; return what to say.

    Raises:
        UsageError: they belong to a daemon.

    """
    if embedded.stop_background(settings.services_directory):
        return "The services are stopped."
    return "No services were running."


def environment(settings: Settings) -> dict[str, str]:
    """Return how to reach what the daemon uses, by the names other tools know.

    Raises:
        ZoneError: the embedded servers are needed and do not run.

    """
    addresses = _running(settings)
    postgres = postgres_settings(settings, addresses)
    s3 = s3_settings(settings, addresses)
    mlflow = mlflow_settings(settings)
    values = {
        "DATABASE_URL": _plain(postgres.url),
        "AWS_ENDPOINT_URL_S3": s3.endpoint_url,
        **s3.credentials.exported(s3.region),
        "AWS_DEFAULT_REGION": s3.region,
        "DROPZONE_BUCKET": s3.bucket,
        "MLFLOW_TRACKING_URI": tracking_uri(mlflow),
        **{name: _plain(secret) for name, secret in mlflow.login.items()},
    }
    if postgres.url is None:
        values |= _parts(settings)
    given = {name: value for name, value in values.items() if value}
    # The shell that reads the lines has it too, and it belongs to other keys.
    if os.environ.get("AWS_SESSION_TOKEN"):
        given.setdefault("AWS_SESSION_TOKEN", "")
    return given


def _parts(settings: Settings) -> dict[str, str | None]:
    """Return libpq's names for a Postgres that is configured in parts."""
    named = settings.postgres
    return {
        "PGHOST": named.host,
        "PGPORT": str(named.port),
        "PGDATABASE": named.database,
        "PGUSER": named.user,
        "PGPASSWORD": _plain(named.password),
        "PGSSLMODE": named.ssl_mode,
    }


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _running(settings: Settings) -> ServiceAddresses | None:
    if not _any_embedded(settings):
        return None
    found = embedded.running(settings.services_directory)
    if found is None:
        raise ZoneError(
            "The embedded services are not running.",
            hint="Start them: dropzone services up. Or the daemon: dropzone run.",
        )
    return found.addresses


def _any_embedded(settings: Settings) -> bool:
    return settings.embeds_postgres or settings.embeds_s3
