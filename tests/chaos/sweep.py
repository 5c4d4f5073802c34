"""Crashes a daemon before its calls, one zone for each, and settles them together."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaos.ground import Ground, Patch, files_of
from chaos.invariants import check, picture
from chaos.supervisor import KILLED, Call, Run, StopAt

#: Zones that one daemon settles at once.
_TOGETHER = 32
_AT_ONCE = 2
#: How much later than the first crash the second one may come, in calls.
_LATER = 60


@dataclass
class Swept:
    """What a sweep did, and what it found, by the zone that was crashed."""

    runs: dict[str, Run] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0

    @property
    def crashes(self) -> int:
        return sum(run.code == KILLED for run in self.runs.values())

    @property
    def names(self) -> set[str]:
        """Return the system calls that a crash came before."""
        killed = [run for run in self.runs.values() if run.code == KILLED]
        return {run.calls[-1].name for run in killed}

    def __str__(self) -> str:
        told = [f"{self.crashes} crashes in {self.seconds:.0f} s"]
        for name, what in sorted(self.broken.items()):
            calls = self.runs[name].calls if name in self.runs else []
            where = f"{name}, before {calls[-1]}" if calls else name
            told += [f"  {where}: {sentence[:300]}" for sentence in what]
        return "\n".join(told)


def at(numbers: Iterable[int]) -> dict[str, StopAt]:
    """Return the points that are just before the calls of these numbers."""
    return {f"at{number}": number for number in numbers}


def learn(ground: Ground) -> list[Call]:
    """Return the calls of a run that nothing stops."""
    patch = ground.patch("learned")
    patch.drop(files_of(patch.name))
    return ground.crash(patch, None).calls


def sweep(
    ground: Ground,
    points: Mapping[str, StopAt],
    *,
    extra: Mapping[str, str] | None = None,
    files: Callable[[str], Mapping[str, bytes]] = files_of,
    again: random.Random | None = None,
    answers: bool = False,
) -> Swept:
    """Crash at each of these points, settle, check; ``again``: crash that too."""
    swept = Swept()
    begun = time.monotonic()

    def crash(name: str) -> None:
        patch = ground.patch(name)
        patch.drop(files(name))
        run = ground.crash(patch, points[name], extra=extra, answers=answers)
        swept.runs[name] = run
        if again is not None:
            # The daemon that recovers dies as well, somewhere.
            later = again.randrange(1, len(run.calls) + _LATER)
            ground.crash(patch, later, extra=extra)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(crash, points):
            pass
    for start in range(0, len(ground.patches), _TOGETHER):
        _settle(ground, ground.patches[start : start + _TOGETHER], swept, extra)
    for zone, told in check(ground, ground.patches).by_zone.items():
        swept.broken[zone].extend(told)
    swept.seconds = time.monotonic() - begun
    return swept


def _settle(
    ground: Ground,
    patches: Sequence[Patch],
    swept: Swept,
    extra: Mapping[str, str] | None,
) -> None:
    try:
        ground.settle(patches, extra)
        before = picture(ground, patches)
        ground.settle(patches, extra)
    except AssertionError as error:
        swept.broken["all"].append(str(error)[-500:])
        return
    if picture(ground, patches) != before:
        swept.broken["all"].append("a further start changes something")
