"""The files that wait for a parser, and the note of those that may be in one.

A file that kills its parser pays with an attempt. One that kills the daemon leaves
nobody to count, so what may be in a parser is noted durably before it is. After such a
death everything noted is suspect and runs alone; see ``dropzone.suspects``.
"""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from dropzone import heartbeats
from dropzone.errors import DropzoneError
from dropzone.executor.turns import Turns
from dropzone.gate import Gate
from dropzone.models import IndexRequest

# One durable note for so many files keeps it cheap; as few as are soon read again
# alone, should the daemon die.
_NOTED_TOGETHER = 64
_NOTED_BYTES = 8 << 20
_LOOK_AT_STOP_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Note:
    """The jobs that may be in a parser; ``alone`` is one that is there by itself."""

    alone: str | None = None
    together: tuple[str, ...] = ()

    def dump(self) -> str:
        return json.dumps({"alone": self.alone, "together": self.together})

    @classmethod
    def load(cls, text: str | None) -> Self:
        if text is None:
            return cls()
        told = json.loads(text)
        return cls(told["alone"], tuple(told["together"]))


class Requests:
    """Hands out one request after the other, to several threads."""

    def __init__(
        self,
        turns: Turns,
        gate: Gate,
        write: Callable[[Note], None],
        suspects: Mapping[str, int],
        stop: threading.Event,
    ) -> None:
        """``write`` makes a note durable; ``suspects`` maps jobs to their attempts."""
        self._turns = turns
        self._gate = gate
        self._write = write
        self._stop = stop
        self._suspects = dict(suspects)
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._waiting: deque[IndexRequest] = deque()
        self._waiting_alone: list[IndexRequest] = []
        #: Noted, and free for any thread to begin.
        self._noted: deque[IndexRequest] = deque()
        self._noting: list[IndexRequest] = []
        self._inside: set[str] = set()
        self._alone: str | None = None
        self._ever_noted = False

    def put(self, requests: Iterable[IndexRequest]) -> None:
        with self._changed:
            for request in requests:
                if request.job_id in self._suspects:
                    self._waiting_alone.append(request)
                else:
                    self._waiting.append(request)
            self._changed.notify_all()

    def take(self, warm: Callable[[], object]) -> IndexRequest | None:
        """Return what to read next, or None when the daemon stops.

        Each needs a ``done`` later. ``warm`` makes a parser ready, so that a suspect
        is noted as alone for the time of its reading only.

        Raises:
            Stopping: the daemon stops while the journal cannot be written.

        """
        while not self._stop.is_set():
            heartbeats.beat()
            if (suspect := self._next_suspect()) is not None:
                return self._begin_alone(suspect, warm)
            request, notes = self._next_noted()
            if request is not None:
                self._turns.enter(alone=False)
                return request
            if notes:
                self._note_batch()
        return None

    def done(self, job_ids: Collection[str]) -> None:
        """Count these as out of the parser, their outcome being in the journal."""
        with self._changed:
            out = self._inside.intersection(job_ids)
            self._inside -= out
            was_alone = self._alone in out
            if was_alone:
                self._suspects.pop(str(self._alone))
                self._alone = None
        if was_alone:
            self._note()
        for _ in out:
            self._turns.leave()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Take the note back: a daemon that stops in order blames nobody."""
        if self._ever_noted:
            # With a failing disk the note stays, and costs somebody one attempt.
            with contextlib.suppress(DropzoneError):
                self._write(Note(together=tuple(self._suspects)))

    def _next_suspect(self) -> IndexRequest | None:
        with self._changed:
            if not self._waiting_alone:
                return None
            # Who was blamed before goes last: the others are out of its reach then.
            first = min(self._waiting_alone, key=lambda r: self._suspects[r.job_id])
            self._waiting_alone.remove(first)
            return first

    def _begin_alone(
        self, request: IndexRequest, warm: Callable[[], object]
    ) -> IndexRequest:
        self._turns.enter(alone=True)
        self._gate.call(warm)
        with self._changed:
            self._inside.add(request.job_id)
            self._alone = request.job_id
        self._note()
        return request

    def _next_noted(self) -> tuple[IndexRequest | None, bool]:
        """Return a noted request, or whether the caller has to note the next ones."""
        with self._changed:
            if self._noted:
                request = self._noted.popleft()
                self._inside.add(request.job_id)
                return request, False
            if self._waiting and not self._noting:
                self._noting = self._batch()
                return None, True
            self._changed.wait(_LOOK_AT_STOP_SECONDS)
        return None, False

    def _batch(self) -> list[IndexRequest]:
        batch = [self._waiting.popleft()]
        size = batch[0].size
        while self._waiting and len(batch) < _NOTED_TOGETHER:
            size += self._waiting[0].size
            if size > _NOTED_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _note_batch(self) -> None:
        self._note()
        with self._changed:
            self._noted.extend(self._noting)
            self._noting = []
            self._changed.notify_all()

    def _note(self) -> None:
        # One at a time, or an older note could come after a newer one.
        with self._writing:
            with self._changed:
                coming = [r.job_id for r in (*self._noted, *self._noting)]
                all_ = {*self._inside, *coming, *self._suspects}
                note = Note(self._alone, tuple(sorted(all_)))
                self._ever_noted = True
            self._gate.call(lambda: self._write(note))
