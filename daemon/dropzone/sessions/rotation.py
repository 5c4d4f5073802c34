"""Secrets in mounted files are read again when they are used.

Whoever runs the service may exchange them under us. AWS keys have their own way, in
``aws_search``.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from dropzone import secret_sources
from dropzone.errors import ConfigurationError
from dropzone.sessions.settings import MlflowSettings, PostgresSettings


def newest(settings: PostgresSettings) -> PostgresSettings:
    """Return the settings with what the secret files hold now."""
    return replace(
        settings,
        url=_again(settings.files, "DATABASE_URL", settings.url),
        password=_again(settings.files, "POSTGRES_PASSWORD", settings.password),
    )


def log_in(settings: MlflowSettings) -> None:
    """Give MLflow's client, which reads its environment at each request, its login."""
    for variable, held in settings.login.items():
        secret = _again(settings.files, variable, held)
        if secret is not None:
            os.environ[variable] = secret.get_secret_value()


def _again(
    files: Mapping[str, Path], variable: str, held: SecretStr | None
) -> SecretStr | None:
    if variable not in files:
        return held
    try:
        return SecretStr(secret_sources.read(files[variable]))
    except ConfigurationError:
        # Just being exchanged, or gone: the service says whether the old one does.
        return held
