"""The checks of ``dropzone doctor``, in the order a person would go through them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dropzone import config, log, services
from dropzone.commands import canary as canaries
from dropzone.commands import (
    credentials,
    doctor_machine,
    doctor_notifications,
    doctor_services,
    doctor_surroundings,
    doctor_systemd,
    doctor_web,
)
from dropzone.commands.diagnosis import Diagnosis, Verdict, ok, problem
from dropzone.commands.exposure import exposed_secrets
from dropzone.config import Loaded
from dropzone.errors import DropzoneError, ZoneError
from dropzone.settings import Settings
from dropzone.text import display

_NAMED = 5


def examine(
    path: Path | None, *, canary: bool = False, notify: bool = False
) -> list[Diagnosis]:
    """Return the findings; with ``canary`` a small file goes the whole way too.

    With ``notify`` each target of messages gets one.

    Raises:
        ConfigurationError: the settings are wrong, so nothing can be looked at.

    """
    log.configure(level="error")
    loaded = config.load(path)
    settings = _used(loaded)
    found = list(_configuration(loaded))
    found += _credentials(loaded)
    for zone in settings.zones:
        found += doctor_machine.zone(zone, settings.limits.free_megabytes)
    found += doctor_surroundings.here(settings.zones)
    found += doctor_systemd.service(settings)
    found += doctor_machine.watches(settings.zones)
    found += doctor_web.page(settings)
    found += doctor_web.traces(settings)
    found += doctor_services.programs(settings)
    found += doctor_services.all_services(settings)
    found += doctor_notifications.targets_of(settings, send=notify)
    if canary:
        found += canaries.fly(settings)
    return found


def is_ill(found: Sequence[Diagnosis]) -> bool:
    return any(one.verdict is Verdict.PROBLEM for one in found)


def _used(loaded: Loaded) -> Settings:
    try:
        return services.without_own_addresses(loaded.settings)
    except ZoneError:
        # Another user's servers cannot be those that are named; the zone is told of.
        return loaded.settings


def _configuration(loaded: Loaded) -> Iterator[Diagnosis]:
    yield ok("configuration", _sources(loaded))
    for exposed in exposed_secrets(loaded):
        yield problem(
            "secrets",
            f"{display(bytes(exposed.path))} holds {exposed.holds}, and every user "
            "may read it",
            f"{exposed.what_to_do}, or give the secret in the environment.",
        )


def _credentials(loaded: Loaded) -> Iterator[Diagnosis]:
    """Tell which source won for each service; not why the others did not."""
    try:
        every = credentials.show(loaded)
    except DropzoneError as error:
        yield problem("credentials", error.message, error.hint)
        return
    for one in every:
        checked = f"credentials, {one.service}"
        if one.problem:
            yield problem(checked, one.problem, one.what_to_do)
        else:
            source = "" if one.source == "none" else one.source
            yield ok(checked, ": ".join(filter(None, [source, one.told])))


def _sources(loaded: Loaded) -> str:
    """Return what is set from where, in as many words as there are places."""
    made: dict[str, list[str]] = {}
    for key, source in loaded.origins.items():
        made.setdefault(source, []).append(key)
    told = [
        f"{display(source)} ({', '.join(sorted(keys)[:_NAMED])}"
        f"{f' and {len(keys) - _NAMED} more' if len(keys) > _NAMED else ''})"
        for source, keys in made.items()
    ]
    file = (
        f"{display(bytes(loaded.path))} is used" if loaded.path else "no file is used"
    )
    return "; ".join([file, *told]) if told else f"{file}; the defaults hold"
