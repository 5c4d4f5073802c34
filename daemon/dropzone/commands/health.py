"""Whether daemons live, for those who restart what does not: quick, and asks nobody."""

import time
from dataclasses import dataclass
from pathlib import Path

from dropzone import status
from dropzone.settings import Settings

# The main loop reports each second. Disks hang for a minute and come back by
# themselves; a start again would not help against that.
_HANGS_SECONDS = 120.0
# A start recovers what it finds in the zone, a million files in some minutes.
_STARTS_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Beat:
    """``pid`` is the daemon's, or None; ``seconds_ago`` tells when it last reported.

    ``starting_seconds`` is set until it reports for the first time. ``stale`` names
    its loops that hang, and for how many seconds.
    """

    pid: int | None
    seconds_ago: float | None
    starting_seconds: float | None
    stale: dict[str, float]


@dataclass(frozen=True, slots=True)
class ZoneHealth:
    """``told`` is the sentence about it, for a person."""

    zone: str
    healthy: bool
    told: str


def of_all(settings: Settings) -> list[ZoneHealth]:
    """Return the health of each zone.

    Raises:
        ZoneError: this user may not look into one.

    """
    return [judge(zone.name, beat_of(zone.path)) for zone in settings.zones]


def beat_of(root: Path) -> Beat:
    """Return when the daemon of a zone was last heard from; opens no journal.

    Raises:
        ZoneError: this user may not look.

    """
    state = root / "state"
    pid = status.server_of(root)
    # The numbers of processes come again in containers, so times tell whose it is.
    held = _seconds_since(state / "lock")
    reported = _seconds_since(state / "daemon.json")
    starting = held is not None and (reported is None or reported > held)
    stale = {} if starting else status.report_of(root).get("stale", {})
    return Beat(pid, reported, held if starting else None, stale)


def _seconds_since(path: Path) -> float | None:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def judge(zone: str, beat: Beat) -> ZoneHealth:
    """Return whether a daemon that was heard from like this is alive."""
    if beat.pid is None:
        return ZoneHealth(zone, healthy=False, told=f"No daemon serves zone {zone}.")
    by = f"Process {beat.pid} serves zone {zone}"
    if beat.starting_seconds is not None:
        told = f"{by}, and has been starting for {beat.starting_seconds:.0f} s."
        return ZoneHealth(zone, beat.starting_seconds < _STARTS_SECONDS, told)
    ago = beat.seconds_ago or 0.0
    if ago > _HANGS_SECONDS:
        told = f"{by}, but hangs: it said nothing for {ago:.0f} s."
        return ZoneHealth(zone, healthy=False, told=told)
    if beat.stale:
        hanging = ", ".join(f"{name} for {s:.0f} s" for name, s in beat.stale.items())
        return ZoneHealth(zone, healthy=False, told=f"{by}, but hangs: {hanging}.")
    return ZoneHealth(zone, healthy=True, told=f"{by}, heard from {ago:.0f} s ago.")
