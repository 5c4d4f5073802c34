"""Which loops of the daemon still go round.

Every loop that must never stop beats each time round. The watchdog of systemd is fed,
and ``/healthz`` answers well, only while none is overdue. A call that may honestly take
long declares how long, so that patience with it is no patience with a deadlock.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: How long a loop may be silent that says nothing else: disks and file servers hang
#: for a minute or two and come back by themselves.
SILENCE_SECONDS = 300.0


@dataclass(slots=True)
class _Pulse:
    last: float
    allowed: float
    thread: int


class _OfThread(threading.local):
    """The loop that this thread runs, if it runs one."""

    owner: "Heartbeats | None" = None
    name: str = ""


_of_thread = _OfThread()


class Heartbeats:
    """Thread-safe. ``clock`` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._prefix = ""
        self._pulses: dict[str, _Pulse] = {}
        # Beats come without it: they change what is there, and nothing else.
        self._lock = threading.Lock()

    def below(self, prefix: str) -> "Heartbeats":
        """Return these same heartbeats for a part, whose names begin with its own."""
        part = Heartbeats(self._clock)
        part._prefix = f"{self._prefix}{prefix} "
        part._pulses, part._lock = self._pulses, self._lock
        return part

    def expect(self, name: str, seconds: float = SILENCE_SECONDS) -> None:
        """From now on ``name`` has to beat at least every so many seconds."""
        pulse = _Pulse(self._clock(), seconds, threading.get_ident())
        with self._lock:
            self._pulses[self._prefix + name] = pulse

    def beat(self, name: str) -> None:
        """Tell that ``name`` goes on; nothing happens when it is not expected."""
        pulse = self._pulses.get(self._prefix + name)
        if pulse is not None:
            pulse.last = self._clock()

    def forget(self, name: str) -> None:
        """Expect nothing more of ``name``: it has ended."""
        with self._lock:
            self._pulses.pop(self._prefix + name, None)

    @contextlib.contextmanager
    def within(self, name: str, seconds: float) -> Iterator[None]:
        """Allow ``name`` at least so many seconds between two beats in this block."""
        pulse = self._pulses.get(self._prefix + name)
        if pulse is None:
            yield
            return
        before = pulse.allowed
        pulse.last = self._clock()
        pulse.allowed = max(before, seconds)
        try:
            yield
        finally:
            # The beat first, or for a moment it would look overdue.
            pulse.last = self._clock()
            pulse.allowed = before

    @contextlib.contextmanager
    def loop(self, name: str, seconds: float = SILENCE_SECONDS) -> Iterator[None]:
        """Expect ``name`` while this block runs, and let this thread beat for it."""
        before = _of_thread.owner, _of_thread.name
        self.expect(name, seconds)
        _of_thread.owner, _of_thread.name = self, name
        try:
            yield
        finally:
            _of_thread.owner, _of_thread.name = before
            self.forget(name)

    def stale(self) -> dict[str, float]:
        """Return who is overdue, with the seconds since the last beat of each."""
        now = self._clock()
        with self._lock:
            silent = {name: now - p.last for name, p in self._pulses.items()}
            allowed = {name: p.allowed for name, p in self._pulses.items()}
        return {name: s for name, s in silent.items() if s > allowed[name]}

    def thread_of(self, name: str) -> int | None:
        """Return the ident of the thread that runs a loop, as ``stale`` names it."""
        pulse = self._pulses.get(name)
        return None if pulse is None else pulse.thread


def beat() -> None:
    """Tell that the loop of this thread goes on; nothing in a thread without one."""
    if _of_thread.owner is not None:
        _of_thread.owner.beat(_of_thread.name)


def helper() -> Callable[[], None]:
    """Return what makes another thread beat for the loop of this one; call it there."""
    owner, name = _of_thread.owner, _of_thread.name

    def join() -> None:
        _of_thread.owner, _of_thread.name = owner, name

    return join


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Allow this thread's loop at least so many seconds between two beats."""
    if _of_thread.owner is None:
        yield
        return
    with _of_thread.owner.within(_of_thread.name, seconds):
        yield
