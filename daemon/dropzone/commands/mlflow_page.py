"""The command ``mlflow``: MLflow's own page over this installation's runs."""

import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from dropzone.embedded.files import last_lines, open_log
from dropzone.embedded.process import Account, Child
from dropzone.errors import DropzoneError, UsageError
from dropzone.sessions import SessionPool
from dropzone.sessions.settings import (
    MlflowSettings,
    mlflow_settings,
    tracking_uri,
    without_userinfo,
)
from dropzone.settings import Settings
from dropzone.text import display

_HOST = "127.0.0.1"
_PORT = 5000
_START_SECONDS = 90.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.2


def serve(settings: Settings, port: int | None) -> int:
    """Serve the page until a signal comes; return the exit code.

    Raises:
        DropzoneError: the page does not start.

    """
    store = mlflow_settings(settings)
    uri = tracking_uri(store)
    if uri.startswith(("http://", "https://")):
        print(f"The runs are on the MLflow server: {without_userinfo(uri)}")
        return 0
    chosen = _free_port(port)
    _make_store(store)
    log = store.directory / "page.log"
    with _stop_event() as stop, open_log(log) as out:
        page = _start(uri, chosen, out)
        try:
            return _watch(page, f"http://{_HOST}:{chosen}", stop, log)
        finally:
            page.signal()
            if not page.wait(_STOP_SECONDS):
                page.kill()


def _start(uri: str, port: int, out: IO[bytes]) -> Child:
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    return Child(
        [*command, "--host", _HOST, "--port", str(port)],
        stop_signal=signal.SIGTERM,
        log=out,  # type: ignore[arg-type]
        environment={
            # Not in the command line: a database's password would be seen in `ps`.
            "MLFLOW_BACKEND_STORE_URI": uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        account=Account(),
    )


def _watch(page: Child, url: str, stop: threading.Event, log: Path) -> int:
    waited = 0.0
    answers = False
    while not stop.wait(_LOOK_SECONDS):
        if page.exit_code is not None or waited > _START_SECONDS:
            raise DropzoneError(
                f"The MLflow page does not run. It said:\n{last_lines(log)}",
                hint=f"The whole log is {display(bytes(log))}.",
            )
        if not answers:
            waited += _LOOK_SECONDS
            answers = _answers(url)
            if answers:
                print(f"MLflow: {url}    (Ctrl-C stops it)", flush=True)
                waited = 0.0
    return 0


def _answers(url: str) -> bool:
    # No proxy that the environment names stands between us and our own port.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 HTTP's OK
    except (urllib.error.URLError, OSError):
        return False


def _make_store(store: MlflowSettings) -> None:
    # Of several processes that open a new store at once all but one die, so it is
    # made under the session's lock, before the page opens it.
    if store.tracking_uri is None and not (store.directory / "mlflow.db").exists():
        print("Making the store for the runs...", flush=True)
        with SessionPool(mlflow=store) as pool:
            pool.mlflow.ensure_experiment()


def _free_port(wanted: int | None) -> int:
    for port in (wanted,) if wanted else (_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UsageError(
        f"Port {wanted} is taken, or may not be used.",
        hint="Choose another with --port, or leave it out.",
    )


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Lend an event that SIGINT and SIGTERM set."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {
        number: signal.signal(number, handle)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, former in before.items():
            signal.signal(number, former)
