"""Uploads one large file over HTTP that is broken off three times, and looks at it.

    python benchmarks/upload.py [--gigabytes 5] [--smooth]

The connection is cut, the daemon is killed with SIGKILL, and so is the client, of which
another begins that knows nothing. The bytes are made, not read. ``--smooth`` breaks
nothing. Needs three times the size on the disk of TMPDIR.
"""

import argparse
import base64
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from dropzone.embedded import running

MEGABYTE = 1 << 20
DEADLINE = 900.0
TUS = {"tus-resumable": "1.0.0"}
_FILLING = random.Random(1).randbytes(MEGABYTE - 8)


def block(number: int) -> bytes:
    """Return the file's megabyte of this number; no two are the same."""
    return number.to_bytes(8, "big") + _FILLING


def wait_for(condition, what, seconds=DEADLINE, pause=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(pause)  # noqa: TID251 polls a condition, with a deadline
    raise SystemExit(f"did not happen in {seconds:.0f} s: {what}")


# The client, a process of its own


def ask(url: str, method: str, path: str, **headers: str):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request(method, path, headers=TUS | headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def client(url: str, megabytes: int, cut_at: int) -> None:
    """Upload, over as many connections as it takes; cut the first one at ``cut_at``."""
    path = began(url, megabytes)
    length = megabytes * MEGABYTE
    while True:
        try:
            answer, _ = ask(url, "HEAD", path)
            offset = int(answer.headers["upload-offset"])
            if offset == length:
                return
            send(url, path, offset, length, cut_at)
        except (OSError, http.client.HTTPException):
            # The daemon is away: what it has is asked when it is back.
            time.sleep(0.1)  # noqa: TID251 a client waits like that
        cut_at = 0


def began(url: str, megabytes: int) -> str:
    """Return the upload that was begun before, or a new one."""
    known = json.loads(ask(url, "GET", "/api/v1/uploads")[1])["uploads"]
    if known:
        return f"/api/v1/uploads/{known[0]['id']}"
    name = base64.b64encode(b"large.bin").decode()
    headers = {
        "upload-length": str(megabytes * MEGABYTE),
        "upload-metadata": f"filename {name}",
    }
    answer, body = ask(url, "POST", "/api/v1/uploads", **headers)
    if answer.status != http.HTTPStatus.CREATED:
        raise SystemExit(body.decode())
    return answer.headers["location"]


def send(url: str, path: str, offset: int, length: int, cut_at: int) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.putrequest("PATCH", path)
    headers = {
        "upload-offset": str(offset),
        "content-length": str(length - offset),
        "content-type": "application/offset+octet-stream",
    }
    for name, value in (TUS | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    number, within = divmod(offset, MEGABYTE)
    while number * MEGABYTE < length:
        connection.send(block(number)[within:])
        number, within = number + 1, 0
        if cut_at and number * MEGABYTE >= cut_at:
            connection.close()
            return
    connection.getresponse().read()
    connection.close()


# The daemon, and who breaks everything


class Daemon:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.peak = 0
        self._port = "0"
        self._ended = threading.Event()
        self.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def start(self) -> None:
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith("DROPZONE")
        }
        environment["DROPZONE__WEB__PORT"] = self._port
        with (self.base / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dropzone", "run"],
                cwd=self.base,
                env=environment,
                stdout=log,
                stderr=log,
            )
        wait_for(self._told, "the page is served")
        self.url = self._told()
        self._port = self.url.rpartition(":")[2]

    def _told(self) -> str:
        try:
            told = json.loads((self.base / "drop_zones/state/daemon.json").read_bytes())
        except (OSError, ValueError):
            return ""
        return told["web"]["url"] if told["pid"] == self.process.pid else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self._ended.set()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            try:
                status = Path(f"/proc/{self.process.pid}/statm").read_text()
            except OSError:
                continue
            pages = int(status.split()[1]) if status else 0
            self.peak = max(self.peak, pages * os.sysconf("SC_PAGE_SIZE"))

    def came(self) -> int:
        """Return how many bytes of the upload are there."""
        top = self.base / "drop_zones/state/uploads/open"
        return sum(path.stat().st_size for path in top.glob("*/data"))


def start_client(daemon: Daemon, megabytes: int, cut_at: int) -> subprocess.Popen:
    arguments = ["--client", daemon.url, "--megabytes", str(megabytes)]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments, "--cut-at", str(cut_at)]
    )


def measure(base: Path, megabytes: int, *, smooth: bool) -> None:
    daemon = Daemon(base)
    wait_for(lambda: running(base / "drop_zones/state/services"), "services")
    before = daemon.peak
    begun = time.monotonic()
    away = 0.0
    sender = start_client(daemon, megabytes, 0 if smooth else megabytes // 4 * MEGABYTE)
    if not smooth:
        sender, away = broken(daemon, sender, megabytes)
    if sender.wait(DEADLINE) != 0:
        raise SystemExit("the client failed")
    took = time.monotonic() - begun
    size = megabytes * MEGABYTE
    print(
        f"{size / 1e9:.1f} GB came in {took:.1f} s, of which the daemon was away "
        f"{away:.1f} s: {size / 1e6 / (took - away):.0f} MB/s",
        flush=True,
    )
    print(f"daemon: {before / 1e6:.0f} MB RSS before, {daemon.peak / 1e6:.0f} at most")
    receipt = wait_for(lambda: receipt_of(base), "it is processed", pause=0.2)
    whole = hashlib.sha256()
    for number in range(megabytes):
        whole.update(block(number))
    assert receipt["sha256"] == whole.hexdigest(), receipt
    print(
        f"{receipt['outcome']} with its SHA-256 after {time.monotonic() - begun:.0f} s"
    )
    daemon.stop()


def broken(
    daemon: Daemon, sender: subprocess.Popen, megabytes: int
) -> tuple[subprocess.Popen, float]:
    """Kill the daemon and then the client; return another, and how long it was away."""
    length = megabytes * MEGABYTE
    wait_for(lambda: daemon.came() > length // 2, "half of it came", pause=0.005)
    killed = time.monotonic()
    daemon.kill()
    had = daemon.came()
    daemon.start()
    away = time.monotonic() - killed
    print(f"the daemon was killed when {had:,} bytes had come", flush=True)
    wait_for(lambda: daemon.came() > length * 3 // 4, "more came", pause=0.005)
    sender.kill()
    sender.wait()
    return start_client(daemon, megabytes, 0), away


def receipt_of(base: Path) -> dict:
    for path in (base / "drop_zones/state/receipts").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            if '"job"' in line:
                return json.loads(line)
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--smooth", action="store_true")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--megabytes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cut-at", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        client(given.client, given.megabytes, given.cut_at)
        return
    megabytes = int(given.gigabytes * 1e9) // MEGABYTE
    with tempfile.TemporaryDirectory(prefix="dropzone-upload-") as base:
        measure(Path(base), megabytes, smooth=given.smooth)


if __name__ == "__main__":
    main()
