"""Lets steps stand still for a person, and go on; works without a daemon too."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropzone import pauses, status
from dropzone.errors import UsageError
from dropzone.pauses import STEPS, Held
from dropzone.settings import Zone
from dropzone.text import display

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LENGTH = re.compile(r"(?:\d+[smhd])+")
#: A pause lasts a year at most.
LONGEST_SECONDS = 366 * 86400
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Changed:
    """One step that a person paused or let go on; ``served`` if a daemon runs."""

    zone: str
    path: Path
    step: str
    by: str
    since: float
    until: float | None
    reason: str
    served: bool


def pause(
    zones: Iterable[Zone],
    steps: Sequence[str],
    *,
    lasting: float | None,
    reason: str,
    by: str,
) -> list[Changed]:
    """Pause steps of these zones; without ``steps`` all of them.

    Without ``lasting``, in seconds, until somebody resumes them.

    Raises:
        UsageError: ``reason`` is too long.
        ZoneError: a zone has no state yet, or it cannot be written or read.

    """
    now = time.time()
    until = None if lasting is None else now + lasting
    if len(reason) > _LONGEST_REASON:
        raise UsageError(f"The reason is longer than {_LONGEST_REASON} characters.")
    fresh = {step: Held(step, by, now, until, reason) for step in steps or STEPS}
    changed = []
    for one in zones:
        pauses.change(one.path, lambda held: pauses.current({**held, **fresh}))
        changed += _changed(one, fresh)
    return changed


def resume(zones: Iterable[Zone], steps: Sequence[str]) -> list[Changed]:
    """Let steps go on that a person paused; a damaged list of pauses is replaced.

    Raises:
        ZoneError: a zone cannot be written.

    """
    changed = []
    for one in zones:
        gone: dict[str, Held] = {}

        def without(
            held: dict[str, Held], gone: dict[str, Held] = gone
        ) -> Mapping[str, Held]:
            gone.update({s: h for s, h in held.items() if not steps or s in steps})
            return {s: h for s, h in held.items() if s not in gone}

        # A zone that was never served has nothing that could be paused.
        if (one.path / "state" / pauses.NAME).exists():
            pauses.change(one.path, without, replace_damaged=True)
        changed += _changed(one, gone)
    return changed


def seconds(length: str) -> float:
    """Return what ``2h``, ``90m`` or ``1d12h`` mean.

    Raises:
        UsageError: it is no such length of time, or too long.

    """
    text = length.strip().lower().replace(" ", "")
    if not _LENGTH.fullmatch(text):
        raise UsageError(
            f"{display(length)!r} is no length of time.",
            hint="Write for example 90s, 30m, 2h, 1d or 1h30m.",
        )
    parts = re.findall(r"(\d+)([smhd])", text)
    found = float(sum(int(number[:12]) * _UNITS[unit] for number, unit in parts))
    if not 0 < found <= LONGEST_SECONDS:
        raise UsageError(
            "A pause lasts a second at least, and a year at most.",
            hint="Without --for it lasts until 'dropzone resume'.",
        )
    return found


def _changed(zone: Zone, held: Mapping[str, Held]) -> list[Changed]:
    served = status.server_of(zone.path) is not None
    return [
        Changed(zone.name, zone.path, h.step, h.by, h.since, h.until, h.reason, served)
        for h in held.values()
    ]
