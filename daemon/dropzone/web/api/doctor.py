"""What ``dropzone doctor`` finds, examined when somebody asks for it.

The command itself does it, in a process of its own: it imports what the daemon never
needs, and may end without harm.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Given, Operation
from dropzone.web_settings import Role

_SECONDS = 120.0
_LOOK_SECONDS = 0.2


class Doctor:
    """One examination at a time; the last one is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = models.Examination(
            state="never", begun_at=None, ended_at=None, findings=[], problem=""
        )

    def operations(self) -> Sequence[Operation]:
        return (
            Operation(
                *("GET", "/api/v1/doctor", "doctor"),
                "What the last examination found, with the fix for each finding.",
                lambda _backend, _ask: self._last,
                models.Examination,
            ),
            Operation(
                *("POST", "/api/v1/doctor", "examine"),
                "Examine everything anew; GET tells when it is done.",
                self._begin,
                models.Examination,
                Role.OPERATE,
                body=Given,
            ),
        )

    def _begin(self, backend: Backend, _ask: Ask) -> models.Examination:
        with self._lock:
            if self._last.state != "running":
                self._last = self._last.model_copy(
                    update={"state": "running", "begun_at": time.time()}
                )
                threading.Thread(
                    target=self._examine, args=(backend,), name="doctor", daemon=True
                ).start()
            return self._last

    def _examine(self, backend: Backend) -> None:
        found: dict[str, Any] = {"ended_at": None, "findings": [], "problem": ""}
        try:
            told = _run(backend)
            found |= {"state": "done", "findings": told["findings"]}
        except (OSError, ValueError, KeyError) as error:
            found |= {"state": "failed", "problem": f"dropzone doctor failed: {error}"}
        found |= {"begun_at": self._last.begun_at, "ended_at": time.time()}
        self._last = models.Examination.model_validate(found)


def _run(backend: Backend) -> dict[str, Any]:
    path = backend.loaded().path
    named = ["--config", os.fspath(path)] if path is not None else []
    # It reads the same configuration, and so needs the same environment.
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "dropzone", "doctor", "--json", *named],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + _SECONDS
    while True:
        try:
            return _told(child.communicate(timeout=_LOOK_SECONDS)[0], child.returncode)
        except subprocess.TimeoutExpired:
            if backend.stop.is_set() or time.monotonic() > until:
                child.kill()
                child.communicate()
                raise ValueError(f"it did not end in {_SECONDS:.0f} s.") from None


def _told(answer: bytes, code: int) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise ValueError(
            f"it ended with {code} and told nothing. Run it by hand on the machine."
        ) from None
    if "error" in told:
        raise ValueError(f"{told['error']} {told.get('what_to_do', '')}".strip())
    return told
