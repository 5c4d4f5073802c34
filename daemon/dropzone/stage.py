"""A step's threads and the queue before them."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from dropzone import heartbeats, log, threads
from dropzone.errors import ConfigurationError, Stopping
from dropzone.heartbeats import Heartbeats
from dropzone.journal import Journal
from dropzone.models import Job, Status


class Inbox:
    """Jobs that wait for a step. What does not fit stays in the journal until it does.

    A job counts as active from ``put`` to ``release``, so that it is neither queued
    twice nor read back from the journal while somebody works on it.
    """

    def __init__(
        self,
        journal: Journal,
        status: Status,
        capacity: int,
        *,
        large_bytes: float = float("inf"),
    ) -> None:
        """Files of ``large_bytes`` or more are handed out singly, and few at once."""
        self._large_bytes = large_bytes
        #: How many large files may be worked on, so that small ones find a thread.
        self.large_at_once = 1
        self._large: deque[Job] = deque()
        self._large_out: set[str] = set()
        self._journal = journal
        self._status = status
        self._capacity = capacity
        self._queue: deque[Job] = deque()
        self._active: set[str] = set()
        #: Jobs released while the journal is being read: what is read of them is old.
        self._released: set[str] = set()
        self._overflowed = False
        self._changed = threading.Condition()
        self._refilling = threading.Lock()

    def put(self, jobs: Iterable[Job]) -> None:
        with self._changed:
            self._put(jobs)

    def _put(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.id in self._active:
                continue
            if len(self._active) >= self._capacity:
                self._overflowed = True
                continue
            self._active.add(job.id)
            is_large = job.size >= self._large_bytes
            (self._large if is_large else self._queue).append(job)
        self._changed.notify_all()

    def resize(self, capacity: int) -> None:
        """Hold so many jobs at most from now on; those that are here stay."""
        with self._changed:
            self._capacity = capacity
            self._changed.notify_all()

    def take(
        self,
        most: int,
        stop: threading.Event,
        *,
        wanted: Callable[[], bool] = lambda: True,
    ) -> list[Job]:
        """Return one job or more; none when the daemon stops or it is not wanted."""
        while not stop.is_set() and wanted():
            heartbeats.beat()
            with self._changed:
                jobs = self._pop(most)
                if not jobs and not self._can_refill:
                    self._changed.wait(1.0)
                    jobs = self._pop(most)
                if jobs:
                    return jobs
            self._refill()
        return []

    def _pop(self, most: int) -> list[Job]:
        if self._large and len(self._large_out) < self.large_at_once:
            job = self._large.popleft()
            self._large_out.add(job.id)
            return [job]
        return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]

    def release(self, jobs: Iterable[Job]) -> None:
        """Count these jobs as done here: they moved on, or wait in the journal."""
        with self._changed:
            ids = [job.id for job in jobs]
            self._active.difference_update(ids)
            if not self._large_out.isdisjoint(ids):
                self._large_out.difference_update(ids)
                self._changed.notify_all()
            if self._refilling.locked():
                self._released.update(ids)
            if self._can_refill:
                self._changed.notify_all()

    def wake(self) -> None:
        """Let waiting threads look at the stop event."""
        with self._changed:
            self._changed.notify_all()

    @property
    def busy(self) -> bool:
        return bool(self._active) or self._overflowed

    def __len__(self) -> int:
        return len(self._queue) + len(self._large)

    @property
    def _can_refill(self) -> bool:
        # With room for some: reading the journal for each single one would be slow.
        return self._overflowed and len(self._active) <= self._capacity // 2

    def _refill(self) -> None:
        with self._refilling:
            with self._changed:
                if self._queue or not self._can_refill:
                    return
                self._overflowed = False
                self._released.clear()
                limit = len(self._active) + self._capacity
            jobs = self._journal.with_status(self._status, limit)
            with self._changed:
                self._put(job for job in jobs if job.id not in self._released)
                if len(jobs) == limit:
                    self._overflowed = True


class Stage:
    """Threads that take jobs from an inbox and work on them until the stop event."""

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        work: Callable[[list[Job]], None],
        stop: threading.Event,
        *,
        workers: int = 1,
        most: int = 64,
        hearts: Heartbeats | None = None,
    ) -> None:
        self.name = name
        self._hearts = hearts or Heartbeats()
        self._inbox = inbox
        self._work = work
        self._stop = stop
        self._most = most
        self._log = log.get(name)
        self._workers = workers
        self._sizing = threading.Lock()
        self._threads = [self._thread(number) for number in range(workers)]
        #: Set when a thread met an error that nobody foresaw; the daemon ends on it.
        self.broken: Future[None] = Future()

    def start(self) -> None:
        with self._sizing:
            for thread in self._threads:
                thread.start()

    def resize(self, workers: int) -> None:
        """Work with so many threads from now on; one too many ends after its work."""
        with self._sizing:
            is_running = any(thread.ident is not None for thread in self._threads)
            self._workers = workers
            for number in range(workers):
                if number == len(self._threads):
                    self._threads.append(self._thread(number))
                elif self._threads[number].is_alive() or not is_running:
                    continue
                else:
                    self._threads[number] = self._thread(number)
                if is_running:
                    self._threads[number].start()
        self._inbox.wake()

    def _thread(self, number: int) -> threading.Thread:
        name = f"{self.name}-{number}"
        return threading.Thread(
            target=self._run, args=(number,), name=name, daemon=True
        )

    def join(self, seconds: float) -> bool:
        """Wait for the threads; return False if one is still working."""
        self._inbox.wake()
        return threads.end(self._threads, seconds)

    def _run(self, number: int) -> None:
        with self._hearts.loop(threading.current_thread().name):
            self._loop(lambda: number < self._workers)

    def _loop(self, wanted: Callable[[], bool]) -> None:
        while wanted() and not self._stop.is_set():
            # Several threads share what waits; one alone takes it in groups.
            most = min(self._most, max(1, len(self._inbox) // self._workers))
            jobs = self._inbox.take(most, self._stop, wanted=wanted)
            if not jobs:
                continue
            try:
                self._work(jobs)
            except Stopping:
                return
            except Exception as error:  # noqa: BLE001 told to the daemon, which ends
                # A loop never dies quietly: bring the process down, restart recovers.
                # What is wrong with the surroundings for good, the daemon tells.
                if not isinstance(error, ConfigurationError):
                    self._log.exception("step failed", jobs=[job.id for job in jobs])
                if not self.broken.done():
                    self.broken.set_exception(error)
                return
