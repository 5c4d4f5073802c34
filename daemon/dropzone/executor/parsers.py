"""A pool of parser processes: a hostile file costs its process, never the daemon.

The processes get an open descriptor, never a path, an empty environment, and limits on
time and memory. They answer with JSON and raw vectors: nothing they send is executed.
"""

import os
import threading
import time

from dropzone import heartbeats
from dropzone.errors import ParserDied, Stopping
from dropzone.executor.frames import Parsed, ParseTask
from dropzone.executor.process import ParserProcess

__all__ = ["ParseTask", "Parsed", "ParserPool"]

# Parsers leak a little; a fresh process costs about 0.2 s of CPU.
_FILES_PER_PROCESS = 500
_IDLE_SECONDS = 30.0
_LOOK_AT_STOP_SECONDS = 0.25
_CLOSE_SECONDS = 1.0
# Honest files were measured at 0.1 to 1.2 seconds a megabyte, small ones that unpack
# to much at 1.2 seconds: what takes so much longer hangs.
_LEAST_SECONDS = 60.0
_SECONDS_PER_BYTE = 20e-6


class ParserPool:
    """Keeps up to ``processes`` parsers, started when needed, ended when idle.

    Thread-safe. Once ``stop`` is set, running and new calls raise ``Stopping``.
    """

    def __init__(
        self,
        processes: int,
        *,
        memory_mb: int,
        timeout_seconds: float,
        stop: threading.Event,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        #: Megabytes and seconds of a process; those of other limits are not kept.
        self._limits = (memory_mb, timeout_seconds)
        self._stop = stop
        self._idle_seconds = idle_seconds
        self._changed = threading.Condition()
        self._processes = self._free = processes
        self._idle: list[tuple[float, ParserProcess]] = []
        self._busy: set[ParserProcess] = set()
        self._closed = False
        self._isolation = ""
        self._starts = self._deaths = 0
        self._reaper = threading.Thread(
            target=self._end_idle, name="parser-reaper", daemon=True
        )

    def figures(self) -> dict[str, int]:
        """Return how many there are, may be, work now, were started, and died."""
        with self._changed:
            return {
                "limit": self._processes,
                "alive": self._processes - self._free,
                "busy": len(self._busy),
                "starts": self._starts,
                "deaths": self._deaths,
            }

    @property
    def isolation(self) -> str:
        """How the parsers are confined, once one has started; see extract.sandbox."""
        return self._isolation

    def update(self, *, memory_mb: int, timeout_seconds: float) -> None:
        """Take new limits; files that are being read keep those they began with."""
        with self._changed:
            self._limits = (memory_mb, timeout_seconds)
            doomed = [process for _, process in self._idle]
            self._idle.clear()
        for process in doomed:
            process.end()
            self._release_slot()

    def parse(self, task: ParseTask) -> Parsed:
        """Parse one file, waiting for a free process first.

        It gets a minute and 20 seconds for each megabyte, ``timeout_seconds`` at most.

        Raises:
            DocumentRejected: the file can never be read; the message says why.
            ParserDied: the file crashed its parser or went over a limit.
            ServiceUnavailable: a parser cannot even be started.
            Stopping: the daemon is stopping; nothing was decided about the file.

        """
        size = os.fstat(task.fd).st_size
        _, most = self._limits
        seconds = min(most, _LEAST_SECONDS + _SECONDS_PER_BYTE * size)
        process = self._take()
        try:
            return process.parse(task, seconds, self._is_stopping)
        except ParserDied:
            with self._changed:
                self._deaths += 1
            raise
        finally:
            self._give_back(process)

    def warm(self) -> None:
        """Have a process ready for the next file. Raises what ``parse`` would."""
        self._give_back(self._take())

    def close(self) -> None:
        """Kill every process, also those that work for a thread right now."""
        with self._changed:
            self._closed = True
            doomed = [process for _, process in self._idle]
            self._idle.clear()
            for process in self._busy:
                process.kill()
            self._changed.notify_all()
            started = self._reaper.ident is not None
        for process in doomed:
            process.end()
            self._release_slot()
        if started:
            self._reaper.join()
        with self._changed:
            # The threads that wait for an answer see the end of it and reap.
            self._changed.wait_for(self._all_ended, _CLOSE_SECONDS)

    def _is_stopping(self) -> bool:
        return self._closed or self._stop.is_set()

    def _all_ended(self) -> bool:
        return self._free == self._processes

    def _take(self) -> ParserProcess:
        with self._changed:
            while True:
                if self._is_stopping():
                    raise Stopping("The parsers are stopping.")
                if process := self._pop_idle():
                    self._busy.add(process)
                    return process
                if self._free:
                    self._free -= 1
                    break
                self._changed.wait(_LOOK_AT_STOP_SECONDS)
                heartbeats.beat()
        return self._start()

    def _pop_idle(self) -> ParserProcess | None:
        while self._idle:
            process = self._idle.pop()[1]
            if not process.has_hung_up():
                return process
            # Killed while idle, by the kernel or a person: not the next file's fault.
            process.end()
            self._free += 1
        return None

    def _start(self) -> ParserProcess:
        try:
            process = ParserProcess(*self._limits)
        except BaseException:
            self._release_slot()
            raise
        with self._changed:
            self._busy.add(process)
            self._starts += 1
        try:
            self._isolation = process.greet(self._is_stopping)
        except BaseException:
            self._give_back(process)
            raise
        return process

    def _give_back(self, process: ParserProcess) -> None:
        with self._changed:
            self._busy.discard(process)
            keep = (
                process.alive
                and process.files < _FILES_PER_PROCESS
                and process.limits == self._limits
                and not self._is_stopping()
            )
            if keep:
                self._idle.append((time.monotonic(), process))
                if self._reaper.ident is None:
                    self._reaper.start()
                self._changed.notify_all()
        if not keep:
            process.end()
            self._release_slot()

    def _release_slot(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def _end_idle(self) -> None:
        while doomed := self._wait_for_idle():
            doomed.end()
            self._release_slot()

    def _wait_for_idle(self) -> ParserProcess | None:
        """Return the process that has been idle for long; None once closed."""
        with self._changed:
            while not self._closed:
                if not self._idle:
                    self._changed.wait()
                    continue
                since, process = self._idle[0]
                left = since + self._idle_seconds - time.monotonic()
                if left <= 0:
                    del self._idle[0]
                    return process
                self._changed.wait(left)
        return None
