"""``/healthz`` and ``/readyz``: is it alive, is it ready, and if not, why not."""

import os
from collections.abc import Sequence
from typing import Any

from dropzone import status
from dropzone.settings import Settings
from dropzone.status import ZoneStatus

_GOES_ON = "See dropzone doctor; the step goes on by itself once that is mended."


def not_ready(settings: Settings) -> list[dict[str, Any]]:
    """Return why files are not, or not fully, processed right now; [] when they are.

    Raises:
        ZoneError: a zone cannot be looked at.

    """
    found = status.of_all(settings, history=False)
    return [reason for zone in found for reason in _reasons(zone)]


def _reasons(zone: ZoneStatus) -> Sequence[dict[str, Any]]:
    if zone.pid != os.getpid():
        other = f"process {zone.pid} serves it" if zone.pid else "it is not opened yet"
        return [
            {
                "zone": zone.zone,
                "step": "start",
                "reason": f"This daemon does not serve the zone: {other}.",
                "what_to_do": "Wait, or see the daemon's log for what it waits for.",
            }
        ]
    return [
        {
            "zone": zone.zone,
            **pause,
            "what_to_do": pause["what_to_do"] or _GOES_ON,
        }
        for pause in zone.faults
    ]
