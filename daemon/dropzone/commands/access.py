"""What a command works with: the settings as the daemon would use them, and sessions.

A command that needs the embedded servers attaches to those that run, or runs them for
the moment.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dropzone import config, explaining, log, services
from dropzone.config import Loaded
from dropzone.errors import UsageError
from dropzone.explaining import Explained
from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone


def settings(path: Path | None) -> Settings:
    """Return the settings, and let only warnings be logged.

    Raises:
        ConfigurationError: something in them is wrong.

    """
    return services.without_own_addresses(loaded(path).settings)


def loaded(path: Path | None) -> Loaded:
    """Return the settings as they are given, and let only warnings be logged.

    Raises:
        ConfigurationError: something in them is wrong.

    """
    log.configure(level="warning")
    return config.load(path)


def zone_named(chosen: Settings, name: str | None) -> Zone:
    """Return the zone of this name, or the first one.

    Raises:
        UsageError: there is no such zone.

    """
    if name is None:
        return chosen.zones[0]
    for zone in chosen.zones:
        if zone.name == name:
            return zone
    known = ", ".join(zone.name for zone in chosen.zones)
    raise UsageError(f"There is no zone {name!r}.", hint=f"Known: {known}.")


def explained(path: Path | None) -> list[Explained]:
    """Return every setting as the daemon would use it.

    Raises:
        ConfigurationError: something in them is wrong.

    """
    made = config.load(path)
    return explaining.explained(made, services.without_own_addresses(made.settings))


@contextmanager
def sessions(chosen: Settings) -> Iterator[SessionPool]:
    """Lend the sessions of one command; servers that were started for it end with it.

    Raises:
        ServiceUnavailable: an embedded server does not start.

    """
    stop = threading.Event()
    servers = services.embedded(chosen, stop)
    addresses = servers.start() if servers is not None else None
    try:
        with SessionPool.from_settings(chosen, addresses, stop=stop) as pool:
            yield pool
    finally:
        if servers is not None:
            servers.stop()
