"""How many documents each collection has, of each type: what Postgres counts."""

import threading
import time
from collections import Counter

from dropzone import queries
from dropzone.errors import DropzoneError
from dropzone.lookup import Zones
from dropzone.sessions.postgres_errors import misses_tables
from dropzone.web.api.backend import Backend
from dropzone.web.problems import Problem

_SQL = queries.load("dropzone", "sql/collections.sql")
_PATIENCE_SECONDS = 3.0
# Who asks waits so long for the first count, for a newer one, and for one after none
# came: lists of collections are needed while Postgres hangs.
_FIRST, _NEWER, _FAILED = 3.0, 1.0, 0.3
# Counting may take this share of the time, and nobody should miss the count for long.
_SHARE, _MOST_SECONDS = 0.05, 15.0
#: By the zone and the name of the collection, and by type.
Counts = dict[tuple[str, str], Counter[str]]


class Documents:
    """Counts in a thread, one at a time, for all who ask."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._known: tuple[Counts | None, str] | None = None
        self._begun = 0.0
        self._until = 0.0

    def __call__(self) -> tuple[Counts | None, str]:
        """Return the counts, or None and why there are none."""
        with self._lock:
            under_way = self._thread is not None and self._thread.is_alive()
            if not under_way and time.monotonic() >= self._until:
                self._begun = time.monotonic()
                self._thread = threading.Thread(
                    target=self._count, name="count documents", daemon=True
                )
                self._thread.start()
            thread, ends = self._thread, self._begun + self._patience()
        if thread is not None:
            thread.join(max(0.0, ends - time.monotonic()))
        return self._known or (None, "Postgres has not answered yet.")

    def _patience(self) -> float:
        if self._known is None:
            return _FIRST
        return _FAILED if self._known[0] is None else _NEWER

    def _count(self) -> None:
        found = _counted(self._backend)
        end = time.monotonic()
        self._until = end + min((end - self._begun) / _SHARE, _MOST_SECONDS)
        self._known = found


def _counted(backend: Backend) -> tuple[Counts | None, str]:
    found: Counts = {}
    try:
        # Not repeated: nobody should wait for these counts.
        postgres = backend.connected().postgres
        with postgres.connection(patience=_PATIENCE_SECONDS) as connection:
            for row in connection.execute(_SQL["documents"]):
                where = row["zone"], row["collection"]
                by_type = found.setdefault(where, Counter())
                by_type[row["doc_type"]] = row["documents"]
    except Problem as problem:
        return None, problem.detail
    except DropzoneError as error:
        if misses_tables(error) and nothing_ended(backend):
            return {}, ""
        return None, error.message
    return found, ""


def nothing_ended(backend: Backend) -> bool:
    """Whether no file ended yet: the tables come with the first that is indexed."""
    with Zones(backend.settings()) as zones:
        return not any(
            row["jobs"]
            for _, journal in zones.journals
            for row in journal.rows("drops")
        )
