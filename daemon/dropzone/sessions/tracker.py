"""Summaries of a pool's operations in an MLflow run, made beside the callers."""

import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from dropzone import log
from dropzone.errors import DropzoneError
from dropzone.sessions.settings import MlflowSettings
from dropzone.sessions.stats import ServiceStats

# The last summary may need MLflow's import, which takes a second or two.
_END_SECONDS = 5.0


class OperationTracker:
    """One thread, one run: every so often the figures so far, as the next step of it.

    The run counts as finished from the start, so that a killed process leaves none
    open. While MLflow is down nothing is lost: the figures are totals.
    """

    def __init__(
        self,
        settings: MlflowSettings,
        stats: Callable[[], Mapping[str, ServiceStats]],
        seconds: float,
    ) -> None:
        self._settings = settings
        self._stats = stats
        self._seconds = seconds
        self._log = log.get("operations")
        self._ending = threading.Event()
        self._run_id: str | None = None
        self._step = 0
        self._told: dict[str, float] = {}
        self._thread = threading.Thread(
            target=self._serve, name="operations", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Have the last summary written; gives up after five seconds."""
        self._ending.set()
        self._thread.join(_END_SECONDS)

    def _serve(self) -> None:
        while not self._ending.wait(self._seconds):
            self._try()
        self._try()

    def _try(self) -> None:
        try:
            self._summarise()
        except DropzoneError as error:
            self._log.warning("operations not tracked", reason=error.message)
        except Exception:  # noqa: BLE001 foreign code; the callers must not notice
            self._log.exception("tracking of operations failed")

    def _summarise(self) -> None:
        figures = flat(self._stats())
        if not figures or figures == self._told:
            return
        # MLflow is imported here at the earliest: nobody waits for that.
        from dropzone.sessions.mlflow import MlflowSession

        session = MlflowSession(self._settings, stop=self._ending)
        try:
            if self._run_id is None:
                program = Path(sys.argv[0]).name or "python"
                self._run_id = session.log_run(
                    name=f"operations of {program}",
                    params={"host": socket.gethostname(), "pid": os.getpid()},
                    tags={"dropzone.operations": program},
                )
            session.log_metrics(self._run_id, figures, step=self._step)
        finally:
            session.close()
        self._step += 1
        self._told = figures


def flat(stats: Mapping[str, ServiceStats]) -> dict[str, float]:
    """Return figures by name: ``s3.upload.count``, ``.errors``, ``.p95_seconds``..."""
    figures: dict[str, float] = {}
    for service, told in stats.items():
        for name, operation in told.operations.items():
            if not operation.count:
                continue
            figures |= {
                f"{service}.{name}.count": operation.count,
                f"{service}.{name}.errors": sum(operation.errors.values()),
                f"{service}.{name}.total_seconds": operation.total_seconds,
            }
            if operation.p50_seconds is not None and operation.p95_seconds is not None:
                figures[f"{service}.{name}.p50_seconds"] = operation.p50_seconds
                figures[f"{service}.{name}.p95_seconds"] = operation.p95_seconds
    return figures
