"""The child process of the track step: reads batches from stdin, logs them in MLflow.

Each line in is a JSON request, each line out its answer. It ends with the daemon,
whatever it is doing, and when nothing has come for a while.
"""

import gc
import json
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from dropzone import log
from dropzone.errors import DropzoneError
from dropzone.sessions.settings import MlflowSettings

if TYPE_CHECKING:
    from dropzone.sessions.mlflow import MlflowSession

# MLflow's import is 160 MB of memory, so it does not stay for nothing.
_IDLE_SECONDS = 60.0
# How often one request more, beside those for runs, tells how long one takes.
_CHECK_SECONDS = 60.0
_MEANWHILE = "Runs are logged when it answers again; files do not wait for it."


def main() -> int:
    """Serve until the daemon closes the pipe, or for a minute of silence."""
    # Ctrl-C reaches the daemon, which decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries that print must not speak into the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    log.configure(level="warning")
    threading.Thread(target=_end_with_daemon, daemon=True).start()
    session: MlflowSession | None = None
    checked = 0.0
    # One request at a time is under way, so nothing waits in Python's buffer unseen.
    while _waits(_IDLE_SECONDS) and (line := sys.stdin.buffer.readline()):
        request = json.loads(line)
        if session is None:
            session = _open(request["settings"])
        answer = _answer(session, request)
        if "run_id" in answer and time.monotonic() - checked >= _CHECK_SECONDS:
            checked = time.monotonic()
            answer |= _latency(session)
        answers.write(json.dumps(answer).encode() + b"\n")
    return 0


def _open(settings: dict[str, Any]) -> "MlflowSession":
    # What the import makes stays: to look through it for garbage, again and again
    # while it grows, takes a tenth of the time.
    gc.disable()
    from dropzone.sessions.mlflow import MlflowSession

    gc.freeze()
    gc.enable()
    # They come through the pipe: arguments and environment can be seen from outside.
    directory = Path(settings.pop("directory"))
    login = settings.pop("login", {}).items()
    files = settings.pop("files", {}).items()
    return MlflowSession(
        MlflowSettings(
            directory,
            **settings,
            login={name: SecretStr(value) for name, value in login},
            files={name: Path(path) for name, path in files},
        )
    )


def _end_with_daemon() -> None:
    """End at once when the daemon is gone, also in the middle of a run.

    The next daemon logs the same batch: beside one that still goes on, it would not
    find the run that is just being made.
    """
    poll = select.poll()
    # Asked for nothing, it still tells that the other end of the pipe is closed.
    poll.register(sys.stdin.buffer, 0)
    poll.poll()
    os._exit(1)


def _waits(seconds: float) -> bool:
    return bool(select.select([sys.stdin.buffer], [], [], seconds)[0])


def _answer(session: "MlflowSession", request: dict[str, Any]) -> dict[str, Any]:
    try:
        if "check" in request:
            health = session.check()
            if health.healthy:
                return {"latency_seconds": health.latency_seconds}
            return {"error": health.error or "no answer"}
        return {"run_id": session.log_batch(**request["log"])}
    except DropzoneError as error:
        return {"error": error.message, "hint": f"{error.hint} {_MEANWHILE}".strip()}
    except Exception as error:  # noqa: BLE001 foreign code; the daemon shows and retries
        return {"error": f"MLflow failed with {type(error).__name__}: {error}"}


def _latency(session: "MlflowSession") -> dict[str, Any]:
    # The run is logged, whatever comes of this.
    answer = _answer(session, {"check": True})
    return {} if "error" in answer else answer


if __name__ == "__main__":
    sys.exit(main())
