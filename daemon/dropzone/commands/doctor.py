"""The checks of ``dropzone doctor``, in the order a person would go through them."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from dropzone import config, log, services
from dropzone.commands import canary as canaries
from dropzone.commands import doctor_machine, doctor_services
from dropzone.commands.diagnosis import Diagnosis, Verdict, ok, problem
from dropzone.config import Loaded
from dropzone.text import display

_SECRETS = (
    "aws.secret_access_key",
    "postgres.password",
    "postgres.url",
    "mlflow.tracking_uri",
)


def examine(path: Path | None, *, canary: bool = False) -> list[Diagnosis]:
    """Return the findings; with ``canary`` a small file goes the whole way too.

    Raises:
        ConfigurationError: the settings are wrong, so nothing can be looked at.

    """
    log.configure(level="error")
    loaded = config.load(path)
    settings = services.without_own_addresses(loaded.settings)
    found = list(_configuration(loaded))
    for zone in settings.zones:
        found += doctor_machine.zone(zone)
    found += doctor_machine.watches(settings.zones)
    found += doctor_services.programs(settings)
    found += doctor_services.all_services(settings)
    if canary:
        found += canaries.fly(settings)
    return found


def is_ill(found: Sequence[Diagnosis]) -> bool:
    return any(one.verdict is Verdict.PROBLEM for one in found)


def _configuration(loaded: Loaded) -> Iterator[Diagnosis]:
    if loaded.path is None:
        yield ok("configuration", "no file is used; the defaults hold")
        return
    shown = display(bytes(loaded.path))
    yield ok("configuration", f"{shown} ({len(loaded.origins)} settings made)")
    if secrets := _readable_secrets(loaded.path, loaded):
        yield problem(
            "secrets",
            f"{shown} holds {', '.join(secrets)}, and every user may read it",
            f"chmod o-r {shown}, or give the secret in the environment.",
        )


def _readable_secrets(path: Path, loaded: Loaded) -> list[str]:
    if not path.stat().st_mode & stat.S_IROTH:
        return []
    return [
        key
        for key in _SECRETS
        if loaded.origins.get(key) == str(path)
        and key not in loaded.referenced
        and _is_secret(key, loaded)
    ]


def _is_secret(key: str, loaded: Loaded) -> bool:
    """Return True for a key or password, and for an address that holds one."""
    settings = loaded.settings
    if key == "postgres.url" and settings.postgres.url:
        return "@" in settings.postgres.url.get_secret_value()
    if key == "mlflow.tracking_uri":
        return "@" in (settings.mlflow.tracking_uri or "")
    return True
