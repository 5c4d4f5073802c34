"""Cuts the power of zones on file systems of their own, and settles what is left."""

import contextlib
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from chaos.ground import Ground, Patch, files_of
from chaos.images import Image, make_empty
from chaos.invariants import Found, check, effects_of
from chaos.supervisor import KILLED, StopAt
from chaos.sweep import Swept

#: Images that are mounted at once, and settled by one daemon.
_TOGETHER = 12


def cut_power(
    ground: Ground,
    kind: str,
    points: Mapping[str, StopAt],
    chosen: random.Random,
    *,
    synced: Sequence[bool] = (True, False),
    extra: Mapping[str, str] | None = None,
) -> Swept:
    """Cut at each of these points, settle and check; call it in private mounts.

    ``synced`` says in turn whether a zone's producer syncs what it drops; else a zone
    may lose what nobody relied on. In half of them somebody else syncs before.
    """
    swept = Swept()
    begun = time.monotonic()
    empty = make_empty(kind, ground.base / f"empty.{kind}")
    names = list(points)
    for start in range(0, len(names), _TOGETHER):
        group = names[start : start + _TOGETHER]
        with contextlib.ExitStack() as mounted:
            patches = []
            for number, name in enumerate(group):
                image = Image(kind, empty, ground.watched / name)
                mounted.callback(image.discard)
                patch = ground.patch(name, image.at / "drop_zones")
                whether = synced[number % len(synced)]
                cut = _Cut(ground, image, patch, chosen, synced=whether)
                _note(swept, cut.make(points[name], extra))
                swept.runs[name] = cut.run
                patches.append(patch)
            ground.settle(patches, extra)
            _note(swept, check(ground, patches, whole=False))
    swept.seconds = time.monotonic() - begun
    return swept


def _note(swept: Swept, found: Found) -> None:
    for zone, told in found.by_zone.items():
        swept.broken[zone].extend(told)


class _Cut:
    """One zone whose power is cut."""

    def __init__(
        self,
        ground: Ground,
        image: Image,
        patch: Patch,
        chosen: random.Random,
        *,
        synced: bool,
    ) -> None:
        self._ground = ground
        self._image = image
        self._patch = patch
        self._chosen = chosen
        self._synced = synced

    def make(self, stop_at: StopAt, extra: Mapping[str, str] | None) -> Found:
        """Run the daemon into the cut, bring the power back, and see what is left."""
        self._image.sync()
        self._patch.drop(files_of(self._patch.name))
        if self._synced:
            self._image.sync()
        before = self._before(stop_at)
        self.run = self._ground.crash(
            self._patch, self._cutting(stop_at), before=before, extra=extra
        )
        if self.run.code != KILLED:
            self._image.cut()
        self._image.unmount()
        self._image.mount()
        return self._survey()

    def _cutting(self, stop_at: StopAt) -> StopAt:
        """Return the same moment, with the power off before the process dies."""
        if stop_at is None:
            return None
        count = 0

        def now(call: object) -> bool:
            nonlocal count
            count += 1
            reached = stop_at(call) if callable(stop_at) else count == stop_at
            if reached:
                self._image.cut()
            return reached

        return now

    def _before(self, stop_at: StopAt) -> dict[int, Callable[[], None]]:
        # The journal of ext4 is one for all: what others sync makes renames durable,
        # but not the data of the renamed.
        if not isinstance(stop_at, int) or stop_at < 2 or self._chosen.random() < 0.5:
            return {}
        earlier = self._chosen.randrange(1, stop_at)
        return {earlier: self._image.sync_something_else}

    def _survey(self) -> Found:
        """Excuse what the producer never synced, unless somebody relied on it."""
        found = Found()
        left = dict(_contents(self._patch))
        told_of = effects_of(self._ground, self._patch)
        for path, sha256 in list(self._patch.dropped):
            there = [sha for place, sha in left.items() if place.endswith(f"/{path}")]
            if sha256 in there:
                continue
            name = self._patch.name
            found.expect(name, sha256 not in told_of, f"{path}: S3 has it, we do not")
            found.expect(name, not self._synced, f"{path} is gone, and was synced")
            del self._patch.dropped[path, sha256]
            if there:
                self._patch.dropped[path, there[0]] += 1
        return found


def _contents(patch: Patch) -> Iterator[tuple[str, str]]:
    for area in ("input", "state/work", "processed", "failed"):
        for folder, _, names in os.walk(patch.root / area):
            for name in names:
                path = Path(folder) / name
                yield str(path), hashlib.sha256(path.read_bytes()).hexdigest()
