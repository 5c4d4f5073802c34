"""Which source gives each service its credentials, and why each other one does not.

Nothing of a secret is in what is returned; of an AWS key id, its ends.
"""
# ruff: noqa: TID251 - one of the modules that know the AWS driver's errors.

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropzone import config, secret_sources
from dropzone.config import ENVIRONMENT, Loaded
from dropzone.sessions.settings import (
    MlflowSettings,
    PostgresSettings,
    S3Settings,
    tracking_uri,
    without_userinfo,
)
from dropzone.text import display

if TYPE_CHECKING:
    from dropzone.sessions.aws_search import AwsSearch

#: In the order in which they are asked; the settings cannot change it.
ORDER = ("environment", "secrets", "keyring", "settings")


@dataclass(frozen=True, slots=True)
class Origin:
    """One source; ``verdict`` as in ``aws_search.Tried``."""

    source: str
    verdict: str
    told: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """How one service is logged in to.

    ``source`` is None while nothing gives what is needed, and ``problem`` says so.
    ``expires`` is an epoch time, for credentials that run out.
    """

    service: str
    address: str
    source: str | None
    told: str
    sources: tuple[Origin, ...] = ()
    expires: float | None = None
    problem: str = ""
    what_to_do: str = ""


def of_ours(service: str) -> Credentials:
    """Tell of a server that dropzone runs itself."""
    told = "made by dropzone for its own server"
    return Credentials(service, "the embedded server", "embedded", told)


def of_s3(settings: S3Settings) -> Credentials:
    """Look for the AWS keys, asking STS or a metadata server where they give them.

    Raises:
        ConfigurationError: the named profile does not exist.

    """
    where = settings.endpoint_url or f"AWS {settings.region}"
    address = f"s3://{settings.bucket} at {without_userinfo(where)}"
    from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

    from dropzone.sessions.aws_search import sentence

    search = settings.credentials.search(settings.region)
    try:
        found = search.load()
        frozen = found.get_frozen_credentials()
    except CredentialRetrievalError as error:
        problem = f"{error.kwargs['provider']} does not work: {sentence(error)}"
        hint = "Mend it, or leave it out by aws.credentials_source."
        return _without(address, search, problem, hint)
    except NoCredentialsError:
        hint = "Set one of these; docs/credentials.md has an example of each."
        return _without(address, search, "There are no AWS credentials.", hint)
    kind = "temporary key" if frozen.token else "key"
    return Credentials(
        "s3",
        address,
        search.winner,
        f"{kind} {masked(frozen.access_key)}",
        tuple(Origin(*_fields(one)) for one in search.tried),
        expires=_expiry(found),
    )


def _without(address: str, search: "AwsSearch", problem: str, hint: str) -> Credentials:
    tried = tuple(Origin(*_fields(one)) for one in search.tried)
    return Credentials("s3", address, None, "", tried, problem=problem, what_to_do=hint)


def _fields(tried: Any) -> tuple[str, str, str]:
    return tried.source, tried.verdict, tried.told


def _expiry(found: Any) -> float | None:
    # The driver tells it nowhere else.
    moment = getattr(found, "_expiry_time", None)
    return moment.timestamp() if isinstance(moment, dt.datetime) else None


def of_postgres(settings: PostgresSettings, loaded: Loaded) -> Credentials:
    """Tell where the password of Postgres comes from; nothing is asked.

    A password in the URL comes before any other, since it says for what it is.
    """
    from dropzone.sessions.postgres_connection import parsed

    url = settings.url.get_secret_value() if settings.url else ""
    parts = parsed(url) if url else {}
    in_url = bool(parts.get("password"))
    where = parts.get("host") or settings.host or "the local socket"
    name = parts.get("dbname") or settings.database
    address = f"Postgres {name} at {where}:{parts.get('port') or settings.port}"
    names = ("DATABASE_URL",) if in_url else ("POSTGRES_PASSWORD",)
    both = ("DATABASE_URL", "POSTGRES_PASSWORD")
    sources, winner = _walk(both, names, loaded)
    libpq = _libpq()
    if winner is None:
        sources.append(Origin("libpq", "in use", libpq))
    else:
        sources.append(Origin("libpq", "not asked", f"{libpq}; {winner} comes first"))
    told = "password in the URL" if in_url else "password"
    if winner is None:
        told = libpq
    return Credentials("postgres", address, winner or "libpq", told, tuple(sources))


def of_mlflow(settings: MlflowSettings, loaded: Loaded) -> Credentials:
    """Tell where the login of the tracking server comes from; nothing is asked."""
    uri = tracking_uri(settings)
    address = without_userinfo(uri)
    if address != uri:
        offered = config.offers("mlflow.tracking_uri", loaded, os.environ)
        place = _source(offered[-1]) if offered else "settings"
        return Credentials("mlflow", address, place, "user and password in the URI")
    if not uri.startswith(("http://", "https://")):
        return Credentials("mlflow", address, "none", "a local store needs no login")
    names = tuple(config.MLFLOW_LOGIN)
    sources, winner = _walk(names, names, loaded)
    own = Path("~/.mlflow/credentials").expanduser()
    there = "is there" if own.is_file() else "is not there"
    verdict = "in use" if winner is None and own.is_file() else "not set"
    sources.append(Origin("mlflow", verdict, f"{display(bytes(own))} {there}"))
    if winner is None and own.is_file():
        winner = "mlflow"
    if winner is None:
        told = "no login: the server must let everybody in"
        return Credentials("mlflow", address, "none", told, tuple(sources))
    token = settings.login.keys() & {"MLFLOW_TRACKING_TOKEN"}
    user = settings.login.keys() & {"MLFLOW_TRACKING_USERNAME"}
    told = "token" if token and not user else "user and password"
    return Credentials("mlflow", address, winner, told, tuple(sources))


def masked(key_id: str) -> str:
    """Return enough of an AWS key id to tell it from others."""
    return f"{key_id[:4]}...{key_id[-4:]}" if len(key_id) >= 16 else "********"  # noqa: PLR2004 shorter ones would show


def _walk(
    variables: tuple[str, ...], winning: tuple[str, ...], loaded: Loaded
) -> tuple[list[Origin], str | None]:
    """Return what each source of ``ORDER`` says, and which one gives ``winning``."""
    given: dict[str, list[tuple[str, str]]] = {source: [] for source in ORDER}
    used: list[str] = []
    for variable in variables:
        offered = config.offers(ENVIRONMENT[variable], loaded, os.environ)
        for place in offered:
            given[_source(place)].append((variable, place))
        if variable in winning and offered:
            used.append(_source(offered[-1]))
    winner = min(used, key=ORDER.index) if used else None
    told = []
    for source in ORDER:
        if not given[source]:
            told.append(Origin(source, "not set", _why_not(source, variables, loaded)))
            continue
        names = ", ".join(dict.fromkeys(_named(*one) for one in given[source]))
        if source in used:
            told.append(Origin(source, "in use", names))
        else:
            told.append(Origin(source, "not asked", f"{names}; {winner} comes first"))
    return told, winner


def _source(place: str) -> str:
    for prefix, source in (
        ("environment variable ", "environment"),
        ("secret file ", "secrets"),
        ("keyring ", "keyring"),
    ):
        if place.startswith(prefix):
            return source
    return "settings"


def _named(variable: str, place: str) -> str:
    if _source(place) == "settings":
        return f"{ENVIRONMENT[variable]} in {display(place.encode())}"
    return display(place.removeprefix("environment variable ").encode())


def _why_not(source: str, variables: tuple[str, ...], loaded: Loaded) -> str:
    keys = [ENVIRONMENT[name] for name in variables]
    if source == "environment":
        return _neither(list(variables))
    if source == "secrets":
        return secret_sources.no_file(variables[-1], os.environ)
    if source == "settings":
        return _neither(keys) if loaded.path else "no configuration file is used"
    if loaded.settings.secrets.keyring is None:
        return "secrets.keyring is not set"
    return f"the keyring has no {' and no '.join(variables)}"


def _neither(names: list[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} is not set"
    return f"{', '.join(names[:-1])} and {names[-1]} are not set"


def _libpq() -> str:
    """Say where libpq itself would find a password, as far as files tell."""
    if os.environ.get("PGPASSWORD"):
        return "PGPASSWORD"
    service = os.environ.get("PGSERVICE")
    found = [f"service {service!r}"] if service else []
    path = Path(os.environ.get("PGPASSFILE") or Path("~/.pgpass").expanduser())
    shown = display(bytes(path))
    try:
        mode = path.stat().st_mode
    except OSError:
        found.append(f"PGPASSWORD is not set, and there is no {shown}")
    else:
        # libpq passes over such a file, and says so to nobody.
        open_to = mode & 0o077
        found.append(
            f"{shown} is ignored, because others may read it: chmod 600 {shown}"
            if open_to
            else shown
        )
    return ", ".join(found)
