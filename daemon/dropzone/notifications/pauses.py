"""Which pauses are told, and when they are over. Pure: the time is given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dropzone.pauses import WINDOW


@dataclass(slots=True)
class Standing:
    """What stands still because of one service. ``seen``: when it last did."""

    service: str
    since: float
    steps: list[str] = field(default_factory=list)
    reason: str = ""
    what_to_do: str = ""
    told: bool = False
    seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a pause lasts before it is told, and how long it is away when over."""

    told_after: float
    over_after: float


class Pauses:
    """One pause for each service, however many steps wait for it.

    A service that comes and goes within ``over_after`` seconds is one long pause.
    """

    def __init__(self, known: Iterable[Standing], not_before: float) -> None:
        """Go on with what was ``known`` to stand still when the last daemon ended.

        It is over at ``not_before`` at the earliest: its steps meet the fault again.
        """
        self.standing = {one.service: one for one in known}
        for one in self.standing.values():
            one.seen = not_before

    def look(
        self,
        paused: Iterable[Mapping[str, Any]],
        now: float,
        patience: Patience,
        *,
        connected: bool = True,
    ) -> tuple[list[Standing], list[Standing]]:
        """Take what ``status`` tells of pauses; return which to tell, and which ended.

        The ended ones are forgotten, also those that nobody was told of. While the
        daemon is not ``connected`` to its services, none ends.
        """
        steps: dict[str, list[str]] = {}
        for one in self.standing.values() if not connected else ():
            one.seen = max(one.seen, now)
        for pause in paused:
            service = pause["service"]
            if service == WINDOW or pause.get("until") is not None:
                # It was set to end by itself.
                continue
            known = self.standing.setdefault(service, Standing(service, pause["since"]))
            known.reason, known.what_to_do = pause["reason"], pause["what_to_do"]
            known.seen = max(known.seen, now)
            steps.setdefault(service, []).append(pause["step"])
        for service, names in steps.items():
            self.standing[service].steps = sorted(names)
        return self._long(now, patience), self._over(steps, now, patience)

    def _long(self, now: float, patience: Patience) -> list[Standing]:
        found = [
            one
            for one in self.standing.values()
            if not one.told and now - one.since >= patience.told_after
        ]
        for one in found:
            one.told = True
        return found

    def _over(
        self, there: Mapping[str, Any], now: float, patience: Patience
    ) -> list[Standing]:
        over = [
            one
            for one in self.standing.values()
            if one.service not in there and now - one.seen >= patience.over_after
        ]
        for one in over:
            del self.standing[one.service]
        return over
