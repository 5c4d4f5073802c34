"""Makes MLflow's database file whole or not at all.

MLflow builds a new one in dozens of migrations. One that is killed in between leaves a
file that it neither finishes nor opens again ("table _alembic_tmp_... already exists").
"""
# ruff: noqa: TID251 - this module, with its neighbour, owns MLflow.

import os
from pathlib import Path
from urllib.parse import unquote

from dropzone import fsops
from dropzone.sessions.settings import file_uri

_SCHEME = "sqlite:///"
_PARTS = ("", "-journal", "-wal", "-shm")


def make_store(uri: str) -> None:
    """Make the database file that ``uri`` names, if it names one that is not there.

    The caller sees to it that only one process does so at a time.
    """
    path = _file_of(uri)
    if path is None or path.exists():
        return
    unfinished = path.with_name(f"{path.name}.new")
    for part in _PARTS:
        # Left by one that was killed.
        unfinished.with_name(unfinished.name + part).unlink(missing_ok=True)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    artifacts = (path.parent / "artifacts").resolve().as_uri()
    SqlAlchemyStore(file_uri(unfinished), artifacts).engine.dispose()
    with unfinished.open("rb") as file:
        os.fsync(file)
    unfinished.rename(path)
    fsops.sync_directory(path.parent)


def _file_of(uri: str) -> Path | None:
    rest = uri.removeprefix(_SCHEME)
    if rest == uri or not rest or rest.startswith(":memory:") or "?" in rest:
        return None
    return Path(unquote(rest))
