"""Finds clients, connections and secrets that a session pool should own.

Reads any Python code base from its syntax tree; nothing of it is imported or run.
"""

from dropzone.audit.auditor import Report, audit
from dropzone.audit.findings import Finding
from dropzone.audit.rules import RULES, Rule

__all__ = ["RULES", "Finding", "Report", "Rule", "audit"]
