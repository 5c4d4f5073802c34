"""Durable records in SQLite (WAL, FULL): the jobs of a zone, and sessions with state.

``Journal`` is the daemon's. ``Sessions`` and ``AsyncSessions`` need no daemon; see
docs/records.md.
"""

from typing import TYPE_CHECKING, Any

from dropzone.journal.journal import Journal
from dropzone.journal.moves import move
from dropzone.journal.session import (
    Event,
    Metric,
    Session,
    SessionStats,
    SessionStatus,
)
from dropzone.journal.session_errors import (
    SessionCleanupError,
    SessionConcurrencyError,
    SessionDataError,
    SessionEnded,
    SessionError,
    SessionFileError,
    SessionLeased,
    SessionLeaseLost,
    SessionLimit,
    SessionLocked,
    SessionSecurityError,
    SessionUnknown,
)
from dropzone.journal.sessions import Sessions
from dropzone.journal.values import REASON_LENGTH, Batch, Counts, Finding, Wanted
from dropzone.journal.writer import JobConflict, JournalDamaged

if TYPE_CHECKING:
    from dropzone.journal.sessions_async import AsyncSessions

__all__ = [
    "REASON_LENGTH",
    "AsyncSessions",
    "Batch",
    "Counts",
    "Event",
    "Finding",
    "JobConflict",
    "Journal",
    "JournalDamaged",
    "Metric",
    "Session",
    "SessionCleanupError",
    "SessionConcurrencyError",
    "SessionDataError",
    "SessionEnded",
    "SessionError",
    "SessionFileError",
    "SessionLeaseLost",
    "SessionLeased",
    "SessionLimit",
    "SessionLocked",
    "SessionSecurityError",
    "SessionStats",
    "SessionStatus",
    "SessionUnknown",
    "Sessions",
    "Wanted",
    "move",
]


def __getattr__(name: str) -> Any:
    # asyncio takes longer to import than all of this: only for those who want it.
    if name == "AsyncSessions":
        from dropzone.journal.sessions_async import AsyncSessions

        return AsyncSessions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
