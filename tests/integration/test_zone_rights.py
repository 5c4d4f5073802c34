"""A zone that belongs to somebody else is refused before anything of it is made."""

import os
from pathlib import Path

import pytest

from dropzone import zone_rights
from dropzone.errors import ZoneError, ZoneNotOurs
from dropzone.zones import ZoneFolders
from zones_helpers import NOBODY, ROOT, needs_mounts, python, tree

needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")

OPEN_AS_NOBODY = f"""
    import os
    import sys
    from dropzone import zone_rights
    from dropzone.errors import ZoneError
    from dropzone.zones import ZoneFolders
    from pathlib import Path
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
    zone_rights._MARKS_OF_CONTAINERS = sys.argv[2:]
    try:
        ZoneFolders(Path(sys.argv[1])).open()
    except ZoneError as error:
        print(type(error).__name__, "|", error.message, "|", error.hint)
    else:
        print("opened")
"""


def opened_by_nobody(root: Path, *marks: str):
    """Open a zone; ``marks`` are files that tell of a container where they exist."""
    return python(OPEN_AS_NOBODY, root, *marks)


def give_to_nobody(root: Path):
    for folder, names, files in os.walk(root):
        for name in (".", *names, *files):
            os.chown(os.path.join(folder, name), NOBODY, NOBODY)


@needs_root
def test_a_folder_of_another_user_is_told_and_nothing_made(open_root: Path):
    root = open_root
    root.mkdir(exist_ok=True)
    os.chown(root, 4711, 4712)
    told = opened_by_nobody(root)
    assert told.startswith("ZoneNotOurs")
    assert f"User {NOBODY}:{NOBODY} may not write to {root}" in told
    assert "belongs to 4711:4712 with the mode 755" in told
    assert f"chown -R {NOBODY}:{NOBODY} {root}" in told
    assert "user 4711:4712" in told
    told = opened_by_nobody(root, "/")
    assert "--user 4711:4712" in told
    assert f"on the host: chown -R {NOBODY}:{NOBODY} FOLDER" in told
    os.chown(root, 0, 0)
    assert "run the daemon as" not in opened_by_nobody(root)
    told = opened_by_nobody(root, "/")
    assert "--user" not in told
    assert f"on the host: chown -R {NOBODY}:{NOBODY} FOLDER" in told
    assert tree(root) == {}


@needs_root
@pytest.mark.parametrize("name", ["input", "state", "state/services", "state/lock"])
def test_one_part_that_belongs_to_another_is_named(open_root: Path, name: str):
    root = open_root
    folders = ZoneFolders(root)
    folders.open()
    folders.close()
    (root / "state" / "services").mkdir(mode=0o700)
    give_to_nobody(root)
    os.chown(root / name, 4711, 4712)
    (root / "state" / "incoming").rmdir()
    told = opened_by_nobody(root)
    assert f"may not write to {root / name}, which belongs to 4711:4712" in told
    assert not (root / "state" / "incoming").exists()
    os.chown(root / name, NOBODY, NOBODY)
    assert opened_by_nobody(root).strip() == "opened"


@needs_root
def test_a_complete_zone_needs_no_rights_on_the_folder_around_it(open_root: Path):
    root = open_root
    folders = ZoneFolders(root)
    folders.open()
    folders.close()
    give_to_nobody(root)
    os.chown(root, 0, 0)
    assert opened_by_nobody(root).strip() == "opened"


@needs_root
def test_a_zone_that_cannot_be_made_is_told_with_the_folder_above(open_root: Path):
    told = opened_by_nobody(open_root.parent / "deep" / "zone")
    assert told.startswith("ZoneNotOurs")
    assert not (open_root.parent / "deep").exists()


@needs_mounts
def test_a_read_only_disk_is_waited_for_and_not_blamed_on_the_owner(tmp_path: Path):
    code = """
        import subprocess, sys
        from pathlib import Path
        from dropzone import zone_rights
        root = Path(sys.argv[1])
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", root], check=True)
        zone_rights.check(root)
        print("waited for")
    """
    before = ("/usr/bin/env", "unshare", "-m")
    assert python(code, tmp_path, before=before).strip() == "waited for"


def test_a_zone_of_our_own_passes(tmp_path: Path):
    zone_rights.check(tmp_path / "not" / "there")
    zone_rights.check(tmp_path)


def test_it_is_a_zone_error_for_those_who_only_look():
    assert issubclass(ZoneNotOurs, ZoneError)
