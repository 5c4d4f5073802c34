"""Uploads on the disk: what counts after a crash, landing, expiry, names."""

import contextlib
import errno
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dropzone import given
from dropzone.errors import UsageError
from dropzone.readiness import NameFilter
from dropzone.uploads import writing
from dropzone.uploads.naming import path_of
from dropzone.uploads.record import Upload, Wanted
from dropzone.uploads.shelf import Shelf
from dropzone.web.uploads.shelves import of_disk

IGNORES = NameFilter().ignores
DAY = 86_400.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("input", "state"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def shelf(root: Path) -> Shelf:
    return Shelf(root)


def begin(shelf: Shelf, length: int = 10, path: bytes = b"a/b.txt") -> Upload:
    return shelf.begin(Wanted("dora", path, length, given={"author": "Ada"}))


def add(shelf: Shelf, upload: Upload, data: bytes, *, synced: bool = True) -> None:
    with contextlib.closing(shelf.writer(upload)) as writer:
        writer.write(data)
        if synced:
            writer.sync()


def offset(shelf: Shelf, upload: Upload) -> int:
    state = shelf.find(upload.id)
    assert state is not None
    return state.offset


def lose_power(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let this look like another run of the machine."""
    other = tmp_path / "boot_id"
    other.write_text("another-run\n")
    monkeypatch.setattr(writing, "_BOOT", other)


def test_what_was_written_counts_after_a_kill_and_what_was_synced_after_a_power_cut(
    shelf, monkeypatch, tmp_path
):
    upload = begin(shelf)
    add(shelf, upload, b"0123")
    add(shelf, upload, b"45", synced=False)
    assert offset(shelf, upload) == 6
    lose_power(monkeypatch, tmp_path)
    assert offset(shelf, upload) == 4
    add(shelf, upload, b"abcdef")
    with contextlib.closing(shelf.writer(upload)) as writer:
        shelf.land(upload, writer)
    assert (tmp_path / "input" / "a" / "b.txt").read_bytes() == b"0123abcdef"


def test_a_torn_mark_believes_nothing(shelf, root, monkeypatch, tmp_path):
    upload = begin(shelf)
    add(shelf, upload, b"0123")
    (root / "state/uploads/open" / upload.id / "mark").write_bytes(b"\0" * 128)
    assert offset(shelf, upload) == 0
    monkeypatch.setattr(writing, "_BOOT", tmp_path / "none")
    add(shelf, upload, b"01")
    assert offset(shelf, upload) == 2


def test_bytes_that_are_to_be_verified_first_do_not_count_before(shelf):
    upload = begin(shelf)
    add(shelf, upload, b"01")
    writer = shelf.writer(upload)
    writer.verify_first()
    writer.write(b"234")
    assert offset(shelf, upload) == 2
    writer.close()
    # Whoever comes next after a kill begins where they began.
    add(shelf, upload, b"")
    assert offset(shelf, upload) == 2


def test_one_at_a_time_adds_and_no_more_than_there_is(shelf):
    upload = begin(shelf)
    with contextlib.closing(shelf.writer(upload)) as writer:
        with pytest.raises(BlockingIOError):
            shelf.writer(upload)
        assert not shelf.remove(upload)
        with pytest.raises(writing.TooMuch):
            writer.write(b"x" * 11)
    with pytest.raises(BlockingIOError):
        writer.write(b"x")
    assert offset(shelf, upload) == 0
    assert shelf.remove(upload)
    assert shelf.find(upload.id) is None
    with pytest.raises(FileNotFoundError):
        shelf.writer(upload)


def test_a_full_disk_keeps_what_it_took(shelf):
    upload = begin(shelf)

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    add(shelf, upload, b"01")
    with contextlib.closing(shelf.writer(upload, room=full)) as writer:
        with pytest.raises(OSError, match="No space"):
            writer.write(b"2")
        writer.sync()
    assert offset(shelf, upload) == 2


def test_a_landed_file_has_its_time_its_attributes_and_a_name_of_its_own(shelf, root):
    (root / "input/a").mkdir()
    (root / "input/a/b.txt").write_bytes(b"there already")
    wanted = Wanted("dora", b"a/b.txt", 2, given={"k": "v"}, mtime_ns=1_000_000_007)
    upload = shelf.begin(wanted)
    add(shelf, upload, b"ab")
    with contextlib.closing(shelf.writer(upload)) as writer:
        landed = shelf.land(upload, writer)
    assert landed.landed == b"a/b~2.txt"
    file = root / "input/a/b~2.txt"
    assert file.stat().st_mtime_ns == 1_000_000_007
    with file.open("rb") as opened:
        assert given.read(opened.fileno()) == {"k": "v"}
    state = shelf.find(upload.id)
    assert state is not None
    assert state.upload == landed
    assert shelf.unfinished() == []


def test_a_complete_one_that_was_left_behind_lands_and_one_that_landed_is_noted(
    shelf, root
):
    upload = begin(shelf, 2)
    add(shelf, upload, b"ab")
    folder = root / "state/uploads/open" / upload.id
    kept = root / "kept"
    shutil.copytree(folder, kept)
    settled = shelf.settle(upload)
    assert settled is not None
    assert (root / "input/a/b.txt").read_bytes() == b"ab"
    # As after a crash between the rename and the note of it.
    (kept / "data").unlink()
    kept.rename(folder)
    (root / f"state/uploads/landed/{upload.id}.json").unlink()
    state = shelf.find(upload.id)
    assert state is not None
    assert state.complete
    again = shelf.settle(upload)
    assert again is not None
    assert again.landed == b"a/b.txt"
    assert shelf.settle(upload) is None
    assert not folder.exists()


def test_what_nobody_goes_on_with_is_removed_and_so_is_litter(shelf, root):
    old, fresh, complete = begin(shelf), begin(shelf), begin(shelf, 2, b"c.txt")
    add(shelf, old, b"01")
    add(shelf, complete, b"ab")
    top = root / "state/uploads"
    (top / "open/litter").mkdir()
    os.utime(top / "open/litter", (1, 1))
    now = time.time()
    _make_old(root, old, now - 2 * DAY)
    _make_old(root, complete, now - 2 * DAY)
    done = shelf.tidy(DAY, now)
    assert [state.upload.id for state in done.expired] == [old.id]
    assert [upload.landed for upload in done.landed] == [b"c.txt"]
    assert {path.name for path in (top / "open").iterdir()} == {fresh.id}
    assert shelf.find(old.id) is None
    assert shelf.find(complete.id)
    shelf.tidy(DAY, now + 2 * DAY)
    assert shelf.find(complete.id) is None
    assert shelf.find(fresh.id) is None
    assert Shelf(root / "other").unfinished() == []


def test_one_without_a_byte_waits_for_minutes_only(shelf, root):
    empty, begun, fresh = begin(shelf), begin(shelf), begin(shelf)
    add(shelf, begun, b"0")
    now = time.time()
    _make_old(root, empty, now - 3600)
    _make_old(root, begun, now - 3600)
    adding = shelf.writer(empty)
    assert shelf.tidy(DAY, now).expired == ()
    adding.close()
    assert [state.upload.id for state in shelf.tidy(DAY, now).expired] == [empty.id]
    assert {state.upload.id for state in shelf.unfinished()} == {begun.id, fresh.id}


def test_what_cannot_land_is_kept_for_a_while_and_then_removed(shelf, root):
    (root / "input/a").write_bytes(b"no folder")
    upload = begin(shelf, 2)
    add(shelf, upload, b"ab")
    for _ in range(2):
        with pytest.raises(NotADirectoryError):
            shelf.settle(upload)
    assert shelf.tidy(DAY, time.time()).expired == ()
    _make_old(root, upload, time.time() - 2 * DAY)
    (state,) = shelf.tidy(DAY, time.time()).expired
    assert state.complete


def _make_old(root: Path, upload: Upload, moment: float) -> None:
    folder = root / "state/uploads/open" / upload.id
    record = replace(upload, created_at=moment)
    (folder / "record.json").write_bytes(record.dump())
    os.utime(folder / "data", (moment, moment))


@pytest.mark.parametrize("name", ["", "x", "../" * 10, "A" * 32])
def test_a_name_that_is_no_upload_is_not_looked_for(shelf, name):
    assert shelf.find(name) is None


def test_paths_come_out_as_they_are_dropped_by_hand():
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}.jpg"
    assert path_of(family, "", "", IGNORES) == family.encode()
    assert path_of("", "a b/ä.txt", "papers", IGNORES) == "papers/a b/ä.txt".encode()
    assert path_of("a\\b", "", "", IGNORES) == b"a\\b"
    with pytest.raises(UsageError, match="control"):
        path_of("a\udc80", "", "", IGNORES)
    with pytest.raises(UsageError, match=r"'a\\nb' has a control"):
        path_of("a\nb", "", "", IGNORES)


@pytest.mark.parametrize(
    ("number", "status", "hint"),
    [
        (errno.EDQUOT, 507, "Free some space"),
        (errno.EIO, 503, "mend its rights"),
        (errno.EACCES, 409, "Mend the rights"),
        (errno.ENOTDIR, 409, "only folders are where"),
    ],
)
def test_what_the_disk_says_is_told_with_what_mends_it(number, status, hint):
    told = of_disk(OSError(number, os.strerror(number)))
    assert (told.status, hint in told.what_to_do) == (status, True)
