"""Pauses steps for a person, lets them go on, and waits until the daemon knows."""

import getpass
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dropzone import holding, pauses, status
from dropzone.commands import access, output
from dropzone.holding import Changed
from dropzone.pauses import STEPS, Held
from dropzone.settings import Zone

Work = Callable[[], str]
_PATIENCE_SECONDS = 10.0


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
    lasting = None if length is None else holding.seconds(length)
    changed = holding.pause(
        _zones(config, zone), steps, lasting=lasting, reason=reason, by=_person()
    )
    _wait(changed, paused=True)
    if as_json:
        output.print_json({"paused": changed})
        return
    for one_zone in dict.fromkeys(change.zone for change in changed):
        of_zone = [change for change in changed if change.zone == one_zone]
        names = ", ".join(change.step for change in of_zone)
        until, when = of_zone[0].until, "until somebody resumes it"
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
    changed = holding.resume(_zones(config, zone), steps)
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


def _zones(config: Path | None, name: str | None) -> Sequence[Zone]:
    settings = access.settings(config)
    return settings.zones if name is None else [access.zone_named(settings, name)]


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
