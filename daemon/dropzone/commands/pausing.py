"""Pauses steps for a person, and lets them go on; works without a daemon too."""

import getpass
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropzone import pauses, status
from dropzone.commands import access, output
from dropzone.errors import UsageError
from dropzone.pauses import STEPS, Held
from dropzone.settings import Zone

Work = Callable[[], str]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LENGTH = re.compile(r"(?:\d+[smhd])+")
_LONGEST_SECONDS = 366 * 86400
_PATIENCE_SECONDS = 10.0
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Changed:
    """One step that a command paused or let go on; ``served`` if a daemon runs."""

    zone: str
    path: Path
    step: str
    by: str
    since: float
    until: float | None
    reason: str
    served: bool


def pause(
    config: Path | None,
    *,
    zone: str | None,
    steps: Sequence[str],
    length: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Pause steps of a zone, or of all; without ``steps`` all of them.

    Raises:
        UsageError: there is no such zone, or ``length`` is none.
        ZoneError: a zone has no state yet, or it cannot be written or read.

    """
    now = time.time()
    until = None if length is None else now + seconds(length)
    if len(reason) > _LONGEST_REASON:
        raise UsageError(f"The reason is longer than {_LONGEST_REASON} characters.")
    by = _person()
    fresh = {step: Held(step, by, now, until, reason) for step in steps or STEPS}
    changed = []
    for one in _zones(config, zone):
        pauses.change(one.path, lambda held: pauses.current({**held, **fresh}))
        changed += _changed(one, fresh)
    _wait(changed, paused=True)
    if as_json:
        output.print_json({"paused": changed})
        return
    for one_zone in dict.fromkeys(change.zone for change in changed):
        names = ", ".join(c.step for c in changed if c.zone == one_zone)
        when = "until somebody resumes it"
        if until is not None:
            when = f"until {output.clock(until)}"
        print(f"Zone {one_zone}: paused {names}, {when}.")
    print("What is under way is finished. To go on: dropzone resume")


def resume(
    config: Path | None, *, zone: str | None, steps: Sequence[str], as_json: bool
) -> None:
    """Let steps go on that a person paused; a damaged list of pauses is replaced.

    Raises:
        UsageError: there is no such zone.
        ZoneError: a zone cannot be written.

    """
    changed = []
    for one in _zones(config, zone):
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
    _wait(changed, paused=False)
    if as_json:
        output.print_json({"resumed": changed})
        return
    for change in changed:
        print(f"Zone {change.zone}: {change.step} goes on.")
    if not changed:
        print("Nothing was paused by a person.")


def pause_all(config: Path | None) -> str:
    """Pause every step of every zone; return what to say about it."""
    fresh = {step: Held(step, _person(), time.time()) for step in STEPS}
    for one in _zones(config, None):
        pauses.change(one.path, lambda held: {**fresh, **held})
    return "Paused everything; what is under way is finished."


def resume_all(config: Path | None) -> str:
    """Let everything go on that persons paused; return what to say about it."""
    for one in _zones(config, None):
        if (one.path / "state" / pauses.NAME).exists():
            pauses.change(one.path, lambda _: {}, replace_damaged=True)
    return "Everything goes on."


def seconds(length: str) -> float:
    """Return what ``2h``, ``90m`` or ``1d12h`` mean.

    Raises:
        UsageError: it is no such length of time, or too long.

    """
    text = length.strip().lower().replace(" ", "")
    if not _LENGTH.fullmatch(text):
        raise UsageError(
            f"{output.shown(length)!r} is no length of time.",
            hint="Write for example 90s, 30m, 2h, 1d or 1h30m.",
        )
    parts = re.findall(r"(\d+)([smhd])", text)
    found = float(sum(int(number[:12]) * _UNITS[unit] for number, unit in parts))
    if not 0 < found <= _LONGEST_SECONDS:
        raise UsageError(
            "A pause lasts a second at least, and a year at most.",
            hint="Without --for it lasts until 'dropzone resume'.",
        )
    return found


def _zones(config: Path | None, name: str | None) -> Sequence[Zone]:
    settings = access.settings(config)
    return settings.zones if name is None else [access.zone_named(settings, name)]


def _changed(zone: Zone, held: Mapping[str, Held]) -> list[Changed]:
    served = status.server_of(zone.path) is not None
    return [
        Changed(zone.name, zone.path, h.step, h.by, h.since, h.until, h.reason, served)
        for h in held.values()
    ]


def _wait(changed: Sequence[Changed], *, paused: bool) -> None:
    """Wait until the daemons know, as they do within a moment unless they hang."""
    until = time.monotonic() + _PATIENCE_SECONDS
    moment = threading.Event()
    for change in changed:
        while change.served and _is_paused(change) is not paused:
            if time.monotonic() > until:
                print(
                    f"The daemon of zone {change.zone} has not taken notice yet; see "
                    "its log.",
                    file=sys.stderr,
                )
                return
            moment.wait(0.05)


def _is_paused(change: Changed) -> bool:
    reported = status.report_of(change.path).get("paused", ())
    return any(
        pause["service"] == pauses.PERSON and pause["step"] == change.step
        for pause in reported
    )


def _person() -> str:
    """Return who gives the command, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
