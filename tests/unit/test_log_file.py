"""The log file: rotated, found again after a move, and no reason to stop."""

import os
import stat
from pathlib import Path

import pytest

from dropzone import log
from dropzone.embedded import files
from dropzone.errors import ConfigurationError
from dropzone.log_file import LogFile
from dropzone.settings import Log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "dropzone.log"


@pytest.fixture
def file(path):
    made = LogFile(path, most_bytes=100, count=2)
    yield made
    made.close()


def test_a_file_that_is_full_is_set_aside(file, path):
    for number in range(10):
        file.write(f"line {number:>34}\n")
    names = sorted(os.listdir(path.parent))
    assert names == ["dropzone.log", "dropzone.log.1", "dropzone.log.2"]
    assert path.read_text().split() == ["line", "8", "line", "9"]
    assert (path.parent / "dropzone.log.1").read_text().split()[1] == "6"
    for name in names:
        mode = (path.parent / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o640 & ~_umask()


def test_a_line_longer_than_a_file_is_written_all_the_same(file, path):
    file.write("x" * 300 + "\n")
    assert path.stat().st_size == 301


def test_a_file_that_was_moved_is_begun_anew(file, path):
    file.write("before\n")
    path.rename(path.with_name("moved"))
    file.write("after\n")
    assert path.read_text() == "after\n"
    assert path.with_name("moved").read_text() == "before\n"


def test_a_full_disk_sends_the_lines_to_standard_error(capfd):
    full = LogFile(Path("/dev/full"), most_bytes=1000, count=1)
    full.write("nobody may lose me\n")
    full.close()
    assert capfd.readouterr().err == "nobody may lose me\n"


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path):
    (tmp_path / "plain").write_text("no folder")
    with pytest.raises(ConfigurationError, match="cannot be written") as caught:
        log.set_up(Log(file=tmp_path / "plain" / "dropzone.log"))
    assert "log.file" in caught.value.hint


def test_events_go_into_the_file_also_after_a_reload(path):
    try:
        log.set_up(Log(file=path))
        log.get("test").info("first")
        log.set_up(Log(file=path, level="error"))
        log.get("test").info("not told")
        log.get("test").error("second")
    finally:
        log.configure()
    lines = path.read_text().splitlines()
    assert [("first" in line, "second" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]


def test_the_log_of_a_server_is_emptied_while_it_writes(tmp_path):
    path = tmp_path / "postgres.log"
    with files.open_log(path) as opened:
        opened.write(b"x" * (files.LOG_BYTES + 1))
        files.trim_log(path)
        opened.write(b"goes on\n")
        files.trim_log(path)
    assert path.read_bytes() == b"goes on\n"
    assert (tmp_path / "postgres.log.1").stat().st_size == files.LOG_BYTES + 1
    files.trim_log(tmp_path / "never written")


def _umask():
    now = os.umask(0)
    os.umask(now)
    return now
