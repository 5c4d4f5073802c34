"""What the operations on session records do, without waiting.

Each operation is a generator of steps: it yields a work to be committed, the id of a
record to be read, or the name and values of a query, and is sent the answer. So
threads and event loops share every decision made here.
"""

import hmac
import json
import math
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from dropzone.errors import DropzoneError
from dropzone.journal.session import (
    Event,
    Metric,
    Session,
    SessionStats,
    SessionStatus,
    object_json,
    plain,
    positive,
    to_json,
)
from dropzone.journal.session_asks import (
    Changer,
    Key,
    Peek,
    Query,
    Read,
    Steps,
    digest_of,
    key,
    unknown,
)
from dropzone.journal.session_errors import (
    SessionCleanupError,
    SessionConcurrencyError,
    SessionDataError,
    SessionEnded,
    SessionLeased,
    SessionLeaseLost,
    SessionLimit,
    SessionLocked,
    SessionSecurityError,
    SessionUnknown,
)
from dropzone.journal.session_works import (
    Add,
    Change,
    Clean,
    Forget,
    Refuse,
    Rewrite,
    Touch,
)
from dropzone.models import JobIds

# How often an update is begun anew because another process was faster.
_ATTEMPTS = 100
_ROOM = 1000


class SessionSteps:
    """The operations under one set of limits; see ``Sessions`` for what they mean."""

    def __init__(
        self, *, max_sessions: int | None, ttl: float | None, max_failures: int
    ) -> None:
        positive(max_failures, "max_failures")
        positive(1 if max_sessions is None else max_sessions, "max_sessions")
        self._limit = max_sessions
        self._ttl = _lifetime(ttl)
        self._failures = max_failures
        self._ids = JobIds()
        self.now: Callable[[], float] = time.time

    def create(
        self,
        owner: str,
        data: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        ttl: float | None,
        lease: str | None,
    ) -> Steps[Session]:
        ttl = _lifetime(self._ttl if ttl is None else ttl)
        token = secrets.token_urlsafe(24) if lease is not None else None
        now = self.now()
        record = Session(
            self._ids.next(), plain(owner, "owner"), SessionStatus.ACTIVE, now,
            None, None, now, object_json(data, "data"),
            object_json(metadata, "metadata"), 0, 1, ttl,
            None if ttl is None else now + ttl,
            None if lease is None else plain(lease, "owner of the lease"), None,
            digest_of(token), 0, False,
        )  # fmt: skip
        if not (yield Add(record, self._limit)):
            # Those whose time is over make room.
            ended, _ = yield Clean(now, None, _ROOM)
            if not ended or not (yield Add(record, self._limit)):
                raise SessionLimit(
                    f"{self._limit} sessions are active, which is the limit.",
                    hint="End some, clean up the inactive ones, or raise max_sessions.",
                )
        return record.carrying(token)

    def get(self, session: str) -> Steps[Session | None]:
        try:
            known = key(session, None)
        except SessionUnknown:
            return None
        return (yield from self._current(known.id))

    def check(self, known: Key) -> Steps[Session]:
        record = yield from self._current(known.id)
        if record is None:
            raise unknown(known.id)
        if record.status != SessionStatus.ACTIVE:
            reason = record.end_reason or ""
            raise SessionEnded(
                f"Session {record.id} is not active: {record.status}"
                + (f" ({reason})." if reason else "."),
                status=record.status,
                reason=reason,
            )
        if record.locked:
            raise _locked(record.id, record.failures)
        held, shown = record.lease_digest, known.digest
        if held is None and shown is not None:
            raise SessionLeaseLost(
                f"Nobody holds the lease of session {record.id}.",
                hint="Take a new lease; somebody else may have worked meanwhile.",
            )
        if held is not None and not hmac.compare_digest(held, shown or b""):
            yield from self._refuse(record.id, shown)
            # It was ended or locked in the last moment.
            return (yield from self.check(known))
        return record.carrying(known.token)

    def touch(
        self, known: Key, then: tuple[str, tuple[Any, ...]] | None = None
    ) -> Steps[None]:
        for _ in range(_ATTEMPTS):
            if (yield Touch(known.id, known.digest, self.now(), then)) is not None:
                return
            # It was refused: this says why, unless that has passed already.
            yield from self.check(known)
        raise _too_fast(known.id)

    def update(
        self,
        known: Key,
        change: Changer,
        expected: int | None,
        metadata: dict[str, Any] | None,
    ) -> Steps[Session]:
        new_metadata = None if metadata is None else object_json(metadata, "metadata")
        # What memory has may be old: then the commit finds that out.
        record = yield Peek(known.id)
        if record is None or not _plausible(record, known, expected, self.now()):
            record = yield from self._expected(known, expected)
        for _ in range(_ATTEMPTS):
            data = record.data
            changed = change(data)
            text = object_json(data if changed is None else changed, "data")
            done = yield Change(record.changed(text, new_metadata, self.now()))
            if done is not None:
                return done.carrying(known.token)  # type: ignore[no-any-return]
            record = yield from self._expected(known, expected)
        raise _too_fast(known.id)

    def end(self, known: Key, reason: str, status: SessionStatus) -> Steps[Session]:
        reason = plain(reason, "reason") if reason else ""
        return (yield from self._rewrite("end", known, status=status, reason=reason))

    def lease(self, known: Key, owner: str, seconds: float | None) -> Steps[Session]:
        token = secrets.token_urlsafe(24)
        values = {
            "owner": plain(owner, "owner of the lease"),
            "new_digest": digest_of(token),
        }
        seconds = _lifetime(seconds)
        for _ in range(_ATTEMPTS):
            now = self.now()
            until = None if seconds is None else now + seconds
            done = yield Rewrite(
                "lease",
                id=known.id,
                digest=known.digest,
                now=now,
                until=until,
                **values,
            )
            if done is not None:
                return done.carrying(token)  # type: ignore[no-any-return]
            record = yield from self._current(known.id)
            if known.digest is None and record and _held(record, now):
                raise SessionLeased(
                    f"Session {record.id} is leased by {record.lease_owner}.",
                    owner=record.lease_owner or "",
                    until=record.lease_until,
                )
            yield from self.check(known)
        raise _too_fast(known.id)

    def release(self, known: Key) -> Steps[Session]:
        return (yield from self._rewrite("release", known))

    def unlock(self, known: Key) -> Steps[Session]:
        done = yield Rewrite("unlock", id=known.id)
        if done is None:
            yield from self.check(Key(known.id, None))
        return done  # type: ignore[no-any-return]

    def record(self, known: Key, kind: str, data: Any) -> Steps[None]:
        row = (known.id, self.now(), plain(kind, "kind"), to_json(data, "event"))
        yield from self.touch(known, ("record", row))

    def measure(self, known: Key, name: str, value: float) -> Steps[None]:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise SessionDataError(f"The value of {name} is not a finite number.")
        row = (known.id, plain(name, "name"), number)
        yield from self.touch(known, ("measure", row))

    def cleanup(
        self, idle: float | None, batch: int, stop: threading.Event | None = None
    ) -> Steps[int]:
        positive(batch, "batch")
        now = self.now()
        before = None if idle is None else now - idle
        ended = 0
        try:
            while stop is None or not stop.is_set():
                ids, looked_at = yield Clean(now, before, batch)
                ended += len(ids)
                if not looked_at:
                    break
        except DropzoneError as error:
            raise SessionCleanupError(
                f"The clean-up stopped after {ended} sessions: {error.message}",
                ended=ended,
                hint=error.hint,
            ) from error
        return ended

    def forget(self, ended_for: float, batch: int) -> Steps[int]:
        positive(batch, "batch")
        before = self.now() - ended_for
        forgotten = 0
        while some := (yield Forget(before, batch)):
            forgotten += some
        return forgotten

    def active(
        self, owner: str | None, last: Session | None, limit: int
    ) -> Steps[list[Session]]:
        positive(limit, "page")
        after = "" if last is None else last.id
        values = {"owner": owner or (last.owner if last else ""), "after": after}
        name = "active" if owner is None else "active_of_owner"
        rows = yield Query(name, {**values, "limit": limit})
        return [Session.of(row) for row in rows]

    def events(self, session: str, after: int, limit: int) -> Steps[list[Event]]:
        positive(limit, "page")
        values = {"id": session, "after": after, "limit": limit}
        rows = yield Query("events", values)
        return [
            Event(seq, id_, at, kind, json.loads(data))
            for seq, id_, at, kind, data in rows
        ]

    def metrics(self, session: str) -> Steps[dict[str, Metric]]:
        rows = yield Query("metrics", (session,))
        return {row[0]: Metric(*row) for row in rows}

    def stats(self, cached: int) -> Steps[SessionStats]:
        counts = dict((yield Query("tally")))
        ((locked,),) = yield Query("locked")
        return SessionStats(**counts, locked=locked, cached=cached)

    def _current(self, session: str) -> Steps[Session | None]:
        while True:
            record = yield Read(session)
            now = self.now()
            if record is None or not record.expired(now):
                return record  # type: ignore[no-any-return]
            ended = yield Rewrite("expire", id=session, now=now)
            if ended is not None:
                return ended  # type: ignore[no-any-return]
            # Somebody was active in the last moment, or noted the end first.

    def _expected(self, known: Key, expected: int | None) -> Steps[Session]:
        record = yield from self.check(known)
        if expected not in (None, record.version):
            raise SessionConcurrencyError(
                f"Session {record.id} is at version {record.version}, not {expected}.",
                hint="Read it again, and decide again.",
            )
        return record

    def _rewrite(self, name: str, known: Key, **values: Any) -> Steps[Session]:
        for _ in range(_ATTEMPTS):
            done = yield Rewrite(
                name, id=known.id, digest=known.digest, now=self.now(), **values
            )
            if done is not None:
                return done  # type: ignore[no-any-return]
            yield from self.check(known)
        raise _too_fast(known.id)

    def _refuse(self, session: str, shown: bytes | None) -> Steps[None]:
        row = yield Refuse(session, self._failures, self.now())
        what = "No token was" if shown is None else "A wrong token was"
        if row is None:
            return
        if row[1]:
            raise _locked(session, row[0])
        raise SessionSecurityError(
            f"{what} shown for session {session}, which is leased.",
            failures=row[0],
            hint="Show the token that create or lease returned; "
            f"{self._failures - row[0]} more failures lock the session.",
        )


def _plausible(record: Session, known: Key, expected: int | None, now: float) -> bool:
    """Whether ``check`` would let this pass, and the version is the expected one."""
    held = record.lease_digest
    right = known.digest is None if held is None else (
        known.digest is not None and hmac.compare_digest(held, known.digest)
    )  # fmt: skip
    return (
        right
        and not record.locked
        and not record.expired(now)
        and expected in (None, record.version)
    )


def _held(record: Session, now: float) -> bool:
    until = record.lease_until
    return record.active and not record.locked and record.lease_digest is not None and (
        until is None or until > now
    )  # fmt: skip


def _lifetime(seconds: float | None) -> float | None:
    if seconds is None or seconds == math.inf:
        return None
    if not seconds > 0:
        raise SessionDataError("A time to live must be more than 0 seconds.")
    return float(seconds)


def _locked(session: str, failures: int) -> SessionLocked:
    return SessionLocked(
        f"Session {session} is locked after {failures} failures.",
        failures=failures,
        hint="See its events, then unlock it.",
    )


def _too_fast(session: str) -> SessionConcurrencyError:
    return SessionConcurrencyError(
        f"Others changed session {session} {_ATTEMPTS} times meanwhile.",
        hint="Try again later.",
    )
