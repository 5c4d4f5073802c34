"""Session records for event loops: ``Sessions`` with awaited methods."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
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
from dropzone.journal.session_asks import Changer, Peek, Query, Read, Steps, key
from dropzone.journal.session_cleaner import failed
from dropzone.journal.session_errors import SessionCleanupError, SessionFileError
from dropzone.journal.session_file import SessionFile
from dropzone.journal.session_locks import Locks
from dropzone.journal.session_steps import SessionSteps
from dropzone.journal.session_works import Work

T = TypeVar("T")


class AsyncSessions:
    """As ``Sessions``, method by method, for one event loop.

    Nothing here waits on the loop's thread: commits are awaited, and all tasks that
    wait share them; what is not in memory is read by another thread. ``change`` runs
    on the loop's thread. Opened by ``async with``, or by ``await open()``.
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
        self._path = Path(path)
        self._cached = cached
        self._steps = SessionSteps(
            max_sessions=max_sessions, ttl=ttl, max_failures=max_failures
        )
        self._opened: SessionFile | None = None
        self._locks = Locks(asyncio.Lock)
        self._cleaner: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        make = functools.partial(SessionFile, self._path, cached=self._cached)
        self._opened = await asyncio.to_thread(make)
        return self

    async def close(self) -> None:
        await self.stop_cleaning()
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def create(
        self,
        owner: str,
        *,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: float | None = None,
        lease: str | None = None,
    ) -> Session:
        return await self._do(self._steps.create(owner, data, metadata, ttl, lease))

    async def get(self, session_id: str) -> Session | None:
        return await self._do(self._steps.get(session_id))

    async def check(
        self, session: str | Session, *, token: str | None = None
    ) -> Session:
        return await self._do(self._steps.check(key(session, token)))

    async def touch(self, session: str | Session, *, token: str | None = None) -> None:
        await self._do(self._steps.touch(key(session, token)))

    async def update(
        self,
        session: str | Session,
        change: Changer,
        *,
        expected_version: int | None = None,
        metadata: dict[str, Any] | None = None,
        token: str | None = None,
    ) -> Session:
        known = key(session, token)
        steps = self._steps.update(known, change, expected_version, metadata)
        lock = self._locks.want(known.id)
        try:
            async with lock:
                return await self._do(steps)
        finally:
            self._locks.leave(known.id)

    async def end(
        self,
        session: str | Session,
        reason: str = "",
        *,
        error: bool = False,
        token: str | None = None,
    ) -> Session:
        status = SessionStatus.ERROR if error else SessionStatus.ENDED
        return await self._do(self._steps.end(key(session, token), reason, status))

    async def active(
        self, owner: str | None = None, *, page: int = 1000
    ) -> AsyncIterator[Session]:
        last: Session | None = None
        while True:
            found = await self._do(self._steps.active(owner, last, page))
            now = self._steps.now()
            for record in found:
                if not record.expired(now):
                    yield record
            if len(found) < page:
                return
            last = found[-1]

    async def lease(
        self,
        session: str | Session,
        owner: str,
        *,
        seconds: float | None = None,
        token: str | None = None,
    ) -> Session:
        return await self._do(self._steps.lease(key(session, token), owner, seconds))

    async def release(
        self, session: str | Session, *, token: str | None = None
    ) -> Session:
        return await self._do(self._steps.release(key(session, token)))

    async def unlock(self, session: str | Session) -> Session:
        return await self._do(self._steps.unlock(key(session, None)))

    async def record(
        self,
        session: str | Session,
        kind: str,
        data: Any = None,
        *,
        token: str | None = None,
    ) -> None:
        await self._do(self._steps.record(key(session, token), kind, data))

    async def events(
        self, session: str | Session, *, page: int = 1000
    ) -> AsyncIterator[Event]:
        session_id, last = key(session, None).id, 0
        while True:
            found = await self._do(self._steps.events(session_id, last, page))
            for event in found:
                yield event
            if len(found) < page:
                return
            last = found[-1].seq

    async def measure(
        self,
        session: str | Session,
        name: str,
        value: float,
        *,
        token: str | None = None,
    ) -> None:
        await self._do(self._steps.measure(key(session, token), name, value))

    async def metrics(self, session: str | Session) -> dict[str, Metric]:
        return await self._do(self._steps.metrics(key(session, None).id))

    async def stats(self) -> SessionStats:
        return await self._do(self._steps.stats(len(self._file.cache)))

    async def cleanup(self, idle: float | None = None, *, batch: int = 500) -> int:
        return await self._do(self._steps.cleanup(idle, batch))

    async def forget(self, ended_for: float, *, batch: int = 500) -> int:
        return await self._do(self._steps.forget(ended_for, batch))

    async def start_cleaning(
        self, every: float = 60.0, *, idle: float | None = None
    ) -> None:
        positive(every, "every")
        await self.stop_cleaning()
        self._cleaner = asyncio.create_task(self._clean(every, idle))

    async def stop_cleaning(self) -> None:
        if self._cleaner is not None:
            self._cleaner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._cleaner
            self._cleaner = None

    async def _clean(self, every: float, idle: float | None) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await self.cleanup(idle)
            except SessionCleanupError as error:
                failed(error)

    @property
    def _file(self) -> SessionFile:
        if self._opened is None:
            raise SessionFileError(
                "The session file is not open.", hint="Use: async with AsyncSessions(…)"
            )
        return self._opened

    async def _do(self, steps: Steps[T]) -> T:
        file = self._file
        try:
            step = next(steps)
            while True:
                # Not in a coroutine of its own: that is a tenth of an update's time.
                try:
                    if isinstance(step, Work):
                        answer: Any = asyncio.get_running_loop().create_future()
                        file.writer.submit(step, answer)
                        answer = await answer
                    elif isinstance(step, Peek):
                        answer = file.cache.peek(step.key)
                    else:
                        answer = await self._read(file, step)
                except DropzoneError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _read(self, file: SessionFile, step: Read | Query) -> Any:
        if isinstance(step, Query):
            return await asyncio.to_thread(file.rows, step.name, step.values)
        found = file.hit(step.key)
        return found or await asyncio.to_thread(file.get, step.key)
