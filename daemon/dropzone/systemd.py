"""Tells systemd how the daemon is doing: sd_notify(3) in the standard library.

Nothing happens where nobody listens. Only the main process is listened to.
"""

import contextlib
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dropzone import log
from dropzone.heartbeats import Heartbeats

# A datagram to a manager that is stopped just now must not hold the daemon for long.
_SEND_SECONDS = 1.0
_STATUS_CHARACTERS = 250
# How often systemd is asked for more time, and for how much each time.
_EXTEND_EVERY_SECONDS = 10.0
_EXTEND_SECONDS = 60.0
# A loop that reads a large zone after a crash is busy, not hanging.
_START_SECONDS = 900.0
# systemd(1) advises half of the interval; a busy machine may need a further try.
_FEED_SHARE = 4
_NEXT = {"claimed": "to store", "stored": "to index", "indexed": "to release"}


class Notifier:
    """Sends what has changed to $NOTIFY_SOCKET. Thread-safe."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        *,
        extend_every: float = _EXTEND_EVERY_SECONDS,
    ) -> None:
        self._extend_every = extend_every
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._log = log.get("systemd")
        self._told = ""
        self._failing = False
        #: Seconds within which the watchdog wants to hear of us; None: there is none.
        self.watchdog_seconds = _watchdog_seconds(environ)

    def ready(self, status: str) -> None:
        """Tell that the start, or the reload, is over."""
        self._send("READY=1", f"STATUS={_clean(status)}")

    def status(self, sentence: str) -> None:
        """Show this in ``systemctl status``; sent only when it is another one."""
        if sentence != self._told and self._send(f"STATUS={_clean(sentence)}"):
            self._told = sentence

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for so many seconds from now, to start or to stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def stopping(self, within_seconds: float) -> None:
        """Tell that the stop has begun, and how long it may take at most."""
        usec = int(within_seconds * 1e6)
        self._send("STOPPING=1", "STATUS=stopping", f"EXTEND_TIMEOUT_USEC={usec}")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that the configuration is read again, and when that is over."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={usec}")
        try:
            yield
        finally:
            self._send("READY=1")

    @contextlib.contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Let the watchdog wait for so long at most while the main loop is held up."""
        usual = self.watchdog_seconds
        if usual is None or usual >= seconds:
            yield
            return
        self._send(f"WATCHDOG_USEC={int(seconds * 1e6)}", "WATCHDOG=1")
        try:
            yield
        finally:
            self._send(f"WATCHDOG_USEC={int(usual * 1e6)}", "WATCHDOG=1")

    @contextlib.contextmanager
    def starting(self, hearts: Heartbeats) -> Iterator[None]:
        """Ask for more time while the start takes long, as long as it goes on.

        A start whose loop hangs gets no more time, and is ended by systemd.
        """
        if self._address is None:
            yield
            return
        over = threading.Event()

        def ask() -> None:
            while not over.wait(self._extend_every):
                if not hearts.stale():
                    self.extend(_EXTEND_SECONDS)

        asking = threading.Thread(target=ask, name="systemd-start", daemon=True)
        asking.start()
        try:
            with hearts.loop("start", _START_SECONDS):
                yield
        finally:
            over.set()
            asking.join()

    def _send(self, *lines: str) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.settimeout(_SEND_SECONDS)
                client.connect(self._address)
                client.sendall("\n".join(lines).encode("utf-8", "replace"))
        except OSError as error:
            if not self._failing:
                self._log.warning(
                    "systemd does not listen",
                    reason=error.strerror or type(error).__name__,
                    hint="Without this the watchdog ends the daemon; look at "
                    "NotifyAccess= and at systemctl status.",
                )
            self._failing = True
            return False
        self._failing = False
        return True


class Watchdog:
    """Feeds systemd's watchdog from the main loop while no loop of the daemon hangs."""

    def __init__(
        self,
        notifier: Notifier,
        hearts: Heartbeats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._hearts = hearts
        self._clock = clock
        self._fed = float("-inf")
        self._hanging: set[str] = set()
        self._log = log.get("watchdog")

    def look(self) -> None:
        """Call this each time round the main loop, and from nowhere else."""
        stale = self._hearts.stale()
        for name in stale.keys() - self._hanging:
            self._log.error(
                "a loop hangs",
                loop=name,
                silent_seconds=round(stale[name], 1),
                where=self._where(name),
                restarts=self._notifier.watchdog_seconds is not None,
            )
        for name in self._hanging - stale.keys():
            self._log.warning("a loop goes on", loop=name)
        self._hanging = set(stale)
        wanted = self._notifier.watchdog_seconds
        if stale or wanted is None:
            return
        now = self._clock()
        if now - self._fed >= wanted / _FEED_SHARE:
            self._notifier.alive()
            self._fed = now

    def _where(self, name: str) -> list[str]:
        """Return the calls that the loop's thread is in, the innermost last."""
        thread = self._hearts.thread_of(name)
        frames = sys._current_frames()  # noqa: SLF001 the documented way to a stack
        frame = frames.get(thread) if thread is not None else None
        calls = traceback.extract_stack(frame) if frame is not None else []
        return [f"{os.path.basename(c.filename)}:{c.lineno} {c.name}" for c in calls]


def sentence(reports: Iterable[Mapping[str, Any]], *, connected: bool) -> str:
    """Return how the zones are doing, in one line for ``systemctl status``."""
    told = [_of_zone(report) for report in reports]
    if not connected:
        told.append("the services are not connected yet")
    return "; ".join(told)


def _of_zone(report: Mapping[str, Any]) -> str:
    name = report["zone"]
    if paused := report["paused"]:
        first = paused[0]
        since = time.strftime("%H:%M", time.localtime(first["since"]))
        others = f" and {len(paused) - 1} more" if len(paused) > 1 else ""
        step = f"{first['step']}{others} paused since {since}"
        return f"{name}: {step}: {first['reason']}"
    waiting = {"settling": report["watcher"].get("settling", 0)}
    waiting |= {_NEXT.get(state, state): n for state, n in report["queued"].items()}
    busy = ", ".join(f"{count} {what}" for what, count in waiting.items() if count)
    return f"{name}: {busy or 'no file waits'}"


def _address(named: str) -> str | None:
    """Return what to connect to; None for nobody, and for what only machines use."""
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else None


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or pid not in {"", str(os.getpid())}:
        return None
    return int(usec) / 1e6


def _clean(sentence: str) -> str:
    # A line break would begin the next assignment.
    shown = "".join(c if c.isprintable() else "?" for c in sentence)
    return shown[:_STATUS_CHARACTERS]
