"""Whether all is well, in a word and in a sentence: what a person reads first."""

from collections.abc import Sequence
from dataclasses import dataclass

from dropzone.pauses import PERSON, WINDOW
from dropzone.web.api import models

# Without these no file gets to its end; MLflow may come later.
_NEEDED = {"s3": "S3", "postgres": "Postgres"}


@dataclass(frozen=True, slots=True)
class Headline:
    """``tone`` is good, warn (it waits for people) or bad (broken, or files failed)."""

    tone: str
    word: str
    text: str


def of(zones: Sequence[models.Zone], services: Sequence[models.Service]) -> Headline:
    """Return the worst that can be said of the zones and what they need."""
    return (
        _unserved(zones)
        or _broken(zones)
        or _failed(zones)
        or _paused(zones)
        or _silent(services)
        or _refused(zones)
        or Headline("good", "All is well", "All is well.")
    )


def _unserved(zones: Sequence[models.Zone]) -> Headline | None:
    for zone in zones:
        if zone.pid is None or zone.pauses_unknown:
            return Headline("bad", "Stands still", zone.sentence)
    return None


def _broken(zones: Sequence[models.Zone]) -> Headline | None:
    for zone in zones:
        for pause in zone.paused:
            if pause.service not in {PERSON, WINDOW}:
                step = pause.step.capitalize()
                text = f"{step} stands still: {pause.reason}"
                return Headline("bad", "Stands still", text)
    return None


def _failed(zones: Sequence[models.Zone]) -> Headline | None:
    failed = sum(zone.failed for zone in zones)
    if not failed:
        return None
    text = f"{failed:,} files failed and need you."
    if failed == 1:
        text = "1 file failed and needs you."
    word = f"{failed:,} failed"
    return Headline("bad", f"{word}, paused" if _paused(zones) else word, text)


def _paused(zones: Sequence[models.Zone]) -> Headline | None:
    for zone in zones:
        held = [pause for pause in zone.paused if pause.service == PERSON]
        if held:
            steps = ", ".join(pause.step for pause in held)
            verb = "is" if len(held) == 1 else "are"
            text = f"{steps} {verb} paused by {held[0].by}."
            return Headline("warn", "Paused", text[0].upper() + text[1:])
    return None


def _silent(services: Sequence[models.Service]) -> Headline | None:
    # No step stands still for it before there is a file.
    away = [
        _NEEDED[s.service]
        for s in services
        if s.service in _NEEDED and s.healthy is False
    ]
    if not away:
        return None
    names, verb = " and ".join(away), "do" if len(away) > 1 else "does"
    text = f"{names} {verb} not answer; files that come now will wait."
    return Headline("bad", f"{names} away", text)


def _refused(zones: Sequence[models.Zone]) -> Headline | None:
    refused = sum(len(zone.refused) for zone in zones)
    if not refused:
        return None
    text = f"{refused} things in input/ cannot be taken."
    if refused == 1:
        text = "1 thing in input/ cannot be taken."
    return Headline("warn", "Look into input/", text)
