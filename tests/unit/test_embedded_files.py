import os
import subprocess
import sys

import pytest

from dropzone.embedded import ServiceAddresses, files, record, remembered, running
from dropzone.embedded.postgres import socket_directory
from dropzone.embedded.process import Account, Identity
from dropzone.embedded.record import Owner, Record, Role
from dropzone.errors import ZoneError

ADDRESSES = ServiceAddresses(
    database_url="postgresql://postgres:geheim@/postgres",
    s3_endpoint="http://127.0.0.1:1",
    s3_access_key="DZ1",
    s3_secret_key="geheim",
)


def test_the_second_lock_is_refused_until_the_first_is_released(tmp_path):
    first, second = files.Lock(tmp_path / "lock"), files.Lock(tmp_path / "lock")
    assert first.take()
    assert first.take()
    assert not second.take()
    assert files.is_locked(tmp_path / "lock")
    first.release()
    assert not files.is_locked(tmp_path / "lock")
    assert second.take()
    second.release()


def test_nothing_is_locked_where_nothing_is(tmp_path):
    assert not files.is_locked(tmp_path / "missing" / "lock")
    assert running(tmp_path / "missing") is None
    assert remembered(tmp_path / "missing") is None


def test_private_files_are_replaced_whole_and_readable_by_their_owner_only(tmp_path):
    path = tmp_path / "secret"
    files.write_private(path, b"old")
    files.write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["secret"]


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_private(tmp_path / "taken", b"new")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_long_log_moves_aside(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * (files.LOG_BYTES + 1))
    with files.open_log(path) as log:
        log.write(b"fresh\n")
    assert path.read_bytes() == b"fresh\n"
    assert (tmp_path / "a.log.1").stat().st_size == files.LOG_BYTES + 1


def test_the_last_lines_of_a_log_start_where_they_should(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"before\n" + b"one\ntwo\x07\n\xff\n")
    assert files.last_lines(path, 7) == "one\ntwo\n\N{REPLACEMENT CHARACTER}"
    assert files.last_lines(path, 7, lines=1) == "\N{REPLACEMENT CHARACTER}"


def test_a_directory_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZoneError, match="cannot be made") as caught:
        files.make_directory(tmp_path / "file" / "data")
    assert "embedded.directory" in caught.value.hint


def test_secrets_do_not_show(tmp_path):
    assert "geheim" not in repr(ADDRESSES)
    record.write(tmp_path, Record(addresses=ADDRESSES))
    assert (tmp_path / "services.json").stat().st_mode & 0o777 == 0o600


def test_a_record_comes_back_as_it_was_written(tmp_path):
    me = Identity.of(os.getpid())
    written = Record(ADDRESSES, Owner(me, Role.HOLDER), ready=True, servers=(me,))
    record.write(tmp_path, written)
    assert record.read(tmp_path) == written
    assert remembered(tmp_path) == ADDRESSES


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe{",
        b"[]",
        b"{}",
        b'{"addresses": 5, "owner": null, "ready": true, "servers": []}',
        b'{"addresses": {"s3_port": "x"}, "owner": null, "ready": 1, "servers": []}',
        b'{"addresses": {"s3_bucket": 7}, "owner": null, "ready": 1, "servers": []}',
        b'{"addresses": null, "owner": {"role": "king"}, "ready": 1, "servers": []}',
    ],
)
def test_a_damaged_record_is_no_record(tmp_path, damage):
    (tmp_path / "services.json").write_bytes(damage)
    assert record.read(tmp_path) == Record()


def test_only_the_lock_says_that_servers_run(tmp_path):
    owner = Owner(Identity.of(os.getpid()), Role.DAEMON)
    record.write(tmp_path, Record(ADDRESSES, owner, ready=True))
    assert running(tmp_path) is None
    lock = files.Lock(record.lock_path(tmp_path))
    lock.take()
    try:
        found = running(tmp_path)
        assert (found.owner_pid, found.role) == (os.getpid(), Role.DAEMON)
        record.write(tmp_path, Record(ADDRESSES, owner, ready=False))
        assert running(tmp_path) is None
    finally:
        lock.release()


def test_a_process_is_known_by_its_start_and_a_zombie_is_nobody():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = Identity.of(child.pid)
    assert identity.alive
    assert not Identity(child.pid, "another start").alive
    child.stdin.close()
    # Wait for the end without reaping.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive
    child.wait()


@pytest.mark.parametrize(
    ("folder", "is_kept"), [("short", True), ("l" * 90, False), ("a,b", False)]
)
def test_the_socket_goes_where_its_path_works(tmp_path, monkeypatch, folder, is_kept):
    monkeypatch.setattr("tempfile.tempdir", f"/{folder}")
    path = socket_directory(tmp_path / ("d" * 150), Account())
    assert (str(path.parent) == f"/{folder}") == is_kept
    assert len(str(path)) < 60
