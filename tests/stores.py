"""An empty tracking store for each zone of a test, as its daemon would make it.

MLflow makes one in dozens of migrations, which is more work than most tests are. That a
daemon makes its own is tried by the tests of MLflow, of the guides and of the system.
"""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

_MAKING = """
import sys
from pathlib import Path
from dropzone.sessions.settings import file_uri
from dropzone.sessions.tracking_file import make_store
make_store(file_uri(Path(sys.argv[1])))
"""
#: The folder of this run of the tests, which all its workers share.
_run: list[Path] = []


@pytest.fixture(scope="session", autouse=True)
def folder_of_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.getbasetemp()
    _run.append(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)
    yield
    _run.clear()


def empty_store() -> Path:
    """Return a store that nobody may change, made once for all workers."""
    store = _run[0] / "store" / "mlflow.db"
    store.parent.mkdir(exist_ok=True)
    with store.with_name("lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not store.exists():
            command = [sys.executable, "-c", _MAKING, str(store)]
            subprocess.run(command, check=True, capture_output=True, timeout=240)
    return store


def lay_empty_store(directory: Path) -> None:
    """Copy an empty store into ``directory``, which is made; nothing outside pytest."""
    if not _run:
        return
    empty = empty_store()
    directory.mkdir(parents=True)
    shutil.copy(empty, directory)
    was, now = empty.parent.resolve().as_uri(), directory.resolve().as_uri()
    with closing(sqlite3.connect(directory / empty.name)) as connection, connection:
        connection.execute(
            "UPDATE experiments"
            " SET artifact_location = replace(artifact_location, ?, ?)",
            (was, now),
        )
