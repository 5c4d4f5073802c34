"""Whether an upload may begin: what is promised of a disk that zones share."""

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from dropzone.room import Growth
from dropzone.sessions.health import Health
from dropzone.settings import Settings, Zone
from dropzone.uploads.record import Wanted
from dropzone.web.api.backend import Backend
from dropzone.web.problems import Problem
from dropzone.web.uploads.shelves import Shelves

NOTHING_ADDED = Growth(copied=False, indexed=False, text_bytes=0)
MEMORY = Path("/dev/shm")  # noqa: S108 another disk; a folder of ours is made in it


@dataclass(frozen=True)
class Serving:
    """Stands for the service of a zone: its folders, and the room it leaves."""

    zone: Zone
    opened: bool = True
    room_rules: tuple[Growth, int] = (NOTHING_ADDED, 0)

    @property
    def folders(self) -> "Serving":
        return self

    def check_present(self) -> None:
        assert self.zone.path.is_dir()

    def disk_status(self) -> os.statvfs_result:
        return os.statvfs(self.zone.path)


def shelves_over(*paths: Path) -> tuple[Shelves, list[Zone]]:
    for path in paths:
        for name in ("input", "state"):
            (path / name).mkdir(parents=True)
    named = [{"name": f"z{n}", "path": path} for n, path in enumerate(paths)]
    settings = Settings.model_validate({"zones": named})
    served = [Serving(zone) for zone in settings.zones]

    def unknown():
        raise AssertionError

    backend = Backend(
        settings=lambda: settings,
        loaded=unknown,
        zones=lambda: served,
        pool=lambda: None,
        ask_reload=unknown,
        last_reload=lambda: None,
        stop=threading.Event(),
        mlflow=Health,
    )
    return Shelves(backend), list(settings.zones)


def most_of(path: Path) -> Wanted:
    """Return an upload of which a disk takes one and not two."""
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    return Wanted("dora", b"large.bin", int(free * 0.6))


def test_zones_on_one_disk_promise_its_room_once(tmp_path):
    shelves, (first, second) = shelves_over(tmp_path / "a", tmp_path / "b")
    wanted = most_of(tmp_path)
    begun = shelves.begin(first, wanted)
    with pytest.raises(Problem) as refused:
        shelves.begin(second, wanted)
    assert refused.value.status == 507
    assert shelves.remove(begun)
    assert shelves.begin(second, wanted).zone == second


def test_a_zone_on_another_disk_has_its_own_room(tmp_path):
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{MEMORY} is no other disk here")
    with tempfile.TemporaryDirectory(dir=MEMORY) as other:
        shelves, (first, second) = shelves_over(tmp_path / "a", Path(other) / "b")
        shelves.begin(first, most_of(tmp_path))
        assert shelves.begin(second, most_of(MEMORY)).zone == second
