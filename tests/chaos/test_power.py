"""The power is cut before any call, on ext4 and on xfs."""

import random
from pathlib import Path

import pytest

from chaos import moments
from chaos.effort import Effort
from chaos.ground import Ground
from chaos.images import in_private_mounts, missing
from chaos.power import cut_power
from chaos.supervisor import SUPPORTED
from chaos.sweep import at, learn

pytestmark = [
    pytest.mark.skipif(not SUPPORTED, reason="needs seccomp on x86_64"),
    pytest.mark.timeout(21_600),
]
_STRIDE = 150
_STRIDE_OF_BUGS = 3
_BUGS = Path(__file__).with_name("bugs")


@pytest.fixture(params=["ext4", "xfs"])
def kind(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


def test_a_power_cut_before_any_call_loses_nothing(
    ground: Ground, effort: Effort, kind: str
) -> None:
    points = at(effort.every(_STRIDE, len(learn(ground))))
    chosen = random.Random(effort.seed)
    swept = in_private_mounts(lambda: cut_power(ground, kind, points, chosen))
    print(kind, swept)
    assert not swept.broken, swept


@pytest.mark.parametrize("bug", ["no_data_fsync"])
def test_a_planted_bug_shows_at_a_power_cut(
    ground: Ground, effort: Effort, kind: str, bug: str
) -> None:
    points = {
        "unsynced-a": moments.vectors,
        "unsynced-b": moments.after(moments.vectors, moments.commit),
        "unsynced-c": moments.receipt,
        "unsynced-d": moments.release,
    }
    if effort.full:
        points |= at(range(1, len(learn(ground)), _STRIDE_OF_BUGS * effort.stride))
    extra = {"PYTHONPATH": str(_BUGS), "SEEDED_BUG": bug}
    chosen = random.Random(effort.seed)
    swept = in_private_mounts(
        lambda: cut_power(ground, kind, points, chosen, synced=[False], extra=extra)
    )
    print(f"{kind}, {bug}: shows at {len(swept.broken)} of {swept.crashes} cuts")
    assert any("S3 has it" in told for all_ in swept.broken.values() for told in all_)
