"""Crashes a daemon before its calls, one zone for each, and settles them together."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaos.ground import Ground, Patch, files_of
from chaos.invariants import Found, check, picture
from chaos.supervisor import KILLED, Call, Run

#: Zones that one daemon settles at once.
_TOGETHER = 32
_AT_ONCE = 2


@dataclass
class Swept:
    """What a sweep did, and what it found, by the call before which it crashed."""

    runs: dict[int, Run] = field(default_factory=dict)
    broken: dict[int, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def crashes(self) -> int:
        return sum(run.code == KILLED for run in self.runs.values())

    @property
    def names(self) -> set[str]:
        """Return the system calls that a crash came before."""
        return {run.calls[-1].name for run in self.runs.values() if run.code == KILLED}

    def __str__(self) -> str:
        told = [f"{self.crashes} crashes in {self.seconds:.0f} s"]
        for number, what in sorted(self.broken.items()):
            calls = self.runs[number].calls if number in self.runs else []
            where = f"before call {number}, {calls[-1]}" if calls else "anywhere"
            told += [f"  {where}: {sentence}" for sentence in what]
        return "\n".join(told)


def learn(ground: Ground) -> list[Call]:
    """Return the calls of a run that nothing stops; make the stores on the way."""
    for name in ("stores", "learned"):
        patch = ground.patch(name)
        patch.drop(files_of(name))
        run = ground.crash(patch, None)
    return run.calls


def sweep(
    ground: Ground,
    points: Sequence[int],
    *,
    extra: Mapping[str, str] | None = None,
    files: Callable[[str], Mapping[str, bytes]] = files_of,
    again: random.Random | None = None,
    answers: bool = False,
) -> Swept:
    """Crash before each of these calls, settle, check; ``again``: crash that too."""
    swept = Swept()
    begun = time.monotonic()

    def crash(number: int) -> None:
        patch = ground.patch(f"at{number}")
        patch.drop(files(patch.name))
        run = ground.crash(patch, number, extra=extra, answers=answers)
        swept.runs[number] = run
        if again is not None:
            # The daemon that recovers dies as well, somewhere.
            ground.crash(patch, again.randrange(1, number + 60), extra=extra)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(crash, points):
            pass
    for start in range(0, len(ground.patches), _TOGETHER):
        part = ground.patches[start : start + _TOGETHER]
        _settle(ground, part, swept, extra)
    _judge(check(ground, ground.patches), swept)
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
    except AssertionError as error:
        swept.broken.setdefault(0, []).append(str(error)[-500:])
    before = picture(ground, patches)
    ground.settle(patches, extra)
    if picture(ground, patches) != before:
        swept.broken.setdefault(0, []).append("a further start changes something")


def _judge(found: Found, swept: Swept) -> None:
    for zone, told in found.by_zone.items():
        number = int(zone.removeprefix("at")) if zone.startswith("at") else 0
        swept.broken.setdefault(number, []).extend(told)
