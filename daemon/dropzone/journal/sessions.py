"""Session records for threads: durable when a call returns, shared by processes."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from dropzone.errors import DropzoneError
from dropzone.journal.session import (
    Event,
    Metric,
    Session,
    SessionStats,
    SessionStatus,
    positive,
)
from dropzone.journal.session_asks import Changer, Peek, Read, Step, Steps, key
from dropzone.journal.session_cleaner import Cleaner
from dropzone.journal.session_file import SessionFile
from dropzone.journal.session_locks import Locks
from dropzone.journal.session_steps import SessionSteps
from dropzone.journal.session_works import Work

_BATCH = 500

T = TypeVar("T")


class Sessions:
    """The session records of one file; safe to share between threads.

    Any number of processes may have the same file open. ``session`` is an id or a
    record; a record that ``create`` or ``lease`` returned carries its token. Where a
    session is leased, ``check`` and all that changes it ask for the token, and each
    refusal is counted and recorded as an event ``security``.

    Every operation may raise, besides what it names:
        SessionFileError: the file is damaged, or closed.
        ServiceUnavailable: the disk does not take it (``disk``): try later.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        max_sessions: int | None = None,
        ttl: float | None = None,
        max_failures: int = 5,
        cached: int = 100_000,
    ) -> None:
        """Open the file, making it where it is not there.

        ``max_sessions`` may be active at once, None for any number. ``ttl`` is how
        many seconds a session lives after its last activity where ``create`` says
        nothing else, None for ever. That many ``max_failures`` lock a session out.
        Up to ``cached`` active records, under 1 KB each, are kept in memory.
        """
        self._steps = SessionSteps(
            max_sessions=max_sessions, ttl=ttl, max_failures=max_failures
        )
        self._file = SessionFile(Path(path), cached=cached)
        self._locks = Locks(threading.Lock)
        self._cleaner: Cleaner | None = None

    def close(self) -> None:
        """Commit what is under way, end the threads, close the file. Idempotent."""
        self.stop_cleaning()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def create(
        self,
        owner: str,
        *,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: float | None = None,
        lease: str | None = None,
    ) -> Session:
        """Return a new active session of that owner.

        ``ttl`` in seconds overrides the default, ``math.inf`` for ever. ``lease`` is
        who holds it from the start: the record then carries the token.

        Raises:
            SessionLimit: ``max_sessions`` are active, none of them overdue.
            SessionDataError: data or metadata are not JSON, the owner is not text.

        """
        return self._do(self._steps.create(owner, data, metadata, ttl, lease))

    def get(self, session_id: str) -> Session | None:
        """Return the record, None if there is none of this id.

        An active one whose time to live is over is ended first, and comes back with
        the status ``timeout``. Asks for no token: who can open the file can read it.
        """
        return self._do(self._steps.get(session_id))

    def check(self, session: str | Session, *, token: str | None = None) -> Session:
        """Return the record, if it is active and the token is right.

        Raises:
            SessionUnknown: there is none of this id.
            SessionEnded: it has ended, or its time to live is over.
            SessionSecurityError: it is leased, and the token is wrong or missing.
            SessionLocked: it is locked out.
            SessionLeaseLost: a token was shown, but nobody holds a lease.

        """
        return self._do(self._steps.check(key(session, token)))

    def touch(self, session: str | Session, *, token: str | None = None) -> None:
        """Note activity now: ``last_activity``, ``interaction_count``, ``expires_at``.

        Raises as ``check``.
        """
        self._do(self._steps.touch(key(session, token)))

    def update(
        self,
        session: str | Session,
        change: Changer,
        *,
        expected_version: int | None = None,
        metadata: dict[str, Any] | None = None,
        token: str | None = None,
    ) -> Session:
        """Change the data and return the record; nobody's change is lost.

        ``change`` is given the data and changes it in place, or returns the new data.
        It is called again when another process was faster, so it must do nothing
        else. Updates of one record wait for each other, those of others do not.
        ``metadata`` replaces the metadata. Raises as ``check``, and:

        Raises:
            SessionConcurrencyError: the record is not at ``expected_version``.
            SessionDataError: the new data is not JSON.

        """
        known = key(session, token)
        steps = self._steps.update(known, change, expected_version, metadata)
        lock = self._locks.want(known.id)
        try:
            with lock:
                return self._do(steps)
        finally:
            self._locks.leave(known.id)

    def end(
        self,
        session: str | Session,
        reason: str = "",
        *,
        error: bool = False,
        token: str | None = None,
    ) -> Session:
        """End the session, with status ``ended`` or ``error``. Raises as ``check``."""
        status = SessionStatus.ERROR if error else SessionStatus.ENDED
        return self._do(self._steps.end(key(session, token), reason, status))

    def active(
        self, owner: str | None = None, *, page: int = 1000
    ) -> Iterator[Session]:
        """Iterate over the active sessions, of all owners or of one, by owner and age.

        Reads ``page`` records at a time, so sessions may come and go meanwhile. One
        whose time to live is over is left out.
        """
        last: Session | None = None
        while True:
            found = self._do(self._steps.active(owner, last, page))
            now = self._steps.now()
            yield from (record for record in found if not record.expired(now))
            if len(found) < page:
                return
            last = found[-1]

    def lease(
        self,
        session: str | Session,
        owner: str,
        *,
        seconds: float | None = None,
        token: str | None = None,
    ) -> Session:
        """Take the lease, or with its token renew it; the record carries a new token.

        A lease that ran out after ``seconds`` stays good until somebody else takes
        it; None is for ever. Raises as ``check``, and:

        Raises:
            SessionLeased: somebody else holds it.

        """
        return self._do(self._steps.lease(key(session, token), owner, seconds))

    def release(self, session: str | Session, *, token: str | None = None) -> Session:
        """Give the lease back: no token is asked for then. Raises as ``check``."""
        return self._do(self._steps.release(key(session, token)))

    def unlock(self, session: str | Session) -> Session:
        """Let a locked session be used again, and forget its failures.

        Raises:
            SessionUnknown: there is none of this id.
            SessionEnded: it has ended.

        """
        return self._do(self._steps.unlock(key(session, None)))

    def record(
        self,
        session: str | Session,
        kind: str,
        data: Any = None,
        *,
        token: str | None = None,
    ) -> None:
        """Record an event, which counts as activity.

        Raises as ``check``, and:

        Raises:
            SessionDataError: the data is not JSON.

        """
        self._do(self._steps.record(key(session, token), kind, data))

    def events(self, session: str | Session, *, page: int = 1000) -> Iterator[Event]:
        """Iterate over the session's events, oldest first, ``page`` at a time."""
        session_id, last = key(session, None).id, 0
        while True:
            found = self._do(self._steps.events(session_id, last, page))
            yield from found
            if len(found) < page:
                return
            last = found[-1].seq

    def measure(
        self,
        session: str | Session,
        name: str,
        value: float,
        *,
        token: str | None = None,
    ) -> None:
        """Add a value to the session's metric, which counts as activity.

        Raises as ``check``, and:

        Raises:
            SessionDataError: the value is not a finite number.

        """
        self._do(self._steps.measure(key(session, token), name, value))

    def metrics(self, session: str | Session) -> dict[str, Metric]:
        """Return what was measured in the session, by name."""
        return self._do(self._steps.metrics(key(session, None).id))

    def stats(self) -> SessionStats:
        """Return how many records there are; takes as long for one as for a million."""
        return self._do(self._steps.stats(len(self._file.cache)))

    def cleanup(self, idle: float | None = None, *, batch: int = _BATCH) -> int:
        """End the sessions whose time to live is over; return how many.

        With ``idle`` also those without activity for that many seconds. Each batch is
        a commit of its own, between which others get their turn.

        Raises:
            SessionCleanupError: a batch failed; those before it are durable.

        """
        return self._do(self._steps.cleanup(idle, batch))

    def forget(self, ended_for: float, *, batch: int = _BATCH) -> int:
        """Delete the records that ended that many seconds ago; return how many.

        Their events and metrics go with them. Nothing else ever deletes a record.
        """
        return self._do(self._steps.forget(ended_for, batch))

    def start_cleaning(self, every: float = 60.0, *, idle: float | None = None) -> None:
        """Call ``cleanup(idle)`` every so many seconds, in a thread of its own.

        A clean-up that failed is logged, and tried again at the next turn. Whoever
        calls this again changes both numbers.
        """
        positive(every, "every")
        self.stop_cleaning()
        self._cleaner = Cleaner(
            lambda stop: self._do(self._steps.cleanup(idle, _BATCH, stop)), every
        )

    def stop_cleaning(self) -> None:
        """End that thread, after the batch under way. Idempotent."""
        if self._cleaner is not None:
            self._cleaner.stop()
            self._cleaner = None

    def _do(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._answer(step)
                except DropzoneError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _answer(self, step: Step) -> Any:
        if isinstance(step, Work):
            return self._file.writer.run(step)
        if isinstance(step, Peek):
            return self._file.cache.peek(step.key)
        if isinstance(step, Read):
            return self._file.get(step.key)
        return self._file.rows(step.name, step.values)
