"""Secrets that lie outside settings and environment: mounted files and the keyring.

A secret is asked for by the name of its environment variable. For POSTGRES_PASSWORD,
these files are looked for, the first one is taken:

- the one that POSTGRES_PASSWORD_FILE names (images of Docker know this),
- ``postgres_password`` in $CREDENTIALS_DIRECTORY (systemd's LoadCredential=),
- ``postgres_password`` in /run/secrets (Docker, Podman, Kubernetes).
"""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from dropzone.errors import ConfigurationError

RUN_SECRETS = Path("/run/secrets")
#: How the variables begin that hold secrets, ours and those of the clients we use.
CARRIERS = (
    *("AWS_", "DATABASE_URL", "DROPZONE__", "PGPASS", "POSTGRES_PASSWORD"),
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI"),
    *("DROPZONE_WEB_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"),
    *("DROPZONE_NOTIFICATIONS", "DROPZONE_WEBHOOK"),
)
#: Longer than any token, shorter than a disk image named by mistake.
_MOST_BYTES = 65_536


def file_of(
    variable: str, environ: Mapping[str, str], mounted: Path = RUN_SECRETS
) -> Path | None:
    """Return the file that holds this secret, if there is one.

    A file named by ``VARIABLE_FILE`` is returned also when it is not there: reading it
    then tells so.
    """
    if named := environ.get(f"{variable}_FILE"):
        return Path(named)
    for folder in (environ.get("CREDENTIALS_DIRECTORY"), mounted):
        if folder and (path := Path(folder) / variable.lower()).exists():
            return path
    return None


def read(path: Path) -> str:
    """Return the secret in a file, without the newline that editors put behind it.

    Raises:
        ConfigurationError: the file cannot be read or holds no secret. Nothing of
            what it holds is told.

    """
    try:
        # A pipe would make us wait for whoever writes to it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
            data = file.read(_MOST_BYTES + 1) if regular else b""
    except OSError as error:
        raise ConfigurationError(
            f"The secret in {path} cannot be read: {error.strerror}.",
            hint="The file must be there, and the user of the daemon may read it.",
        ) from error
    if not regular or len(data) > _MOST_BYTES:
        raise ConfigurationError(f"{path} is not a file with one secret.")
    try:
        secret = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigurationError(f"The secret in {path} is not UTF-8 text.") from None
    if not secret or "\0" in secret:
        raise ConfigurationError(f"The secret in {path} is empty or holds a NUL.")
    return secret


def no_file(
    variable: str, environ: Mapping[str, str], mounted: Path = RUN_SECRETS
) -> str:
    """Return the sentence that tells where no file for this secret is."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    places = [str(mounted)] if not folder else [folder, str(mounted)]
    return (
        f"{variable}_FILE is not set, and there is no {variable.lower()} "
        f"in {' or '.join(places)}"
    )


def without_secrets(
    environ: Mapping[str, str], *, keep: Iterable[str] = ()
) -> dict[str, str]:
    """Return an environment for a child process, without what holds our secrets.

    ``keep`` names beginnings out of ``CARRIERS`` that this child needs.
    """
    dropped = tuple(set(CARRIERS) - set(keep))
    return {
        name: value for name, value in environ.items() if not name.startswith(dropped)
    }


def from_keyring(service: str, variable: str) -> str | None:
    """Return what the system's keyring holds for this secret, if anything.

    Raises:
        ConfigurationError: the package is not installed, or the keyring is locked or
            absent.

    """
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise ConfigurationError(
            "secrets.keyring is set, but the package keyring is not installed.",
            hint="pip install 'dropzone-daemon[keyring]', or unset secrets.keyring.",
        ) from None
    try:
        return keyring.get_password(service, variable) or None
    except KeyringError as error:
        raise ConfigurationError(
            f"The keyring gives nothing for {service!r}: {type(error).__name__}.",
            hint="Unlock it, or leave secrets.keyring out: a service without a desktop "
            "has no keyring.",
        ) from error
