"""Retention is killed before any of its calls: no file goes without its record."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from chaos.effort import Effort
from chaos.ground import Ground, Patch, files_of
from chaos.supervisor import KILLED, SUPPORTED, Call, Run, StopAt, Supervisor
from daemons import ZoneOfTest
from dropzone import removals

pytestmark = [
    pytest.mark.skipif(not SUPPORTED, reason="needs seccomp on x86_64"),
    pytest.mark.timeout(3600),
]
_CLEAN = (sys.executable, "-m", "dropzone", "clean")
_SAMPLE = 4


class Copies:
    """Copies of a settled zone, each to be cleaned and killed at one point."""

    def __init__(self, ground: Ground, patch: Patch) -> None:
        self._ground = ground
        self._patch = patch
        self._made = 0

    def make(self) -> ZoneOfTest:
        self._made += 1
        base = self._ground.watched / f"copy{self._made}"
        shutil.copytree(self._patch.root, base / "drop_zones", symlinks=True)
        zone = [{"name": self._patch.name, "path": str(base / "drop_zones")}]
        environment = {
            **self._patch.zone.environment,
            "DROPZONE__ZONES": json.dumps(zone),
            "DROPZONE__RETENTION__PROCESSED_DAYS": "0.00000001",
        }
        return ZoneOfTest(base, environment)

    def clean(self, zone: ZoneOfTest, stop_at: StopAt = None) -> Run:
        return Supervisor(zone.base, stop_at=stop_at).run(
            _CLEAN,
            cwd=zone.base,
            environment=zone.environment,
            log=self._ground.base / f"{zone.base.name}.log",
        )


@pytest.fixture
def copies(ground: Ground) -> Copies:
    patch = ground.patch("settled")
    patch.drop(files_of("settled"))
    ground.settle([patch])
    return Copies(ground, patch)


def places_of(zone: ZoneOfTest) -> dict[str, Path]:
    """Return where the receipts say that each processed file lies, by its job."""
    return {
        receipt["job"]: zone.root / "processed" / receipt["place"]
        for receipt in zone.receipts()
        if receipt["area"] == "processed"
    }


def check_explained(zone: ZoneOfTest) -> None:
    """Check that each file is there, or that its removal was recorded before."""
    recorded = set(removals.removed_jobs(zone.root))
    leaving = zone.root / "state" / "leaving"
    for job, place in places_of(zone).items():
        assert place.exists() or (leaving / job).exists() or job in recorded, job


def is_record(call: Call) -> bool:
    return call.name == "write" and "/removals/" in call.paths[0]


def test_killed_before_any_call_it_removes_nothing_unrecorded(
    copies: Copies, effort: Effort
) -> None:
    learned = copies.clean(copies.make())
    calls = learned.calls
    first = next(i for i, call in enumerate(calls, 1) if is_record(call))
    step = 1 if effort.full else max(1, (len(calls) - first) // _SAMPLE)
    points = range(first + effort.seed % step, len(calls) + 1, step)
    for point in points:
        zone = copies.make()
        run = copies.clean(zone, point)
        assert run.code == KILLED
        check_explained(zone)
        assert copies.clean(zone).code == 0, "the next one finishes"
        assert not zone.files("processed")
        assert not os.listdir(zone.root / "state" / "leaving")
        with zone.journal() as journal:
            gone = {job.id for job in journal.newest(20) if job.removed_at is not None}
        assert gone == set(places_of(zone)) <= set(removals.removed_jobs(zone.root))
