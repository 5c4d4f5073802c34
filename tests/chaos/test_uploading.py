"""An upload is killed before any of its calls: what came is kept, and lands once."""

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from chaos.effort import Effort
from chaos.supervisor import KILLED, SUPPORTED, Run, StopAt, Supervisor
from dropzone.uploads.record import Upload
from dropzone.uploads.shelf import Shelf

pytestmark = [
    pytest.mark.skipif(not SUPPORTED, reason="needs seccomp on x86_64"),
    pytest.mark.timeout(3600),
]
_DATA = b"The first half, and the second."
_HALF = 15
_SAMPLE = 8
_UPLOADING = f"""
import contextlib, pathlib, sys
from dropzone.uploads.record import Wanted
from dropzone.uploads.shelf import Shelf
data = {_DATA!r}
shelf = Shelf(pathlib.Path(sys.argv[1]))
wanted = Wanted("dora", b"a/b/c.txt", len(data), given={{"k": "v"}}, mtime_ns=7)
upload = shelf.begin(wanted)
for half in (data[:{_HALF}], data[{_HALF}:]):
    with contextlib.closing(shelf.writer(upload)) as writer:
        writer.write(half)
        if writer.complete:
            shelf.land(upload, writer)
        else:
            writer.sync()
"""


def _zone(base: Path) -> Path:
    for name in ("input", "state"):
        (base / name).mkdir(parents=True)
    return base


def _upload(root: Path, stop_at: StopAt = None) -> Run:
    return Supervisor(root, stop_at=stop_at).run(
        [sys.executable, "-c", _UPLOADING, str(root)],
        cwd=root,
        environment=dict(os.environ),
        log=root.with_suffix(".log"),
    )


def _go_on(shelf: Shelf, upload: Upload, offset: int) -> None:
    with contextlib.closing(shelf.writer(upload)) as writer:
        assert writer.offset == offset
        writer.write(_DATA[offset:])
        shelf.land(upload, writer)


def _landed(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in root.glob("input/**/*") if path.is_file()]


def test_killed_before_any_call_what_came_is_kept_and_lands_once(
    tmp_path: Path, effort: Effort
) -> None:
    whole = _zone(tmp_path / "whole")
    calls = _upload(whole).calls
    assert _landed(whole) == [_DATA]
    step = 1 if effort.full else max(1, len(calls) // _SAMPLE)
    begun = 0
    for point in range(1 + effort.seed % step, len(calls) + 1, step):
        root = _zone(tmp_path / str(point))
        assert _upload(root, point).code == KILLED, calls[point - 1]
        shelf = Shelf(root)
        states = shelf.unfinished()
        for state in states:
            if state.complete:
                assert shelf.settle(state.upload) is not None
            else:
                data = root / "state/uploads/open" / state.upload.id / "data"
                assert data.read_bytes() == _DATA[: state.offset]
                _go_on(shelf, state.upload, state.offset)
            told = shelf.find(state.upload.id)
            assert told is not None
            assert told.upload.landed == b"a/b/c.txt"
        # Without an unfinished one it landed before, or had not begun.
        begun += bool(states)
        assert _landed(root) in ([[_DATA]] if states else [[], [_DATA]])
        shelf.tidy(1e9, time.time() + 1e5)
        assert not list(root.glob("state/uploads/open/*"))
    print(f"{len(calls)} calls, {begun} uploads to go on with")
    assert begun
