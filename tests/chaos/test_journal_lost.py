"""The journal is deleted, damaged or old: nothing is lost and nothing done twice."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import moments
from chaos.effort import Effort
from chaos.ground import Ground, Patch, files_of
from chaos.invariants import check, picture
from chaos.supervisor import SUPPORTED

pytestmark = [
    pytest.mark.skipif(not SUPPORTED, reason="needs seccomp on x86_64"),
]
# Of 24, in a run of the whole suite.
_CASES = 6
_PARTS = ("", "-wal", "-shm")


def _files(patch: Patch) -> list[Path]:
    journal = patch.root / "state" / "journal.sqlite"
    parts = [journal.with_name(journal.name + part) for part in _PARTS]
    return [part for part in parts if part.exists()]


def _delete(patch: Patch, _random: random.Random) -> None:
    for file in _files(patch):
        file.unlink()


def _delete_all_but_the_log(patch: Patch, _random: random.Random) -> None:
    _files(patch)[0].unlink()


def _empty(patch: Patch, _random: random.Random) -> None:
    for file in _files(patch):
        os.truncate(file, 0)


def _truncate(patch: Patch, chosen: random.Random) -> None:
    for file in _files(patch):
        os.truncate(file, chosen.randrange(1, max(2, file.stat().st_size)))


def _overwrite(patch: Patch, chosen: random.Random) -> None:
    with _files(patch)[0].open("r+b") as file:
        for _ in range(3):
            file.seek(chosen.randrange(file.seek(0, os.SEEK_END)))
            file.write(chosen.randbytes(700))


def _restore_old_copy(patch: Patch, _random: random.Random) -> None:
    for file in _files(patch):
        file.unlink()
    for copy in (patch.root.parent / "copy").iterdir():
        shutil.copy(copy, patch.root / "state")


_DAMAGES: list[Callable[[Patch, random.Random], None]] = [
    _delete,
    _delete_all_but_the_log,
    _empty,
    _truncate,
    _overwrite,
    _restore_old_copy,
]


_MOMENTS = {
    "commit": moments.vectors,
    "receipt": moments.receipt,
    "release": moments.release,
    "end": None,
}


def test_a_lost_journal_is_made_again_at_any_moment(
    ground: Ground, effort: Effort
) -> None:
    chosen = random.Random(effort.seed)
    cases = [(damage, moment) for damage in _DAMAGES for moment in _MOMENTS]
    cases = chosen.sample(cases, len(cases) if effort.full else _CASES)
    for damage, moment in cases:
        patch = ground.patch(f"{damage.__name__.strip('_')}-at-{moment}")
        patch.drop({"first.txt": f"first in {patch.name}".encode()})
    ground.settle(ground.patches)
    for (damage, moment), patch in zip(cases, ground.patches, strict=True):
        _copy(patch)
        patch.drop(files_of(patch.name))
        ground.crash(patch, _MOMENTS[moment])
        damage(patch, chosen)
    ground.settle(ground.patches)
    found = check(ground, ground.patches)
    assert not found, f"{found}\n{ground.log()[-4000:]}"
    before = picture(ground, ground.patches)
    ground.settle(ground.patches)
    assert picture(ground, ground.patches) == before


def _copy(patch: Patch) -> None:
    """Keep the journal of a zone that is at rest: the old copy of later."""
    copy = patch.root.parent / "copy"
    copy.mkdir()
    for file in _files(patch):
        shutil.copy(file, copy)
