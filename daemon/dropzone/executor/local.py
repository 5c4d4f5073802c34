"""Runs the index step on this machine: parser processes, and one grouping committer."""

import math
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from dropzone import heartbeats, log, threads
from dropzone.errors import ConfigurationError, Stopping
from dropzone.executor.requests import Requests
from dropzone.gate import Gate
from dropzone.heartbeats import Heartbeats
from dropzone.models import DocumentWrite, IndexOutcome, IndexRequest

# What one transaction may hold: documents, and chunks of all of them.
_DOCUMENTS = 64
_CHUNKS = 4000


class IndexStep(Protocol):
    """What is run: look up what is known, read one file, commit several."""

    def warm(self) -> object: ...
    def known(self, requests: Sequence[IndexRequest]) -> dict[str, DocumentWrite]: ...
    def prepare(self, request: IndexRequest) -> DocumentWrite: ...
    def commit(self, writes: Sequence[DocumentWrite]) -> list[IndexOutcome]: ...


class LocalExecutor:
    """Takes requests, delivers outcomes; ``deliver`` is called from its threads."""

    def __init__(
        self,
        indexer: IndexStep,
        requests: Requests,
        gate: Gate,
        deliver: Callable[[Sequence[IndexOutcome]], None],
        *,
        workers: int,
        stop: threading.Event,
        broken: Callable[[BaseException], None],
        hearts: Heartbeats | None = None,
    ) -> None:
        self._indexer = indexer
        self._hearts = hearts or Heartbeats()
        self._gate = gate
        self._deliver = deliver
        self._stop = stop
        self._broken = broken
        self._requests = requests
        self._writes: queue.SimpleQueue[DocumentWrite | None] = queue.SimpleQueue()
        self._log = log.get("executor")
        self._threads = [
            threading.Thread(
                target=self._guard, args=(work,), name=f"index-{name}", daemon=True
            )
            for name, work in [
                ("commit", self._commit),
                *((f"parse-{number}", self._parse) for number in range(workers)),
            ]
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, requests: Sequence[IndexRequest]) -> None:
        """Queue requests; each comes back by ``deliver`` once, unless the daemon stops.

        Raises:
            Stopping: the daemon stops while Postgres is at fault.

        """
        known = self._gate.call(lambda: self._indexer.known(requests))
        for write in known.values():
            self._writes.put(write)
        self._requests.put(r for r in requests if r.job_id not in known)

    def join(self, seconds: float) -> bool:
        """Wait for the threads to end; the stop event must be set."""
        self._writes.put(None)
        self._requests.wake()
        ended = threads.end(self._threads, seconds)
        self._requests.close()
        return ended

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            with self._hearts.loop(threading.current_thread().name):
                work()
        except Stopping:
            return
        except ConfigurationError as error:
            # A schema of a newer version, for example: the daemon tells it, and ends.
            self._broken(error)
        except Exception as error:  # noqa: BLE001 told to the daemon, which ends
            self._log.exception("index step failed")
            self._broken(error)

    def _parse(self) -> None:
        while (request := self._requests.take(self._indexer.warm)) is not None:
            self._prepare(request)

    def _prepare(self, request: IndexRequest) -> None:
        try:
            self._gate.admit()
            with log.bound(job=request.job_id):
                write = self._gate.call(lambda: self._indexer.prepare(request))
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 the job's own error: others go on
            self._finish([IndexOutcome(request.job_id, error=error)])
        else:
            self._writes.put(write)

    def _commit(self) -> None:
        while (first := self._next_write()) is not None and not self._stop.is_set():
            group = self._grouped(first)
            outcomes = self._gate.call(lambda group=group: self._indexer.commit(group))  # type: ignore[misc]
            self._finish(outcomes)

    def _next_write(self) -> DocumentWrite | None:
        # Who waits for work does not hang, however long there is none.
        with heartbeats.within(math.inf):
            return self._writes.get()

    def _finish(self, outcomes: Sequence[IndexOutcome]) -> None:
        self._deliver(outcomes)
        self._requests.done({outcome.job_id for outcome in outcomes})

    def _grouped(self, first: DocumentWrite) -> list[DocumentWrite]:
        group, chunks = [first], len(first.chunks)
        while len(group) < _DOCUMENTS and chunks < _CHUNKS:
            try:
                write = self._writes.get_nowait()
            except queue.Empty:
                break
            if write is None:
                self._writes.put(None)
                break
            group.append(write)
            chunks += len(write.chunks)
        return group
