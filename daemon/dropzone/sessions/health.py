"""Whether a service answers, and how fast."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from dropzone.errors import DropzoneError


@dataclass(frozen=True, slots=True)
class Health:
    """The result of the last look at a service.

    ``healthy`` is None while nobody has looked. ``last_check`` is in seconds since
    the epoch; ``latency_seconds`` is the time of one round trip; ``error`` is a
    sentence for a person.
    """

    healthy: bool | None = None
    last_check: float | None = None
    latency_seconds: float | None = None
    error: str | None = None


def measure(round_trip: Callable[[], None]) -> Health:
    """Return how ``round_trip`` went; errors of ours become part of the result."""
    began = time.monotonic()
    try:
        round_trip()
    except DropzoneError as error:
        told = f"{error.message} {error.hint}".strip()
        return Health(healthy=False, last_check=time.time(), error=told)
    return Health(
        healthy=True,
        last_check=time.time(),
        latency_seconds=time.monotonic() - began,
    )
