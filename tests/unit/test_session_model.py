"""Session records against a model that knows no files, caches or processes.

Two openers of one file stand for two processes: each has its own writer and memory.
"""

import asyncio
import dataclasses
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from dropzone.journal import (
    AsyncSessions,
    SessionConcurrencyError,
    SessionEnded,
    SessionError,
    SessionLeased,
    SessionLeaseLost,
    SessionLimit,
    SessionLocked,
    Sessions,
    SessionSecurityError,
    SessionUnknown,
)

LIMIT, FAILURES, TTL = 6, 3, 100.0


class Awaited:
    """AsyncSessions with the methods of Sessions."""

    def __init__(self, path, **options):
        self._runner = asyncio.Runner()
        self._sessions = AsyncSessions(path, **options)
        self._runner.run(self._sessions.open())

    @property
    def _steps(self):
        return self._sessions._steps

    def close(self):
        self._runner.run(self._sessions.close())
        self._runner.close()

    def __getattr__(self, name):
        method = getattr(self._sessions, name)
        if name in {"active", "events"}:
            return lambda *a, **k: self._runner.run(_listed(method(*a, **k)))
        return lambda *a, **k: self._runner.run(method(*a, **k))


async def _listed(found):
    return [one async for one in found]


@dataclasses.dataclass
class Known:
    """What the model knows of one session."""

    owner: str
    last: float
    ttl: float | None
    data: dict
    holder: str | None = None
    token: str | None = None
    until: float | None = None
    status: str = "active"
    reason: str | None = None
    version: int = 1
    interactions: int = 0
    failures: int = 0
    locked: bool = False
    events: list = dataclasses.field(default_factory=list)

    def overdue(self, now):
        return self.status == "active" and self.ttl and self.last + self.ttl <= now

    def tick(self, now):
        if self.overdue(now):
            self.finish("timeout", "time to live")

    def finish(self, status, reason):
        self.status, self.reason = status, reason
        self.version += 1

    def fail(self):
        self.failures += 1
        self.events.append("security")
        if self.failures >= FAILURES:
            self.locked = True
            self.version += 1
            return SessionLocked
        return SessionSecurityError

    def refusal(self, token):
        """Return the error that this use meets, None if it may go on."""
        if self.status != "active":
            return SessionEnded
        if self.locked:
            return SessionLocked
        if self.token is None:
            return SessionLeaseLost if token else None
        return None if token == self.token else self.fail()

    def active(self, now):
        self.last = now
        self.interactions += 1


class Machine(RuleBasedStateMachine):
    ids = Bundle("ids")
    openers = st.integers(0, 1)
    tokens = st.sampled_from(["right", "right", "right", None, "wrong"])

    @initialize(kinds=st.sampled_from([(Sessions, Sessions), (Sessions, Awaited)]))
    def open(self, kinds):
        shared = Path("/dev/shm")  # noqa: S108 spares the disk thousands of commits
        self.folder = tempfile.mkdtemp(dir=shared if shared.is_dir() else None)
        self.now = 1_000_000.0
        self.model = {}
        self.dropped = 0
        options = {"max_sessions": LIMIT, "max_failures": FAILURES, "cached": 4}
        path = Path(self.folder) / "s.sqlite"
        self.sessions = [kind(path, **options) for kind in kinds]
        for one in self.sessions:
            one._steps.now = lambda: self.now

    def teardown(self):
        if hasattr(self, "sessions"):
            for one in self.sessions:
                one.close()
            shutil.rmtree(self.folder)

    def use(self, opener, session, token, act, effect):
        """Act on the sessions and on the model; both must come to the same."""
        known = self.model.get(session)
        shown = known.token if known and token == "right" else token
        shown = None if shown == "right" else shown
        if known is None:
            expected = SessionUnknown
        else:
            known.tick(self.now)
            expected = known.refusal(shown) or effect(known)
        if isinstance(expected, type) and issubclass(expected, SessionError):
            with pytest.raises(expected) as caught:
                act(self.sessions[opener], shown)
            assert caught.type is expected
        else:
            act(self.sessions[opener], shown)

    @rule(
        target=ids,
        opener=openers,
        owner=st.sampled_from("ab"),
        ttl=st.sampled_from([None, TTL]),
        holder=st.sampled_from([None, "h"]),
    )
    def create(self, opener, owner, ttl, holder):
        active = sum(known.status == "active" for known in self.model.values())
        if active >= LIMIT:
            for known in self.model.values():
                known.tick(self.now)
        active = sum(known.status == "active" for known in self.model.values())
        make = self.sessions[opener].create
        if active >= LIMIT:
            with pytest.raises(SessionLimit):
                make(owner, ttl=ttl, lease=holder)
            return "nobody"
        made = make(owner, data={"n": 0}, ttl=ttl, lease=holder)
        self.model[made.id] = Known(owner, self.now, ttl, {"n": 0}, holder, made.token)
        return made.id

    @rule(opener=openers, session=ids, token=tokens)
    def check(self, opener, session, token):
        self.use(
            opener, session, token, lambda s, t: s.check(session, token=t), lambda _: 0
        )

    @rule(opener=openers, session=ids, token=tokens)
    def touch(self, opener, session, token):
        self.use(
            opener,
            session,
            token,
            lambda s, t: s.touch(session, token=t),
            lambda known: known.active(self.now),
        )

    @rule(
        opener=openers, session=ids, token=tokens, older=st.none() | st.integers(0, 1)
    )
    def update(self, opener, session, token, older):
        known = self.model.get(session)
        expected = None if older is None or not known else known.version - older

        def effect(known):
            if expected not in (None, known.version):
                return SessionConcurrencyError
            known.active(self.now)
            known.version += 1
            known.data = {"n": known.data["n"] + 1}
            return None

        def change(data):
            data["n"] += 1

        self.use(
            opener,
            session,
            token,
            lambda s, t: s.update(session, change, expected_version=expected, token=t),
            effect,
        )

    @rule(opener=openers, session=ids, token=tokens, error=st.booleans())
    def end(self, opener, session, token, error):
        self.use(
            opener,
            session,
            token,
            lambda s, t: s.end(session, "why", error=error, token=t),
            lambda known: known.finish("error" if error else "ended", "why"),
        )

    @rule(opener=openers, session=ids, token=tokens)
    def record(self, opener, session, token):
        def effect(known):
            known.active(self.now)
            known.events.append("kind")

        self.use(
            opener,
            session,
            token,
            lambda s, t: s.record(session, "kind", [1], token=t),
            effect,
        )

    @rule(
        opener=openers,
        session=ids,
        token=tokens,
        seconds=st.sampled_from([None, 30.0]),
    )
    def lease(self, opener, session, token, seconds):
        known = self.model.get(session)
        shown = known.token if known and token == "right" else token
        shown = None if shown == "right" else shown
        if known is None:
            expected = SessionUnknown
        else:
            known.tick(self.now)
            expected = self.lease_refusal(known, shown)
        take = self.sessions[opener].lease
        if expected:
            with pytest.raises(expected) as caught:
                take(session, "h", seconds=seconds, token=shown)
            assert caught.type is expected
            return
        taken = take(session, "h", seconds=seconds, token=shown)
        known.holder, known.token = "h", taken.token
        known.until = None if seconds is None else self.now + seconds
        known.version += 1

    def lease_refusal(self, known, shown):
        over = known.until is not None and known.until <= self.now
        if known.status != "active":
            return SessionEnded
        if known.locked:
            return SessionLocked
        if known.token is None or known.token == shown or over:
            return None
        return known.refusal(shown) if shown else SessionLeased

    @rule(opener=openers, session=ids, token=tokens)
    def release(self, opener, session, token):
        def effect(known):
            known.holder = known.token = known.until = None
            known.version += 1

        self.use(
            opener, session, token, lambda s, t: s.release(session, token=t), effect
        )

    @rule(opener=openers, session=ids)
    def get(self, opener, session):
        known = self.model.get(session)
        found = self.sessions[opener].get(session)
        if known is None:
            assert found is None
            return
        known.tick(self.now)
        assert (found.status, found.version) == (known.status, known.version)

    @rule(opener=openers, session=ids)
    def unlock(self, opener, session):
        known = self.model.get(session)
        if known is None or known.status != "active":
            expected = SessionEnded if known else SessionUnknown
            with pytest.raises(expected):
                self.sessions[opener].unlock(session)
            return
        self.sessions[opener].unlock(session)
        known.failures, known.locked = 0, False
        known.version += 1

    @rule(seconds=st.sampled_from([1.0, 40.0, 99.0, 100.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(opener=openers, idle=st.sampled_from([None, 50.0]), batch=st.integers(1, 3))
    def cleanup(self, opener, idle, batch):
        ended = 0
        for known in self.model.values():
            before = known.status
            known.tick(self.now)
            if (
                idle is not None
                and known.status == "active"
                and known.last <= self.now - idle
            ):
                known.finish("timeout", "inactive")
            ended += known.status != before
        assert self.sessions[opener].cleanup(idle, batch=batch) == ended

    @invariant()
    def all_see_the_same(self):
        for session, known in getattr(self, "model", {}).items():
            if known.overdue(self.now):
                continue  # left for the other rules to find
            for one in self.sessions:
                found = one.get(session)
                assert found.owner == known.owner
                assert (found.status, found.end_reason) == (known.status, known.reason)
                assert (found.version, found.data) == (known.version, known.data)
                assert found.interaction_count == known.interactions
                assert found.last_activity == known.last
                assert (found.failures, found.locked) == (known.failures, known.locked)
                assert (found.lease_owner, found.lease_until) == (
                    known.holder,
                    known.until,
                )

    @rule(opener=openers)
    def look_at_all(self, opener):
        one = self.sessions[opener]
        stats = one.stats()
        for status in ("active", "ended", "timeout", "error"):
            counted = sum(known.status == status for known in self.model.values())
            assert getattr(stats, status) == counted
        assert stats.locked == sum(
            known.locked for known in self.model.values() if known.status == "active"
        )
        expected = sorted(
            (known.owner, session)
            for session, known in self.model.items()
            if known.status == "active" and not known.overdue(self.now)
        )
        assert [(r.owner, r.id) for r in one.active(page=2)] == expected
        for session, known in self.model.items():
            assert [event.kind for event in one.events(session)] == known.events


TestSessions = Machine.TestCase
TestSessions.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
