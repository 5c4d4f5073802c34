"""What a person says of a file, kept with the file."""

import os
from pathlib import Path

import pytest

from dropzone import given
from dropzone.errors import UsageError, ZoneError


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "x.txt", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_names_and_values_of_a_command_line():
    assert given.parsed(["author=Ada", "note=a=b", "empty="]) == {
        "author": "Ada",
        "note": "a=b",
        "empty": "",
    }
    assert given.parsed([]) == {}


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["author"], "has no ="),
        (["a=1", "a=2"], "given twice"),
        (["=Ada"], "no name"),
        (["author=a\nb"], "no single line"),
        (["author=" + "x" * 3000], "longer than"),
    ],
)
def test_a_wrong_command_line_is_told(words, wrong):
    with pytest.raises(UsageError, match=wrong):
        given.parsed(words)


def test_it_goes_along_with_a_rename_and_can_be_changed(file, tmp_path):
    given.write(file, {"author": "Ada", "Größe": "12 \N{MICRO SIGN}m"})
    os.rename(tmp_path / "x.txt", tmp_path / "y.txt")
    fd = os.open(tmp_path / "y.txt", os.O_RDONLY)
    assert given.read(fd) == {"author": "Ada", "Größe": "12 \N{MICRO SIGN}m"}
    os.close(fd)
    given.write(file, {})
    assert given.read(file) == {}
    given.write(file, {})


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"": "x"}, "no name"),
        ({" ": "x"}, "no name"),
        ({"n" * 101: "x"}, "no name"),
        ({"a\nb": "x"}, "no name"),
        ({"a": "two\nlines"}, "single line"),
        ({"a": "\N{RIGHT-TO-LEFT OVERRIDE}"}, "single line"),
        ({"a": "\udc80"}, "single line"),
        ({"a": 1}, "single line"),
        ({"a": "x" * 2000}, "2000 bytes"),
    ],
)
def test_what_cannot_be_shown_or_is_too_long_is_refused(file, mapping, told):
    with pytest.raises(UsageError, match=told):
        given.write(file, mapping)
    assert given.read(file) == {}


@pytest.mark.parametrize(
    "kept", [b"\xff", b"[]", b'{"a": 1}', b"[" * 1999, b'{"a": "' + b"x" * 2000 + b'"}']
)
def test_what_another_program_set_is_not_believed(file, kept):
    os.setxattr(file, given.ATTRIBUTE, kept)
    with pytest.raises(UsageError):
        given.read(file)


def test_a_file_system_without_attributes_says_so():
    fd = os.open(Path("/proc/self/comm"), os.O_RDWR)
    try:
        with pytest.raises(ZoneError, match="extended attributes"):
            given.write(fd, {"a": "b"})
        assert given.read(fd) == {}
        given.write(fd, {})
    finally:
        os.close(fd)
