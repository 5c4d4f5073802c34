"""The journal: the durable record of all jobs of a zone (SQLite, WAL, FULL)."""

from dropzone.journal.journal import Batch, Counts, Finding, JobConflict, Journal, move
from dropzone.journal.writer import JournalDamaged

__all__ = [
    "Batch",
    "Counts",
    "Finding",
    "JobConflict",
    "Journal",
    "JournalDamaged",
    "move",
]
