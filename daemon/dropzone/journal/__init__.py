"""The journal: the durable record of all jobs of a zone (SQLite, WAL, FULL)."""

from dropzone.journal.journal import Batch, Finding, JobConflict, Journal, move

__all__ = ["Batch", "Finding", "JobConflict", "Journal", "move"]
