"""Both embedded servers together: who owns them, and keeping them alive."""

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from dropzone import heartbeats, log
from dropzone.embedded import files, record
from dropzone.embedded.postgres import PostgresServer
from dropzone.embedded.process import FAST_SECONDS, Child, Identity
from dropzone.embedded.record import Owner, Record, Role, ServiceAddresses
from dropzone.embedded.s3 import S3Server
from dropzone.errors import DropzoneError, ServiceUnavailable, Stopping

# How long to wait for the process that is starting the servers just now.
_ATTACH_SECONDS = 120.0


class _Server(Protocol):
    """``ask_to_stop`` returns at once, so that both servers stop side by side."""

    name: str
    child: Child | None

    @property
    def serves(self) -> bool: ...
    def start(self) -> None: ...
    def ask_to_stop(self) -> None: ...
    def finish(self) -> None: ...
    def add_to(self, addresses: ServiceAddresses) -> ServiceAddresses: ...


class EmbeddedServices:
    """Postgres and S3 on one data directory, shared by all processes that ask.

    The first process that starts owns the servers, and they end with it, whatever ends
    it. The others attach; ``check`` makes one of them the owner when the owner is gone.
    All methods may be called from any thread. ``stopping`` interrupts a start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        postgres: bool = True,
        s3: bool = True,
        s3_port: int = 0,
        fast_init: bool = False,
        role: Role = Role.DAEMON,
        stopping: threading.Event | None = None,
    ) -> None:
        self._directory = directory.resolve()
        self._postgres, self._s3, self._s3_port = postgres, s3, s3_port
        self._fast_init = fast_init
        self._role = role
        self._stopping = stopping or threading.Event()
        self._mutex = threading.Lock()
        self._lock = files.Lock(record.lock_path(self._directory))
        self._servers: list[_Server] = []
        self._addresses: ServiceAddresses | None = None
        #: How often each server was started anew because it had ended.
        self.restarts: Counter[str] = Counter()
        self._log = log.get("embedded")

    @property
    def addresses(self) -> ServiceAddresses:
        """The last addresses; a restart may move the S3 server to another port."""
        if self._addresses is None:
            raise RuntimeError("the embedded services were not started")
        return self._addresses

    @property
    def owns(self) -> bool:
        return self._lock.held

    def start(self) -> ServiceAddresses:
        """Attach to the running servers, or start them.

        Raises:
            ServiceUnavailable: a server would not start, or the owner runs without it.
            ZoneError: the directory cannot be used by this user.
            Stopping: ``stopping`` was set meanwhile.

        """
        with self._mutex, _explained(self._directory):
            if self._addresses is not None:
                return self._addresses
            files.make_directory(self._directory)
            for _ in range(int(_ATTACH_SECONDS / 0.05)):
                if self._take_over() or self._attach():
                    return self.addresses
                heartbeats.beat()
                if self._stopping.wait(0.05):
                    raise Stopping("The start was given up: we are stopping.")
        raise self._owner_is_stuck()

    def serving(self) -> dict[str, bool]:
        """Return the servers that this process owns, and whether each one serves."""
        return {server.name: server.serves for server in list(self._servers)}

    def check(self) -> bool:
        """Call every second or so; returns True if anything was started or moved.

        Raises:
            ServiceUnavailable: a server would not start; the next check tries again.

        """
        with self._mutex, _explained(self._directory):
            if self._addresses is None:
                return False
            if self.owns:
                for server in self._servers:
                    files.trim_log(self._directory / f"{server.name}.log")
                return self._restart_the_dead()
            before = self._addresses
            return self._take_over() or (self._attach() and self._addresses != before)

    def stop(self) -> None:
        """Stop the servers if this process owns them, else only forget them."""
        with self._mutex:
            self._addresses = None
            if self.owns:
                self._let_go()
                where = str(self._directory)
                self._log.info("embedded servers stopped", directory=where)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _take_over(self) -> bool:
        """Become the owner and start the servers, if nobody owns them."""
        try:
            if not self._lock.take():
                return False
            self._start_servers()
        except BaseException:
            if self.owns:
                self._let_go()
            raise
        self._log.info("embedded servers started", directory=str(self._directory))
        return True

    def _start_servers(self) -> None:
        self._end_orphans()
        self._servers = self._make_servers()
        self._write(ready=False)
        for server in self._servers:
            server.start()
        self._addresses = self._describe()
        self._write(ready=True)

    def _attach(self) -> bool:
        found = record.running(self._directory)
        if found is None:
            return False
        wanted = record.select(found, postgres=self._postgres, s3=self._s3)
        self._addresses = wanted
        return True

    def _restart_the_dead(self) -> bool:
        dead = [server for server in self._servers if not server.serves]
        failures: list[DropzoneError] = []
        for server in dead:
            code = server.child and server.child.exit_code
            server.finish()
            try:
                server.start()
            except ServiceUnavailable as error:
                failures.append(error)
            else:
                self.restarts[server.name] += 1
                self._log.warning(
                    "embedded server restarted", service=server.name, exit_code=code
                )
        if dead:
            self._addresses = self._describe()
            self._write(ready=not failures)
        if failures:
            raise failures[0]
        return bool(dead)

    def _make_servers(self) -> list[_Server]:
        servers: list[_Server] = []
        if self._s3:
            servers.append(
                S3Server(self._directory, port=self._s3_port, stopping=self._stopping)
            )
        if self._postgres:
            servers.append(
                PostgresServer(
                    self._directory, fast_init=self._fast_init, stopping=self._stopping
                )
            )
        return servers

    def _let_go(self) -> None:
        try:
            for server in self._servers:
                server.ask_to_stop()
            for server in self._servers:
                server.finish()
            self._servers = []
            # Nothing is lost if this fails: the lock tells that nobody owns them.
            with contextlib.suppress(OSError):
                known = record.read(self._directory).addresses
                record.write(self._directory, Record(addresses=known))
        finally:
            self._lock.release()

    def _describe(self) -> ServiceAddresses:
        addresses = ServiceAddresses()
        for server in self._servers:
            addresses = server.add_to(addresses)
        return addresses

    def _write(self, *, ready: bool) -> None:
        known = self._addresses or record.read(self._directory).addresses
        me = Identity.of(os.getpid())
        children = (server.child for server in self._servers)
        identities = (child.identity for child in children if child)
        record.write(
            self._directory,
            Record(
                addresses=known,
                owner=Owner(me, self._role) if me else None,
                ready=ready,
                servers=tuple(identity for identity in identities if identity),
            ),
        )

    def _end_orphans(self) -> None:
        """End servers whose owner and guard were both killed."""
        for orphan in record.read(self._directory).servers:
            orphan.end(signal.SIGINT, FAST_SECONDS)

    def _owner_is_stuck(self) -> ServiceUnavailable:
        owner = record.read(self._directory).owner
        who = f"Process {owner.identity.pid}" if owner else "Another process"
        return ServiceUnavailable(
            "postgres" if self._postgres else "s3",
            f"{who} has been starting the servers in {self._directory} for"
            f" {_ATTACH_SECONDS:.0f} seconds.",
            hint="Look at the logs in that directory, or end that process.",
        )


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise files.not_ours(Path(error.filename or directory)) from error
    except OSError as error:
        raise ServiceUnavailable(
            "disk",
            f"The embedded servers cannot use {directory}: {error.strerror}.",
            hint="Free some space there, or name another embedded.directory.",
        ) from error
