"""The daemon's side of the process that holds the MLflow client."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from dropzone import heartbeats, secret_sources
from dropzone.errors import ServiceUnavailable, Stopping
from dropzone.sessions.health import Health


class TrackProcess:
    """The child that holds the MLflow client. Thread-safe; started when needed."""

    def __init__(
        self, settings: Mapping[str, Any], *, timeout: float, stop: threading.Event
    ) -> None:
        """Take ``settings``, the fields of MlflowSettings as JSON takes them.

        ``timeout`` bounds one run in seconds, the import of MLflow included.
        """
        self._settings = dict(settings)
        self._timeout = timeout
        self._stop = stop
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        #: How MLflow did when it was used last; the latency is that of the last check.
        self.health = Health()

    def log(self, run: Mapping[str, Any]) -> str:
        """Return the id of the run that holds this batch. May run twice.

        Raises:
            ServiceUnavailable: MLflow is at fault, or does not answer (``mlflow``).
            Stopping: the daemon stops meanwhile.

        """
        return str(self._ask({"log": run})["run_id"])

    def check(self) -> None:
        """Ask the tracking store for an answer.

        Raises:
            ServiceUnavailable: it gives none (``mlflow``).

        """
        self._ask({"check": True})

    def reap(self) -> None:
        """Collect a child that ended because there was nothing to do."""
        child = self._child
        if child is not None and child.poll() is not None and self._lock.acquire(False):
            try:
                self._drop()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the child at once; what it was doing is found again by its tag."""
        child = self._child
        if child is not None:
            child.kill()
        with self._lock:
            self._drop()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = self._answer(request)
        except ServiceUnavailable as error:
            told = f"{error.message} {error.hint}".strip()
            self.health = Health(healthy=False, last_check=time.time(), error=told)
            raise
        latency = answer.get("latency_seconds", self.health.latency_seconds)
        self.health = Health(True, time.time(), latency)
        return answer

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                child = self._started()
                _send(child, {"settings": self._settings, **request}, self._timeout)
                answer = self._read(child)
            except OSError as error:
                self._drop()
                raise ServiceUnavailable(
                    "mlflow", f"The tracking process broke off: {error}."
                ) from error
            except (ServiceUnavailable, Stopping):
                self._drop()
                raise
        if "error" in answer:
            raise ServiceUnavailable(
                "mlflow", answer["error"], hint=answer.get("hint", "")
            )
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._stop.is_set():
            raise Stopping("The daemon is stopping.")
        if self._child is None or self._child.poll() is not None:
            self._drop()
            command = [sys.executable, "-P", "-m", "dropzone.track_child"]
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=_environment(self._settings, os.environ),
            )
        return self._child

    def _read(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        until = time.monotonic() + self._timeout
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            out = child.stdout
            if out is None:
                raise BrokenPipeError("no pipe to the tracking process")
            selector.register(out, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                heartbeats.beat()
                if self._stop.is_set():
                    raise Stopping("The daemon is stopping.")
                if time.monotonic() > until:
                    raise ServiceUnavailable(
                        "mlflow", f"MLflow gave no answer in {self._timeout:.0f} s."
                    )
                if selector.select(0.1):
                    part = os.read(out.fileno(), 1 << 16)
                    if not part:
                        raise BrokenPipeError("the tracking process ended")
                    received += part
        answer: dict[str, Any] = json.loads(received)
        return answer

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _environment(
    settings: Mapping[str, Any], ours: Mapping[str, str]
) -> dict[str, str]:
    # The login of a tracking server comes through the pipe, where nobody sees it.
    # Artifacts may lie in S3, and a store in Postgres.
    store = settings.get("tracking_uri") or ""
    keep = ["PGPASS"] if store.startswith("postgres") else []
    keep += ["AWS_"] if store or settings.get("artifact_root") else []
    return secret_sources.without_secrets(ours, keep=keep)


def _send(
    child: subprocess.Popen[bytes], message: Mapping[str, Any], seconds: float
) -> None:
    """Write one line, giving up on a child that does not read for so long."""
    if child.stdin is None:
        raise BrokenPipeError("no pipe to the tracking process")
    left = memoryview(json.dumps(message).encode() + b"\n")
    until = time.monotonic() + seconds
    pipe = child.stdin.fileno()
    os.set_blocking(pipe, False)
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_WRITE)
        while left:
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError("the tracking process does not read")
            left = left[os.write(pipe, left) :]
