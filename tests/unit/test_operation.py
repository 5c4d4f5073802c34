"""What an operation of the API tells when its surroundings fail."""

import errno
from pathlib import Path
from typing import Any

import pytest

from dropzone.web.api.operation import Operation, called
from dropzone.web.problems import Problem

NOTHING: Any = None


def operation(path: Path) -> Operation:
    return Operation(
        *("POST", "/api/v1/x", "x"), "Write.", lambda *_: path.write_text("x")
    )


def test_a_full_disk_is_no_fault_of_ours():
    with pytest.raises(Problem, match="refuses work: No space left") as caught:
        called(operation(Path("/dev/full")), NOTHING, NOTHING)
    assert caught.value.status == 503
    assert "Free space" in caught.value.what_to_do


def test_what_nobody_foresaw_is_a_fault(tmp_path):
    with pytest.raises(OSError, match="directory") as caught:
        called(operation(tmp_path), NOTHING, NOTHING)
    assert caught.value.errno == errno.EISDIR
