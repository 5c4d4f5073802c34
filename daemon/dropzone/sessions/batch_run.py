"""What is told of a batch's run, without MLflow, whose import takes a second."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A run of a batch: its ``status`` as MLflow calls it, its metric ``files``."""

    run_id: str
    batch_id: str
    status: str
    files: int | None
