import os
import threading

import pytest

from dropzone.errors import ServiceUnavailable, ZoneError
from dropzone.zone_opening import holder_of
from dropzone.zones import Move, ZoneFolders
from zones_helpers import in_threads, needs_mounts, put, python


def place(folders, claim, area="processed"):
    folders.place([Move(claim.job_id, claim.path, area, claim.path)])


def test_a_second_holder_is_refused_and_the_first_is_named(folders):
    assert holder_of(folders.root) == os.getpid()
    with pytest.raises(ZoneError, match=f"process {os.getpid()}"):
        ZoneFolders(folders.root).open()
    folders.close()
    assert holder_of(folders.root) is None
    folders.open()


def test_looking_for_the_holder_never_keeps_a_daemon_from_starting(tmp_path):
    folders = ZoneFolders(tmp_path / "zone")
    folders.open()
    folders.close()
    stop = threading.Event()

    def look(number):
        if number:
            while not stop.wait(0.003):
                holder_of(folders.root)
            return
        try:
            for _ in range(20):
                folders.open()
                folders.close()
        finally:
            stop.set()

    in_threads(3, look)
    assert holder_of(folders.root) is None


def test_nobody_holds_what_is_not_there(tmp_path):
    assert holder_of(tmp_path / "none") is None


@pytest.mark.parametrize("area", ["input", "processed", "failed", "state"])
def test_a_link_for_a_folder_or_a_file_is_refused(tmp_path, area):
    root = tmp_path / "zone"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / area).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ZoneError):
        ZoneFolders(root).open()
    (root / area).unlink()
    (root / area).write_text("a file")
    with pytest.raises(ZoneError):
        ZoneFolders(root).open()


def test_what_a_dead_probe_left_is_no_trouble(folders):
    for area in ("input", "processed", "failed", "state/work"):
        (folders.root / area / ".rename-probe").touch()
    folders.close()
    folders.open()
    assert not [p for p in folders.root.rglob(".rename-probe") if "state" not in str(p)]


@pytest.mark.parametrize("area", ["input", "processed", "failed"])
def test_a_folder_that_was_replaced_is_opened_again(folders, area):
    assert not folders.refresh()
    (folders.root / area).rename(folders.root / "was")
    with pytest.raises(ServiceUnavailable, match=area):
        folders.refresh()
    (folders.root / area).mkdir()
    assert folders.refresh() == (area == "input")
    assert not folders.refresh()
    claim = put(folders, b"x")
    folders.claim(claim)
    place(folders, claim, "failed" if area == "failed" else "processed")


def test_a_replaced_state_folder_is_not_gone_on_with(folders):
    (folders.root / "state").rename(folders.root / "was")
    (folders.root / "state").mkdir()
    with pytest.raises(ZoneError, match="was replaced"):
        folders.refresh()


MOUNT = 'mount --bind "$0" "$1" && shift && exec "$@"'


@needs_mounts
@pytest.mark.parametrize("area", ["input", "processed", "failed", "state/work"])
def test_bind_mounts_of_one_file_system_are_refused(tmp_path, area):
    root = tmp_path / "zone"
    (root / area).mkdir(parents=True)
    (tmp_path / "other").mkdir()
    code = """
        import sys
        from pathlib import Path
        from dropzone.errors import ZoneError
        from dropzone.zones import ZoneFolders
        try:
            ZoneFolders(Path(sys.argv[1])).open()
        except ZoneError as error:
            assert "different mounts" in error.message, error.message
            print("refused")
    """
    mount = ["unshare", "-m", "sh", "-c", MOUNT]
    before = [*mount, str(tmp_path / "other"), str(root / area)]
    assert python(code, root, before=before) == "refused\n"
    assert not list(root.rglob(".rename-probe"))


@needs_mounts
def test_a_mount_that_comes_later_pauses_and_nothing_is_written_on_it(tmp_path):
    code = """
        import os, subprocess, sys
        from pathlib import Path
        from dropzone.errors import ServiceUnavailable
        from dropzone.zones import ZoneFolders
        root = Path(sys.argv[1])
        folders = ZoneFolders(root)
        folders.open()
        subprocess.run(["mount", "-t", "tmpfs", "x", root / "processed"], check=True)
        try:
            folders.refresh()
        except ServiceUnavailable as error:
            assert error.service == "disk"
            assert os.listdir(root / "processed") == []
            subprocess.run(["umount", root / "processed"], check=True)
            print(folders.refresh())
    """
    before = ["unshare", "-m"]
    assert python(code, tmp_path / "zone", before=before) == "False\n"
