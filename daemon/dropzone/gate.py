"""Pauses a step while its surroundings are at fault, probes, and lets it go on."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from dropzone import heartbeats, log
from dropzone.errors import DropzoneError, ServiceUnavailable, Stopping
from dropzone.pauses import Pause

T = TypeVar("T")

# How long one call may take that only asks a disk.
_CALL_SECONDS = 300.0
# How soon a step goes on that was held.
_LOOK_SECONDS = 0.2


class Gate:
    """Shared by the threads of one step. While it is closed, one of them probes.

    A probe that succeeds lets the work be tried again; only the work itself, where it
    failed before, ends the pause. A fault that the probe cannot see is therefore told
    once, and the pauses between the tries grow all the same.
    """

    def __init__(
        self,
        step: str,
        stop: threading.Event,
        probes: dict[str, Callable[[], object]],
        *,
        first_pause: float = 1.0,
        longest_pause: float = 30.0,
        call_seconds: float = _CALL_SECONDS,
        ready: Callable[[], object] = lambda: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """``probes`` maps a service to a call that raises while it is at fault.

        ``ready`` is called before each work, and raises while none may be done. One
        work or probe that takes longer than ``call_seconds`` counts as hanging.
        """
        self._step = step
        self._stop = stop
        self._probes = probes
        self._first = first_pause
        self._longest = longest_pause
        self._seconds = first_pause
        self._call_seconds = call_seconds
        self._ready = ready
        self._changed = changed
        self._changing = threading.Lock()
        self._pause: Pause | None = None
        #: How often work for a service paused the step.
        self.pauses: Counter[str] = Counter()
        #: Pauses that are wanted, by what wants them; replaced, never changed.
        self._holds: dict[str, Pause] = {}
        self._log = log.get("gate").bind(step=step)

    @property
    def step(self) -> str:
        return self._step

    @property
    def pause(self) -> Pause | None:
        return self._pause

    @property
    def current_pauses(self) -> list[Pause]:
        """Everything that keeps the step from its work now, what is wanted first."""
        fault = self._pause
        return [*self._holds.values(), *([fault] if fault is not None else [])]

    @property
    def held(self) -> bool:
        """True while somebody wants the step to stand still."""
        return bool(self._holds)

    def hold(self, service: str, pause: Pause | None) -> bool:
        """Let the step stand still, or go on with None, as far as ``service`` goes.

        What is under way is finished. Returns whether this changed anything. Called
        by one thread.
        """
        before = self._holds.get(service)
        others = {name: p for name, p in self._holds.items() if name != service}
        self._holds = others if pause is None else {**others, service: pause}
        if pause is not None and pause != before:
            self.pauses[service] += 1
            self._log.info(
                "paused",
                service=service,
                reason=pause.reason,
                hint=pause.hint,
                until=pause.until,
                **({"by": pause.by} if pause.by else {}),
            )
        elif pause is None and before is not None:
            paused = round(time.time() - before.since, 1)
            self._log.info("resumed", service=service, paused_seconds=paused)
        return pause != before

    def admit(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Return when nobody wants the step to stand still; called before new work.

        While it waits it does ``meanwhile`` several times a second.

        Raises:
            Stopping: the daemon stops meanwhile.

        """
        while self._holds:
            if self._stop.wait(_LOOK_SECONDS):
                raise Stopping("The daemon is stopping.")
            heartbeats.beat()
            meanwhile()

    def update(self, first_pause: float) -> None:
        """Begin the next pause with so many seconds."""
        with self._changing:
            self._first = self._seconds = first_pause

    def call(self, work: Callable[[], T]) -> T:
        """Do ``work``; on ServiceUnavailable wait until a probe succeeds, and repeat.

        The work must be one that may run twice.

        Raises:
            Stopping: the daemon stops while the step is paused.

        """
        with heartbeats.within(self._call_seconds):
            return self._call(work)

    def _call(self, work: Callable[[], T]) -> T:
        failed = False
        while True:
            self.wait()
            try:
                self._ready()
                result = work()
            except ServiceUnavailable as error:
                self._close(error)
                failed = True
            except Stopping:
                raise
            except Exception:
                # It got past what it failed at before, to an error of its own.
                self._prove(failed=failed)
                raise
            else:
                self._prove(failed=failed)
                return result

    def wait(self) -> None:
        """Return when the step may go on.

        Raises:
            Stopping: the daemon stops while the step is paused.

        """
        while (current := self._pause) is not None and not current.trying:
            self._wait_until(current.next_probe)
            heartbeats.beat()
            with self._changing:
                if self._pause is not current:
                    continue
                self._probe(current)

    def _wait_until(self, moment: float) -> None:
        if self._stop.wait(max(0.0, moment - time.monotonic())):
            raise Stopping("The daemon is stopping.")

    def _probe(self, current: Pause) -> None:
        try:
            self._probes[current.service]()
        except DropzoneError as error:
            self._set(
                replace(
                    current,
                    reason=error.message,
                    hint=error.hint,
                    next_probe=time.monotonic() + self._grown(),
                )
            )
        else:
            self._set(replace(current, trying=True))

    def _close(self, error: ServiceUnavailable) -> None:
        with self._changing:
            known = self._pause
            if known is not None and not known.trying:
                return
            pause = Pause.of(self._step, error, self._grown())
            again = known is not None and known.service == error.service
            self._set(replace(pause, since=known.since) if known and again else pause)
        if not again:
            self.pauses[error.service] += 1
            self._log.warning(
                "paused", service=error.service, reason=error.message, hint=error.hint
            )

    def _prove(self, *, failed: bool) -> None:
        """Note that work went through; it counts only where the fault was met."""
        if not failed:
            return
        with self._changing:
            known = self._pause
            if known is None or not known.trying:
                return
            self._seconds = self._first
            self._set(None)
        paused = round(time.time() - known.since, 1)
        self._log.info("resumed", service=known.service, paused_seconds=paused)

    def _grown(self) -> float:
        seconds, self._seconds = self._seconds, min(2 * self._seconds, self._longest)
        return seconds

    def _set(self, pause: Pause | None) -> None:
        self._pause = pause
        self._changed()


class Preparation:
    """Work that a step needs done once before it starts; repeated until it succeeds."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        """Do the work unless it is done. What it raises comes out, and it stays due."""
        if self._done:
            return
        with self._lock:
            if not self._done:
                self._work()
                self._done = True
