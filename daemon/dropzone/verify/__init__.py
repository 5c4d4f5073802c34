"""The proof that folders, receipts, S3, Postgres and MLflow agree, or where not."""

from dropzone.verify.problems import Mend, Problem, Summary
from dropzone.verify.verifier import Verifier

__all__ = ["Mend", "Problem", "Summary", "Verifier"]
