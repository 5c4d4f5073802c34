"""Kills everything at random while files of every kind are dropped.

The daemon runs its own servers, as it does for a person who configured nothing: its
Postgres, its S3 server, its parsers and its MLflow process die as it does.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from chaos.ground import Patch
from chaos.supervisor import descendants
from daemons import ZoneOfTest, wait_for
from samples import pdf, word

_LARGE = 60_000
_NEVER_AGAIN = 0.6
_PAUSES = (0.05, 1.2)


class Storm:
    """One zone, one producer, and one who kills."""

    def __init__(self, base: Path, *, files: int, kills: int, seed: int) -> None:
        base.mkdir(parents=True, exist_ok=True)
        environment = {"DROPZONE__MLFLOW__BATCH_SECONDS": "1"}
        zone = ZoneOfTest(base, environment)
        self.patch = Patch("default", zone, zone.root)
        self.killed: Counter[str] = Counter()
        self._files = files
        self._kills = kills
        self._seed = seed
        self._random = random.Random(seed)
        self._daemon: subprocess.Popen[bytes] | None = None
        self._dropped = threading.Event()

    def blow(self, seconds: float) -> None:
        """Drop and kill until both numbers are reached, and let it settle.

        Raises:
            AssertionError: it does not settle in the given seconds.

        """
        zone = self.patch.zone
        producer = threading.Thread(target=self._produce, daemon=True)
        try:
            self._daemon = zone.start()
            producer.start()
            while self.killed.total() < self._kills:
                self._kill_something()
            producer.join(seconds)
            zone.wait_for_ends(self._files, seconds)
            zone.stop(self._running())
            # And one that ends by itself when the last run is logged.
            last = zone.start("--once")
            wait_for(lambda: last.poll() is not None, "the last run ends", seconds)
            assert last.poll() in {0, 1}
        except AssertionError as error:
            error.add_note(zone.log()[-4000:])
            raise
        finally:
            self._dropped.set()
            producer.join(30)
            zone.close()

    # Dropping

    def _produce(self) -> None:
        chosen = random.Random(self._seed + 1)
        earlier: list[bytes] = [b"the first content of all"]
        # As long as the storm lasts: about one file for each part of a kill.
        pause = self._kills * sum(_PAUSES) / 2 / self._files
        for number in range(self._files):
            name, content = any_file(number, chosen, earlier)
            earlier = [*earlier[-50:], content]
            path = self.patch.root / "input" / name
            # What still waits must not be replaced by its own producer.
            wait_for(lambda path=path: not path.exists(), f"{name} is taken", 600)
            self.patch.dropped[name, self.patch.zone.drop(name, content)] += 1
            if self._dropped.wait(pause * chosen.uniform(0, 2) * _NEVER_AGAIN):
                return

    # Killing

    def _kill_something(self) -> None:
        victims: dict[str, Callable[[], list[int]]] = {
            "daemon": self._daemon_alone,
            "parser": lambda: self._children("dropzone.executor.worker"),
            "mlflow": lambda: self._children("dropzone.track_child"),
            "postgres": self._postmasters,
            "backend": self._backends,
            "s3": lambda: self._servers("rclone"),
            "everything": self._everything,
        }
        weights = (5, 4, 3, 2, 3, 3, 2)
        pause = threading.Event()
        pause.wait(self._random.uniform(*_PAUSES))
        name = self._random.choices(list(victims), weights)[0]
        doomed = victims[name]()
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if doomed:
            self.killed[name] += 1
        if self._daemon is not None and (
            name in {"daemon", "everything"} or self._daemon.poll() is not None
        ):
            self._daemon.wait(60)
            self._daemon = self.patch.zone.start()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._daemon is None or self._daemon.poll() is not None:
            self._daemon = self.patch.zone.start()
        return self._daemon

    def _daemon_alone(self) -> list[int]:
        return [self._running().pid]

    def _everything(self) -> list[int]:
        daemon = self._running().pid
        return [daemon, *descendants(daemon), *self._postmasters(), *self._backends(),
                *self._servers("rclone")]  # fmt: skip

    def _children(self, module: str) -> list[int]:
        daemon = self._running().pid
        found = [pid for pid in descendants(daemon) if module in _command(pid)]
        return self._random.sample(found, min(1, len(found)))

    def _postmasters(self) -> list[int]:
        return [
            pid
            for pid in self._servers("postgres")
            if "-D" in _command(pid).split("\0")
        ]

    def _backends(self) -> list[int]:
        found = [pid for parent in self._postmasters() for pid in descendants(parent)]
        return self._random.sample(found, min(1, len(found)))

    def _servers(self, name: str) -> list[int]:
        return processes_with(str(self.patch.root / "state" / "services"), name)


def processes_with(directory: str, name: str) -> list[int]:
    """Return the processes of a program with this directory on the command line.

    These are the servers of one zone and no other, whoever started them.
    """
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and directory in (command := _command(int(entry))):
            program = os.path.basename(command.partition("\0")[0])
            if program == name:
                found.append(int(entry))
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def any_file(
    number: int, chosen: random.Random, earlier: list[bytes]
) -> tuple[str, bytes]:
    """Return the name and the bytes of one more file."""
    text = f"File {number} of the storm {chosen.random()}.\n"
    plain = text.encode()
    kinds: list[Callable[[], tuple[str, bytes]]] = [
        lambda: ("plain.txt", plain * 20),
        lambda: ("notes.md", b"# Title\n\n" + plain * 5),
        lambda: ("table.csv", b"a,b\n" + b"1,%d\n" % number * 30),
        lambda: ("data.json", json.dumps([{"text": text}] * 5).encode()),
        lambda: ("page.html", b"<h1>Title</h1><p>" + plain),
        lambda: ("letter.pdf", pdf([text])),
        lambda: ("letter.docx", word([("", text)])),
        lambda: ("blob.bin", b"\x00\xff" + plain),
        lambda: ("large.txt", plain * (_LARGE // len(plain))),
        lambda: ("empty.txt", b""),
        lambda: ("broken.pdf", b"%PDF-1.4 " + plain),
        lambda: ("again.txt", chosen.choice(earlier)),
    ]
    weights = (30, 10, 10, 8, 8, 6, 3, 6, 2, 2, 3, 12)
    name, content = chosen.choices(kinds, weights)[0]()
    # A tenth comes again and again under the same few names.
    if chosen.random() < 0.1:
        return f"same/{name}", content
    return f"c{number % 5}/{number:05}-{name}", content
