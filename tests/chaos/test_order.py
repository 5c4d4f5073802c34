"""The trace of a run: nothing reaches a server before its cause is on the disk."""

from pathlib import Path

import pytest

from chaos.ground import Ground, files_of
from chaos.order import violations
from chaos.supervisor import SUPPORTED

pytestmark = [
    pytest.mark.skipif(not SUPPORTED, reason="needs seccomp on x86_64"),
]
_BUGS = Path(__file__).with_name("bugs")
# With more than a few files one sync of the whole volume replaces those of each.
_MANY = {f"many/{number}.txt": b"one of many %d" % number for number in range(12)}
_ONE = {"alone.txt": b"the only one"}


def _trace(ground: Ground, files: dict[str, bytes], bug: str = "") -> list[str]:
    patch = ground.patch(f"traced-{bug.replace('_', '-')}")
    patch.drop(files)
    extra = {"PYTHONPATH": str(_BUGS), "SEEDED_BUG": bug} if bug else {}
    return violations(ground.crash(patch, None, extra=extra).calls, str(patch.root))


@pytest.mark.parametrize("files", [_ONE, files_of("few"), _MANY], ids=len)
def test_what_servers_are_told_is_on_the_disk(
    ground: Ground, files: dict[str, bytes]
) -> None:
    assert _trace(ground, files) == []


@pytest.mark.parametrize(
    ("bug", "sentence"),
    [
        ("no_data_fsync", "alone.txt is not durable"),
        ("no_claim_fsync", "/input/traced-no-claim-fsync is not durable"),
        ("move_before_commit", "released before Postgres committed"),
        ("receipt_after_rename", "released without a receipt"),
    ],
)
def test_a_planted_bug_is_out_of_order(ground: Ground, bug: str, sentence: str) -> None:
    assert any(sentence in wrong for wrong in _trace(ground, _ONE, bug))
