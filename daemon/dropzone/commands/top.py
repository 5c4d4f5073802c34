"""A live view of what ``status`` shows, for a terminal."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live

from dropzone import status
from dropzone.commands import access, output, pausing, render_top
from dropzone.errors import DropzoneError
from dropzone.journal import Journal
from dropzone.lookup import Zones
from dropzone.models import Status
from dropzone.settings import Settings

_REFRESH_SECONDS = 2.0
# Looking may take one part in so many of the time: below 2 % of a processor.
_SHARE = 60
_SLOT_SECONDS = 10.0
_SLOTS = 60
_FAILURES = 5


@dataclass(slots=True)
class _Seen:
    """What was there at the last looks, for rates: when, and counts by zone, step."""

    looks: list[tuple[float, dict[tuple[str, str], float]]] = field(
        default_factory=list
    )
    slots: dict[int, int] = field(default_factory=dict)

    def rates(self, zones: list[status.ZoneStatus]) -> dict[tuple[str, str], float]:
        """Return what each step did in a minute, over the last one, once known."""
        now = time.monotonic()
        counts = {
            (zone.zone, step): told["done"]
            for zone in zones
            for step, told in zone.steps.items()
        }
        self.looks = [(at, old) for at, old in self.looks if now - at <= 60.0]  # noqa: PLR2004 a minute
        self.looks.append((now, counts))
        since, before = self.looks[0]
        if now - since < 1.0:
            return {}
        # A daemon that was started anew counts from nothing.
        return {
            key: max(0.0, count - before.get(key, 0.0)) * 60.0 / (now - since)
            for key, count in counts.items()
        }

    def throughput(self, journals: Sequence[Journal]) -> list[int]:
        """Return the files that ended in each of the last slots, the oldest first."""
        # On the clock's own tens of seconds, or each look would count others.
        last = int(time.time() // _SLOT_SECONDS)
        # What was counted stays, but for the slot that was not over and the one before,
        # where the last commits came later.
        known = max(self.slots, default=0) - 1
        first = min(max(last - _SLOTS + 1, known), last)
        self.slots.update(dict.fromkeys(range(first, last + 1), 0))
        for journal in journals:
            since = first * _SLOT_SECONDS
            for row in journal.rows(
                "ended_by_slot", since=since, seconds=_SLOT_SECONDS
            ):
                if first + row["slot"] <= last:
                    self.slots[first + row["slot"]] += row["jobs"]
        self.slots = {slot: n for slot, n in self.slots.items() if slot > last - _SLOTS}
        return [self.slots.get(slot, 0) for slot in range(last - _SLOTS + 1, last + 1)]


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
        slots = seen.throughput([journal for _, journal in known.journals])
    return render_top.View(zones, seen.rates(zones), slots, failures, said)


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
