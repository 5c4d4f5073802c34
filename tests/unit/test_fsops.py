import ctypes
import errno
import os

import pytest

from dropzone import fsops
from dropzone.readiness import Lease


@pytest.fixture
def directory(tmp_path):
    fd = os.open(tmp_path, fsops.DIRECTORY)
    yield fd
    os.close(fd)


class OldKernel:
    """Answers renameat2 as a file system does that knows no flags."""

    def __init__(self, number):
        self.number = number

    def renameat2(self, *_arguments):
        ctypes.set_errno(self.number)
        return -1


@pytest.mark.parametrize("number", [None, errno.EINVAL, errno.ENOSYS])
def test_a_rename_never_replaces_with_and_without_the_flag(
    directory, tmp_path, monkeypatch, number
):
    if number is not None:
        monkeypatch.setattr(fsops, "_libc", OldKernel(number))
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        fsops.rename_new(directory, b"a", directory, b"b")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        fsops.rename_new(directory, b"a", directory, b"link")
    assert (tmp_path / "b").read_text() == "b"
    fsops.rename_new(directory, b"a", directory, b"c")
    assert (tmp_path / "c").read_text() == "a"
    assert not (tmp_path / "a").exists()


def test_other_faults_of_a_rename_come_out(directory, monkeypatch):
    monkeypatch.setattr(fsops, "_libc", OldKernel(errno.EXDEV))
    with pytest.raises(OSError, match="cross-device") as caught:
        fsops.rename_new(directory, b"a", directory, b"b")
    assert caught.value.errno == errno.EXDEV
    assert caught.value.filename == "b"


def test_what_knows_no_leases_says_so():
    reader, writer = os.pipe()
    with fsops.opened(reader), fsops.opened(writer):
        assert fsops.lease(reader) is Lease.UNSUPPORTED


def test_a_lease_sees_a_writer_and_is_given_back(directory, tmp_path):
    (tmp_path / "x").write_text("x")
    with fsops.opened(fsops.open_plain(directory, b"x")) as fd:
        assert fsops.lease(fd) is Lease.FREE
        with (tmp_path / "x").open("a"):
            assert fsops.lease(fd) is Lease.BUSY
        assert fsops.lease(fd) is Lease.FREE


def test_a_sync_that_fails_is_told(directory):
    fsops.sync_volume(directory)
    with pytest.raises(OSError, match="Bad file descriptor"):
        fsops.sync_volume(-1)


def test_directories_are_made_and_opened_without_following_links(directory, tmp_path):
    with fsops.opened(fsops.make_directories(directory, b"a/b/c", 0o750)) as fd:
        assert os.path.samestat(os.fstat(fd), os.stat(tmp_path / "a/b/c"))
    with fsops.opened(fsops.make_directories(directory, b"", 0o750)) as fd:
        assert os.path.samestat(os.fstat(fd), os.fstat(directory))
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for attempt in (
        lambda: fsops.open_directory(directory, b"a/link/a"),
        lambda: fsops.make_directories(directory, b"a/link/new", 0o750),
    ):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            attempt()
    assert not (tmp_path / "new").exists()
    assert len(os.listdir("/proc/self/fd")) == before, "nothing is left open"
