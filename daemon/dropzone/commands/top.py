"""A live view of what ``status`` shows, for a terminal."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from dropzone import status
from dropzone.commands import access, output, pausing, render_top
from dropzone.errors import DropzoneError
from dropzone.lookup import Zones
from dropzone.models import Status
from dropzone.settings import Settings
from dropzone.throughput import Span, Throughput, added

_REFRESH_SECONDS = 2.0
# Looking may take one part in so many of the time: below 2 % of a processor.
_SHARE = 60
_SPAN = Span(seconds=10, parts=60)
_FAILURES = 5


class _Seen:
    """What ended of late; what is over is counted once."""

    def __init__(self) -> None:
        self._zones: dict[str, Throughput] = {}

    def throughput(self, zones: Zones) -> list[int]:
        """Return the files that ended in each of the last slots, the oldest first."""
        now = time.time()
        told = [
            self._zones.setdefault(zone.name, Throughput(_SPAN)).look(journal, now)
            for zone, journal in zones.journals
        ]
        return [part.files for part in added(told, _SPAN.parts)]


def top(config: Path | None, *, once: bool) -> None:
    """Show the view until q or Ctrl-C; once if told so, or if this is no terminal.

    Raises:
        ConfigurationError: the settings are wrong.
        ZoneError: a zone belongs to another user.

    """
    settings = access.settings(config)
    console = output.console()
    seen = _Seen()
    if once or not console.is_terminal or console.is_dumb_terminal:
        console.print(_look(settings, seen))
        return
    with contextlib.suppress(KeyboardInterrupt):
        _live(config, settings, console, seen)


def _live(
    config: Path | None, settings: Settings, console: Console, seen: _Seen
) -> None:
    said = ""
    with (
        _keys() as keys,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            begun = time.process_time()
            live.update(_look(settings, seen, said), refresh=True)
            took = time.process_time() - begun
            key = keys.wait(max(_REFRESH_SECONDS, took * _SHARE))
            if key in {"q", "Q", "\x03", "\x04"}:
                return
            if key:
                said = _act(config, key, said)


def _look(settings: Settings, seen: _Seen, said: str = "") -> render_top.View:
    """Return everything that is shown now."""
    zones = status.of_all(settings, totals=False)
    with Zones(settings) as known:
        failures = (
            known.newest(_FAILURES, status=Status.FAILED, outcome=None)
            if known.journals
            else []
        )
        slots = seen.throughput(known)
    return render_top.View(zones, slots, failures, said)


def _act(config: Path | None, key: str, said: str) -> str:
    """Do what a key asks for; return what to say about it."""
    if key == "r":
        return _told(lambda: pausing.resume_all(config))
    if key == "p":
        return render_top.ASK
    if key == "y" and said == render_top.ASK:
        return _told(lambda: pausing.pause_all(config))
    return ""


def _told(work: "pausing.Work") -> str:
    try:
        return work()
    except DropzoneError as error:
        return f"{error.message} {error.hint}"


class _Keys:
    """Reads single keys, and wakes when the terminal changes its size."""

    def __init__(self, stdin: int, resized: int) -> None:
        self._stdin = stdin
        self._resized = resized

    def wait(self, seconds: float) -> str:
        """Return the key that was pressed within the time, or nothing."""
        ready, _, _ = select.select([self._stdin, self._resized], [], [], seconds)
        if self._resized in ready:
            os.read(self._resized, 4096)
        if self._stdin in ready:
            # At the end of the input, as after a lost connection, there is no more.
            return os.read(self._stdin, 64)[:1].decode("ascii", "replace") or "q"
        return ""


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Let keys come singly and unseen, as they came before at the end."""
    stdin = sys.stdin.fileno()
    there, here = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    ended = signal.signal(signal.SIGTERM, signal.default_int_handler)
    woken = signal.set_wakeup_fd(here, warn_on_full_buffer=False)
    is_terminal = os.isatty(stdin)
    mode = termios.tcgetattr(stdin) if is_terminal else None
    try:
        if is_terminal:
            tty.setcbreak(stdin)
        yield _Keys(stdin, there)
    finally:
        if mode is not None:
            termios.tcsetattr(stdin, termios.TCSADRAIN, mode)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGTERM, ended)
        signal.signal(signal.SIGWINCH, before)
        os.close(there)
        os.close(here)
