"""The daemon is killed before any of its calls, and nothing is lost or doubled."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import moments
from chaos.effort import Effort
from chaos.ground import Ground, more_files_of
from chaos.supervisor import SUPPORTED, StopAt
from chaos.sweep import Swept, at, learn, sweep

pytestmark = [
    pytest.mark.skipif(not SUPPORTED, reason="needs seccomp on x86_64"),
    pytest.mark.timeout(21_600),
]
_STRIDE = 40
_STRIDE_OF_ANSWERS = 160
_STRIDE_OF_BUGS = 3
_BUGS = Path(__file__).with_name("bugs")


def test_killed_before_any_call_it_finishes_everything(
    ground: Ground, effort: Effort
) -> None:
    calls = learn(ground)
    swept = sweep(ground, at(effort.every(_STRIDE, len(calls))))
    print(swept, sorted(swept.names), len(calls), "calls")
    assert not swept.broken, swept
    assert swept.crashes
    if effort.stride == 1:
        assert {call.name for call in calls} <= swept.names | {"utimensat", "rename"}


def test_killed_between_request_and_answer_and_then_once_more(
    ground: Ground, effort: Effort
) -> None:
    count = len(learn(ground)) * 2
    points = at(effort.every(_STRIDE_OF_ANSWERS, count))
    chosen = random.Random(effort.seed)
    swept = sweep(ground, points, files=more_files_of, again=chosen, answers=True)
    print(swept, sorted(swept.names))
    assert not swept.broken, swept


# By the name of the bug, the points at which it must show, fresh for each sweep.
_SHOWS: dict[str, Callable[[], dict[str, StopAt]]] = {
    "move_before_commit": lambda: {
        "moved": moments.after(moments.release),
        "committing": moments.after(moments.release, moments.commit),
    },
    "receipt_after_rename": lambda: {
        "released": moments.after(moments.release, moments.receipt)
    },
    "create_without_search": lambda: {"logging": moments.run_table},
    "key_by_job": lambda: {"never": None},
    "no_conflict_clause": lambda: {"failing": moments.reason},
}


def test_without_a_bug_the_same_moments_are_harmless(ground: Ground) -> None:
    points = {
        f"{bug.replace('_', '-')}-{name}": stop
        for bug, made in _SHOWS.items()
        for name, stop in made().items()
    }
    swept = sweep(ground, points)
    assert not swept.broken, swept


@pytest.mark.parametrize("bug", _SHOWS)
def test_a_planted_bug_is_found(ground: Ground, effort: Effort, bug: str) -> None:
    points = _SHOWS[bug]()
    if effort.full:
        points |= at(range(1, len(learn(ground)), _STRIDE_OF_BUGS * effort.stride))
    swept = _sweep_with(bug, ground, points)
    found = [zone for zone in swept.broken if zone != "all"]
    print(f"{bug}: shows at {len(found)} of {swept.crashes} crashes")
    assert found, "the harness is blind to this bug"


def _sweep_with(bug: str, ground: Ground, points: dict[str, StopAt]) -> Swept:
    return sweep(ground, points, extra={"PYTHONPATH": str(_BUGS), "SEEDED_BUG": bug})
