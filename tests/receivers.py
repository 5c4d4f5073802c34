"""Real receivers of messages: an HTTP server that does as it is told, an SMTP server.

Each keeps what it got; a test asks for it with ``wait_for``.
"""

import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from daemons import free_port, wait_for


class Receiver:
    """Takes POSTs on 127.0.0.1; ``statuses`` are answered first, then 200."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        #: How many requests came, those that were refused included.
        self.asked = 0
        self.statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.hangs = threading.Event()
        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def url(self, login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}/canary-path-93e1?token=canary-q-77"

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in list(self.got) if message.get("kind") == kind]

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                content = json.loads(self.rfile.read(size))
                receiver.asked += 1
                if receiver.hangs.is_set():
                    receiver._closed.wait()
                    return
                try:
                    status = receiver.statuses.get_nowait()
                except queue.Empty:
                    status = 200
                    receiver.headers.append(dict(self.headers))
                    receiver.got.append(content)
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


class Mailbox:
    """An SMTP server in a process of its own, which keeps what it takes."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder / "mailbox"
        self.address = f"127.0.0.1:{self.port}"
        handler = ["-c", "aiosmtpd.handlers.Mailbox", str(self._folder)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aiosmtpd", "-n", *handler, "-l", self.address],
            stdin=subprocess.DEVNULL,
        )
        wait_for(self._listens, "the SMTP server listens")

    def mails(self) -> list[str]:
        return [path.read_text() for path in sorted((self._folder / "new").glob("*"))]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False


@contextmanager
def mailbox(folder: Path) -> Iterator[Mailbox]:
    made = Mailbox(folder)
    try:
        yield made
    finally:
        made.close()
