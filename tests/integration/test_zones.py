import os
import socket
import threading

import pytest

from dropzone import fsops
from dropzone.claiming import Claim
from dropzone.errors import SourceChanged
from dropzone.listing import DEPTH_MAX, Entry, Unreadable
from dropzone.readiness import Lease
from dropzone.zones import Move
from zones_helpers import (
    IDS,
    claim_of,
    put,
    python,
    tree,
)

ODD = [
    b"x" * 255,
    b"two\nlines.txt",
    b"bad\xff\xfe.bin",
    b"-rf",
    b" spaces ",
    b"caf\xc3\xa9.txt",
    b"cafe\xcc\x81.txt",
    b"\x1b[31mred",
    b"*",
    b"a\\b",
    b"~x",
    b"dir x/sub\n/\xff",
    b"/".join([b"d" * 255] * 3 + [b"f" * 255]),
]


def place(folders, claim, area="processed", where=None):
    move = Move(claim.job_id, claim.path, area, where or claim.path)
    (placed,) = folders.place([move])
    return placed


def listed(folders, **options):
    return {e.path: e for e in folders.walk(lambda _: False, **options)}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("area", ["processed", "failed"])
def test_a_file_goes_through_with_its_name_inode_and_bytes(folders, name, area):
    claim = put(folders, name)
    before = tree(folders.root / "input")
    folders.claim(claim)
    folders.sync_claims([claim])
    assert list(folders.jobs_in_work()) == [(claim.job_id, [name])]
    with fsops.opened(folders.open_payload(claim.job_id, name)) as fd:
        assert os.read(fd, 99) == b"bytes"
    where = folders.free_place(area, name, claim.job_id)
    assert place(folders, claim, area, where) == name
    assert tree(folders.root / area) == before
    assert tree(folders.root / "input") == {}
    assert list(folders.jobs_in_work()) == []


def test_many_at_once_are_synced_together(folders):
    claims = [put(folders, b"%d/x" % number) for number in range(30)]
    before = tree(folders.root / "input")
    for claim in claims:
        folders.claim(claim)
    folders.sync_claims(claims)
    folders.place([Move(c.job_id, c.path, "processed", c.path) for c in claims])
    assert tree(folders.root / "processed") == before
    assert list(folders.jobs_in_work()) == []


@pytest.mark.parametrize("area", ["processed", "failed"])
def test_a_taken_name_gets_a_mark_and_the_other_stays(folders, area):
    seen = {}
    for number in range(5):
        claim = put(folders, b"papers/x.pdf", b"%d" % number)
        folders.claim(claim)
        where = folders.free_place(area, claim.path, claim.job_id)
        assert place(folders, claim, area, where) == where
        seen[where] = b"%d" % number
    assert {p: c for p, (_, c) in tree(folders.root / area).items()} == seen
    assert len(seen) == 5


def test_a_file_where_a_folder_is_wanted_and_the_reverse(folders):
    one = put(folders, b"a", b"file")
    folders.claim(one)
    place(folders, one)
    two = put(folders, b"a/b/c.txt", b"in folder")
    folders.claim(two)
    where = folders.free_place("processed", two.path, two.job_id)
    assert where.startswith(b"a~")
    assert where.endswith(b"/b/c.txt")
    assert place(folders, two, where=where) == where
    os.makedirs(folders.root / "processed" / "d" / "e")
    three = put(folders, b"d", b"file again")
    folders.claim(three)
    where = folders.free_place("processed", b"d", three.job_id)
    assert where.startswith(b"d~")
    place(folders, three, where=where)
    assert sorted(c for _, c in tree(folders.root / "processed").values()) == [
        b"file",
        b"file again",
        b"in folder",
    ]


@pytest.mark.parametrize(
    ("path", "avoid", "marked"),
    [
        (b"x", {b"y", b"xx", b"x~"}, None),
        (b"x.pdf", {b"x.pdf"}, b"x~"),
        (b"a", {b"a/b"}, b"a~"),
        (b"a/b", {b"a"}, b"a~"),
        (b"a/b/c", {b"a/b"}, b"a/b~"),
        (b"a/b", {b"a/c"}, None),
    ],
)
def test_a_place_avoids_what_others_of_the_batch_will_take(
    folders, path, avoid, marked
):
    where = folders.free_place("processed", path, IDS.next(), avoid=avoid)
    assert where == path if marked is None else where.startswith(marked)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "file for folder"])
def test_nothing_is_ever_replaced_not_even_what_comes_late(folders, kind, tmp_path):
    path = b"dir/x.pdf" if kind == "file for folder" else b"x.pdf"
    claim = put(folders, path)
    folders.claim(claim)
    where = folders.free_place("processed", path, claim.job_id)
    late = folders.root / "processed" / os.fsdecode(path).split("/")[0]
    if kind == "folder":
        late.mkdir()
    elif kind == "link":
        late.symlink_to(tmp_path / "outside")
    else:
        late.write_bytes(b"somebody else's")
    before = tree(folders.root / "processed")
    placed = place(folders, claim, where=where)
    after = tree(folders.root / "processed")
    assert placed != where
    assert after.pop(placed)[1] == b"bytes"
    assert after == before
    assert not (tmp_path / "outside").exists()
    # Once more, as after a crash: it is found where it lies.
    assert place(folders, claim, where=where) == placed


def test_a_second_rename_after_a_crash_changes_nothing(folders):
    claim = put(folders, b"x")
    folders.claim(claim)
    assert place(folders, claim) == b"x"
    before = tree(folders.root)
    assert place(folders, claim) == b"x"
    assert tree(folders.root) == before


def test_a_file_that_changed_since_it_was_seen_stays(folders):
    claim = put(folders, b"x", b"first")
    (folders.root / "input" / "x").write_bytes(b"second")
    before = tree(folders.root)
    with pytest.raises(BlockingIOError):
        folders.claim(claim)
    assert tree(folders.root) == before
    assert list(folders.jobs_in_work()) == []


def test_a_file_that_is_written_or_gone_is_not_claimed(folders):
    claim = put(folders, b"x")
    with open(folders.root / "input" / "x", "ab"):
        assert folders.lease(b"x") is Lease.BUSY
        with pytest.raises(BlockingIOError):
            folders.claim(claim)
    assert folders.lease(b"x") is Lease.FREE
    os.rename(folders.root / "input" / "x", folders.root / "input" / "y")
    with pytest.raises(FileNotFoundError):
        folders.claim(claim)
    assert list(folders.jobs_in_work()) == []


class Swapped:
    """Runs something once between the check and the rename of a claim."""

    def __init__(self, monkeypatch, swap, again=None):
        self.calls = iter([swap, again])
        self.rename = fsops.rename_new
        monkeypatch.setattr(fsops, "rename_new", self)

    def __call__(self, *arguments):
        if swap := next(self.calls, None):
            swap()
        self.rename(*arguments)


def test_a_link_swapped_in_after_the_check_goes_back(folders, monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("outside")
    claim = put(folders, b"x")
    name = folders.root / "input" / "x"

    def swap():
        name.rename(folders.root / "input" / "aside")
        name.symlink_to(secret)

    Swapped(monkeypatch, swap)
    with pytest.raises(BlockingIOError):
        folders.claim(claim)
    assert name.is_symlink()
    assert (folders.root / "input" / "aside").read_bytes() == b"bytes"
    assert secret.read_text() == "outside"
    assert list(folders.jobs_in_work()) == []


def test_a_name_taken_again_meanwhile_loses_neither_file(folders, monkeypatch):
    claim = put(folders, b"x.txt", b"one")
    name = folders.root / "input" / "x.txt"

    def swap():
        name.rename(folders.root / "input" / "aside")
        name.write_bytes(b"two")

    Swapped(monkeypatch, swap, again=lambda: name.write_bytes(b"three"))
    with pytest.raises(BlockingIOError):
        folders.claim(claim)
    contents = sorted(c for _, c in tree(folders.root / "input").values())
    assert contents == [b"one", b"three", b"two"]
    assert list(folders.jobs_in_work()) == []


def test_a_folder_swapped_for_a_link_leads_nowhere(folders, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    claim = put(folders, b"dir/x")
    os.rename(folders.root / "input" / "dir", folders.root / "input" / "was")
    os.rename(folders.root / "input" / "was" / "x", outside / "x")
    (folders.root / "input" / "dir").symlink_to(outside)
    for act in (folders.claim, lambda c: folders.lease(c.path)):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            act(claim)
    assert folders.look(b"dir/x") is None
    assert (outside / "x").read_bytes() == b"bytes"


def test_special_files_are_seen_and_never_opened(folders):
    root = folders.root / "input"
    os.mkfifo(root / "fifo.pdf")
    (root / "link.pdf").symlink_to("/etc/passwd")
    (root / "loop").symlink_to("loop")
    (root / "dir.pdf").mkdir()
    put(folders, b"x")
    os.link(root / "x", root / "hard")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
    seen = listed(folders)
    assert set(seen) == {b"fifo.pdf", b"link.pdf", b"loop", b"x", b"hard", b"sock"}
    assert seen[b"x"].links == seen[b"hard"].links == 2
    done = threading.Event()

    def try_all():
        for name in (b"fifo.pdf", b"link.pdf", b"loop", b"sock", b"dir.pdf"):
            with pytest.raises(OSError, match=r"symbolic link|not a plain file"):
                folders.lease(name)
            status = os.lstat(root / os.fsdecode(name))
            with pytest.raises(OSError, match=r"symbolic link|not a plain file"):
                folders.claim(Claim(IDS.next(), name, fsops.signature_of(status)))
        done.set()

    threading.Thread(target=try_all, daemon=True).start()
    assert done.wait(5), "opening a pipe hangs"


def test_a_walk_sees_nested_folders_but_not_what_is_ignored(folders):
    for path in (b"x", b"a/y", b"a/b/z", b".hid/w", b"a/skip"):
        put(folders, path)
    seen = {e.path for e in folders.walk(lambda n: n.startswith((b".", b"skip")))}
    assert seen == {b"x", b"a/y", b"a/b/z"}
    assert set(listed(folders, start=b"a")) == {b"a/y", b"a/skip", b"a/b/z"}
    assert listed(folders, start=b"none") == {}


def test_folders_deeper_than_the_limit_are_told(folders):
    fine = b"/".join([b"d"] * DEPTH_MAX)
    put(folders, fine + b"/x")
    os.makedirs(os.path.join(os.fsencode(folders.root), b"input", fine, b"d/d"))
    seen = listed(folders)
    assert isinstance(seen.pop(fine + b"/x"), Entry)
    (told,) = seen.values()
    assert isinstance(told, Unreadable)
    assert "deeper" in told.reason


def test_a_work_folder_longer_than_a_path_may_be_is_found_and_removed(folders):
    path = b"/".join([b"d" * 250] * 30 + [b"x"])
    claim = put_deep(folders, path)
    folders.claim(claim)
    folders.sync_claims([claim])
    assert list(folders.jobs_in_work()) == [(claim.job_id, [path])]
    assert place(folders, claim) == path
    assert list(folders.jobs_in_work()) == []


def put_deep(folders, path):
    parent, name = os.path.split(path)
    fd = fsops.make_directories(folders._fds["input"], parent, 0o755, sync=False)
    with (
        fsops.opened(fd),
        open(name, "wb", opener=lambda n, f: os.open(n, f, dir_fd=fd)),
    ):
        pass
    return claim_of(folders, path)


def test_numbers_that_no_database_holds_are_bounded(folders):
    put(folders, b"x")
    try:
        os.utime(folders.root / "input" / "x", (2**35, 2**35))
    except OverflowError:
        pytest.skip("the file system refuses such a time")
    entry = folders.look(b"x")
    assert entry is not None
    assert abs(entry.signature.mtime_ns) < 2**63
    folders.claim(Claim(IDS.next(), b"x", entry.signature))


def test_an_inode_of_64_bits_fits_in_a_signed_column():
    times = {"st_mtime_ns": 2**70, "st_ctime_ns": -(2**70)}
    status = os.stat_result((0o100644, 2**64 - 5, 1, 1, 0, 0, 7, 1, 2, 3), times)
    signature = fsops.signature_of(status)
    assert signature.inode == -5
    assert (signature.mtime_ns, signature.ctime_ns) == (2**63 - 1, 1 - 2**63)


def test_a_payload_that_is_gone_is_a_changed_source(folders):
    with pytest.raises(SourceChanged):
        folders.open_payload("nobody", b"x")
    assert folders.signature("nobody", b"x") is None


def test_small_files_of_ours_replace_only_themselves(folders):
    root = folders.root / "failed"
    assert folders.write_aside("failed", b"a/x.error.json", b'{"job": "J1"}', "J1")
    assert folders.write_aside("failed", b"a/x.error.json", b'{"job": "J1", 2}', "J1")
    assert (root / "a" / "x.error.json").read_bytes() == b'{"job": "J1", 2}'
    assert not folders.write_aside("failed", b"a/x.error.json", b"J2", "J2")
    (root / "payload.error.json").write_bytes(b"somebody's")
    (root / "dir.error.json").mkdir()
    (root / "link.error.json").symlink_to(root / "payload.error.json")
    before = tree(folders.root)
    for name in (b"payload", b"dir", b"link"):
        assert not folders.write_aside("failed", name + b".error.json", b"J1", "J1")
        folders.remove_aside("failed", name + b".error.json", "J1")
    folders.remove_aside("failed", b"a/x.error.json", "J2")
    folders.remove_aside("failed", b"none/x", "J1")
    assert tree(folders.root) == before
    folders.remove_aside("failed", b"a/x.error.json", "J1")
    assert not (root / "a" / "x.error.json").exists()


NON_ROOT = """
    import os, sys
    from pathlib import Path
    from zones_helpers import IDS, become_nobody
    from dropzone.listing import Unreadable
    from dropzone.claiming import Claim
    from dropzone.zones import ZoneFolders
    become_nobody()
    folders = ZoneFolders(Path(sys.argv[1]))
    folders.open()
    root = folders.root / "input"
    (root / "secret").write_text("x")
    (root / "secret").chmod(0)
    for name, mode in (("closed", 0), ("listed", 0o444), ("fixed", 0o555)):
        (root / name).mkdir()
        (root / name / "x").write_text("x")
        (root / name).chmod(mode)
    (root / "fine").write_text("x")
    seen = {e.path: e for e in folders.walk(lambda _: False)}
    assert set(seen) == {
        b"secret", b"closed", b"listed/x", b"fixed/x", b"fine",
    }, seen
    assert {p for p, e in seen.items() if isinstance(e, Unreadable)} == {
        b"closed", b"listed/x",
    }
    for name in (b"secret", b"fixed/x"):
        try:
            folders.claim(Claim(IDS.next(), name, seen[name].signature))
        except PermissionError:
            continue
        raise AssertionError(name)
    folders.claim(Claim(IDS.next(), b"fine", seen[b"fine"].signature))
    assert len(os.listdir(folders.work)) == 1
    (root / "secret").chmod(0o600)
    folders.claim(Claim(IDS.next(), b"secret", folders.look(b"secret").signature))
    print("done")
"""


def test_without_rights_it_is_told_and_the_rest_goes_on(open_root):
    assert python(NON_ROOT, open_root) == "done\n"
