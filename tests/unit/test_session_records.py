import contextlib
import math
import sqlite3
import threading

import pytest
from structlog.testing import capture_logs

from dropzone.errors import DropzoneError, ServiceUnavailable
from dropzone.journal import (
    Journal,
    SessionConcurrencyError,
    SessionDataError,
    SessionEnded,
    SessionError,
    SessionFileError,
    SessionLeased,
    SessionLeaseLost,
    SessionLimit,
    SessionLocked,
    Sessions,
    SessionSecurityError,
    SessionUnknown,
    session_file,
)
from dropzone.journal.session_works import Change, Refuse
from zones_helpers import eventually, in_threads


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.sqlite"


@pytest.fixture
def sessions(path):
    with Sessions(path) as sessions:
        yield sessions


@contextlib.contextmanager
def beside(path):
    """Another connection to the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def commits(path):
    with beside(path) as connection:
        return connection.execute("SELECT number FROM commits").fetchone()[0]


def add(name, value):
    def change(data):
        data[name] = data.get(name, 0) + value

    return change


def test_a_record_comes_back_as_it_was_also_after_reopening(path):
    data = {"é": [1, -0.5, None, True, {"deep": "\ud800"}], "big": 10**30}
    with Sessions(path) as sessions:
        made = sessions.create("ann", data=data, metadata={"m": 1}, ttl=60)
        assert sessions.get(made.id) == made
    with Sessions(path) as sessions:
        found = sessions.get(made.id)
        assert found == made
        assert (found.data, found.metadata) == (data, {"m": 1})
        assert (found.owner, found.status, found.version) == ("ann", "active", 1)
        assert found.expires_at == made.started_at + 60
        assert made.id[14] == "7"


def test_an_unknown_id_is_nothing_to_get_and_an_error_to_use(sessions):
    for name in ("nobody", "", "\ud800", "é"):
        assert sessions.get(name) is None
        for use in (sessions.check, sessions.touch, sessions.end, sessions.unlock):
            with pytest.raises(SessionUnknown, match="no session"):
                use(name)
        with pytest.raises(SessionUnknown):
            sessions.update(name, add("n", 1))
    assert list(sessions.events("nobody")) == []
    assert sessions.metrics("nobody") == {}


def test_an_expired_record_is_ended_when_it_is_read(path, sessions):
    made = sessions.create("ann", ttl=60)
    later = made.started_at + 61
    sessions._steps.now = lambda: later
    assert list(sessions.active()) == []
    found = sessions.get(made.id)
    assert (found.status, found.end_reason) == ("timeout", "time to live")
    assert found.ended_at == made.expires_at
    with beside(path) as connection:
        rows = connection.execute("SELECT status FROM sessions").fetchall()
    assert rows == [("timeout",)]
    with pytest.raises(SessionEnded, match="time to live") as caught:
        sessions.touch(made)
    assert caught.value.status == "timeout"


def test_activity_prolongs_the_life_of_a_session(sessions):
    made = sessions.create("ann", ttl=60)
    sessions._steps.now = lambda: made.started_at + 50
    sessions.touch(made)
    sessions._steps.now = lambda: made.started_at + 100
    changed = sessions.update(made, add("n", 1))
    assert changed.interaction_count == 2
    assert changed.last_activity == made.started_at + 100
    assert changed.expires_at == made.started_at + 160


def test_for_ever_overrides_the_default_time_to_live(path):
    with Sessions(path, ttl=5) as sessions:
        assert sessions.create("ann").ttl == 5
        assert sessions.create("ann", ttl=math.inf).expires_at is None
        for bad in (0, -1, math.nan):
            with pytest.raises(SessionDataError, match="time to live"):
                sessions.create("ann", ttl=bad)


def test_a_changed_copy_changes_no_record(sessions):
    made = sessions.create("ann", data={"list": [1]})
    made.data["list"].append(2)
    sessions.get(made.id).data["list"].append(3)
    assert sessions.get(made.id).data == {"list": [1]}


def test_an_update_replaces_or_changes_in_place(sessions):
    made = sessions.create("ann", data={"a": 1})
    assert sessions.update(made, add("a", 1)).data == {"a": 2}
    replaced = sessions.update(made, lambda _: {"b": 1}, metadata={"m": 2})
    assert (replaced.data, replaced.metadata) == ({"b": 1}, {"m": 2})
    assert (replaced.version, replaced.interaction_count) == (3, 2)


def test_an_update_of_another_version_is_a_conflict(sessions):
    made = sessions.create("ann")
    sessions.update(made, add("n", 1), expected_version=made.version)
    with pytest.raises(SessionConcurrencyError, match="version 2, not 1"):
        sessions.update(made, add("n", 1), expected_version=made.version)
    assert sessions.get(made.id).data == {"n": 1}
    sessions.touch(made)
    assert sessions.get(made.id).version == 2, "activity alone is no other version"


def test_an_update_that_was_overtaken_is_begun_anew(path, sessions):
    made = sessions.create("ann", data={"n": 0})
    calls = []

    def change(data):
        calls.append(data["n"])
        if len(calls) < 3:
            other.update(made, add("n", 10))
        data["n"] += 1

    with Sessions(path) as other:
        assert sessions.update(made, change).data == {"n": 21}
        calls.clear()
        with pytest.raises(SessionConcurrencyError):
            sessions.update(
                made, change, expected_version=sessions.get(made.id).version
            )
        assert other.get(made.id).data == {"n": 31}


def test_what_fails_in_the_change_changes_nothing(sessions):
    made = sessions.create("ann")
    with pytest.raises(ZeroDivisionError):
        sessions.update(made, lambda data: data.update(n=1 / 0))
    assert sessions.get(made.id) == made
    assert sessions.update(made, add("n", 1)).data == {"n": 1}, "nothing stays locked"


@pytest.mark.parametrize(
    "data",
    [
        {"a": (1,)},
        {1: 2},
        {"a": math.nan},
        {"a": math.inf},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": object()},
        [1],
        "text",
        {"a": {"huge": 10**5000}},
    ],
)
def test_what_is_not_json_is_refused_with_a_sentence(sessions, data):
    made = sessions.create("ann")
    with pytest.raises(SessionDataError) as caught:
        sessions.create("ann", data=data)
    assert caught.value.message.endswith(".")
    assert "dicts" in caught.value.hint
    with pytest.raises(SessionDataError):
        sessions.update(made, lambda _: data)
    assert sessions.get(made.id) == made


def test_circles_and_abysses_are_refused(sessions):
    circle = {}
    circle["self"] = circle
    deep = {}
    for _ in range(100_000):
        deep = {"d": deep}
    for data in (circle, deep):
        with pytest.raises(SessionDataError):
            sessions.create("ann", data=data)


@pytest.mark.parametrize("owner", ["", "\ud800", None, 7, b"ann"])
def test_an_owner_is_text(sessions, owner):
    with pytest.raises(SessionDataError):
        sessions.create(owner)


def test_megabytes_of_data_are_kept_and_changed(sessions):
    made = sessions.create("ann", data={"text": "x" * 5_000_000})
    assert sessions.update(made, add("n", 1)).data["n"] == 1
    sessions.touch(made)
    assert len(sessions.get(made.id).data["text"]) == 5_000_000
    assert sessions.stats().cached == 0, "too large for memory"


def test_an_end_is_an_end(sessions):
    one, two = sessions.create("ann"), sessions.create("ann")
    ended = sessions.end(one, "logged out")
    assert (ended.status, ended.end_reason) == ("ended", "logged out")
    assert sessions.end(two, error=True).status == "error"
    assert sessions.get(one.id) == ended
    for use in (sessions.check, sessions.touch, sessions.end, sessions.release):
        with pytest.raises(SessionEnded, match="ended") as caught:
            use(one)
        assert (caught.value.status, caught.value.reason) == ("ended", "logged out")


def test_no_more_sessions_than_the_limit(path):
    with Sessions(path, max_sessions=3) as sessions:
        made = [sessions.create("ann", ttl=60) for _ in range(3)]
        with pytest.raises(SessionLimit, match="3 sessions") as caught:
            sessions.create("ann")
        assert "max_sessions" in caught.value.hint
        sessions.end(made[0])
        sessions.create("ann")
        sessions._steps.now = lambda: made[2].started_at + 61
        sessions.create("ann")
        assert sessions.stats().timeout == 2, "those whose time was over made room"


def test_the_limit_holds_for_threads_and_other_openers(path):
    made = []
    with Sessions(path, max_sessions=20) as one, Sessions(path, max_sessions=20) as two:

        def work(number):
            with contextlib.suppress(SessionLimit):
                made.extend((one, two)[number % 2].create("ann") for _ in range(10))

        in_threads(8, work)
        assert len(made) == one.stats().active == 20


def test_every_use_of_a_leased_session_asks_for_the_token(sessions):
    made = sessions.create("ann", lease="worker")
    assert made.token not in repr(made)
    assert sessions.get(made.id).token is None
    uses = [
        sessions.check,
        sessions.touch,
        sessions.end,
        sessions.release,
        lambda session: sessions.update(session, add("n", 1)),
        lambda session: sessions.record(session, "kind"),
        lambda session: sessions.measure(session, "name", 1),
    ]
    for count, use in enumerate(uses, 1):
        with pytest.raises(SessionSecurityError) as caught:
            use(made.id)
        assert caught.value.failures == count
        sessions._steps._failures = 99
    assert [e.kind for e in sessions.events(made)] == ["security"] * len(uses)
    for use in reversed(uses):
        if use not in (sessions.release, sessions.end):
            use(made)
    assert sessions.check(made.id, token=made.token).lease_owner == "worker"
    carried = sessions.check(sessions.update(made, add("n", 1)))
    assert sessions.touch(carried) is None, "what comes of its use carries the token"
    assert sessions.get(made.id).token is None


def test_the_token_is_in_no_file(path, sessions):
    made = sessions.create("ann", lease="worker")
    with contextlib.suppress(SessionSecurityError):
        sessions.check(made.id, token="canary-token")
    for part in path.parent.iterdir():
        content = part.read_bytes()
        assert made.token.encode() not in content
        assert b"canary-token" not in content


def test_failures_lock_out_until_somebody_unlocks(sessions):
    made = sessions.create("ann", lease="worker")
    for number in range(1, 6):
        with pytest.raises(SessionSecurityError) as caught:
            sessions.touch(made.id, token=f"guess {number}")
        assert isinstance(caught.value, SessionLocked) == (number == 5)
    with pytest.raises(SessionLocked, match="5 failures") as caught:
        sessions.touch(made)
    assert "unlock" in caught.value.hint
    assert sessions.stats().locked == 1
    told = [event.data for event in sessions.events(made.id)]
    assert told[0] == {"failures": 1, "locked": False}
    assert told[-1] == {"failures": 5, "locked": True}
    assert sessions.unlock(made).failures == 0
    sessions.touch(made)
    assert sessions.stats().locked == 0


def test_a_lease_is_one_holders_until_it_ends(sessions):
    made = sessions.create("ann")
    first = sessions.lease(made, "one", seconds=60)
    with pytest.raises(SessionLeased, match="leased by one") as caught:
        sessions.lease(made.id, "two")
    assert caught.value.until == first.lease_until
    again = sessions.lease(first, "one", seconds=90)
    assert again.token != first.token
    sessions._steps.now = lambda: made.started_at + 200
    sessions.touch(again)
    second = sessions.lease(made.id, "two")
    with pytest.raises(SessionSecurityError):
        sessions.touch(again)
    assert sessions.release(second).lease_owner is None
    with pytest.raises(SessionLeaseLost):
        sessions.touch(second)
    sessions.touch(made.id)
    assert sessions.lease(second, "two").lease_owner == "two"
    with pytest.raises(SessionDataError, match="token"):
        sessions.touch(made, token=7)


def test_events_and_metrics_are_kept_by_session(sessions):
    one, two = sessions.create("ann"), sessions.create("bob")
    for number in range(7):
        sessions.record(one, "analysis", {"number": number})
        sessions.measure(one, "ms", number)
    sessions.record(two, "other")
    assert [e.data["number"] for e in sessions.events(one, page=3)] == list(range(7))
    assert [(e.kind, e.data) for e in sessions.events(two)] == [("other", None)]
    metric = sessions.metrics(one)["ms"]
    assert (metric.count, metric.total, metric.least, metric.most) == (7, 21, 0, 6)
    assert (metric.last, metric.mean) == (6, 3)
    assert sessions.get(one.id).interaction_count == 14
    for bad in (math.nan, math.inf):
        with pytest.raises(SessionDataError, match="finite"):
            sessions.measure(one, "ms", bad)
    with pytest.raises(SessionDataError):
        sessions.record(one, "kind", {1})


def test_active_sessions_come_by_owner_and_age_in_pages(sessions):
    made = [sessions.create(owner) for owner in "bacabcc" for _ in range(3)]
    sessions.end(made.pop())
    expected = sorted(made, key=lambda record: (record.owner, record.id))
    assert list(sessions.active(page=4)) == expected
    ours = [record for record in expected if record.owner == "c"]
    assert list(sessions.active("c", page=2)) == ours
    assert list(sessions.active("nobody")) == []


def test_clean_up_ends_the_overdue_and_the_idle_in_batches(sessions):
    start = sessions.create("ann").started_at
    for number in range(10):
        sessions.create("due", ttl=60)
        sessions.touch(sessions.create("busy", ttl=1000))
        sessions.create("old" if number % 2 else "other")
    assert sessions.cleanup(3600, batch=3) == 0
    sessions._steps.now = lambda: start + 100
    assert sessions.cleanup(batch=3) == 10
    busy = list(sessions.active("busy"))
    for record in busy:
        sessions.touch(record)
    sessions._steps.now = lambda: start + 150
    assert sessions.cleanup(99, batch=3) == 11
    assert list(sessions.active()) == [sessions.get(r.id) for r in busy]
    assert (sessions.stats().active, sessions.stats().timeout) == (10, 21)
    sessions._steps.now = lambda: start + 1050
    assert sessions.cleanup() == 0, "they were active since"
    sessions._steps.now = lambda: start + 1101
    assert sessions.cleanup() == 10


def test_what_ended_long_ago_is_forgotten_when_asked(sessions):
    old, kept = sessions.create("ann"), sessions.create("ann")
    sessions.record(old, "kind")
    sessions.measure(old, "name", 1)
    sessions.end(old)
    sessions._steps.now = lambda: old.started_at + 100
    sessions.end(kept)
    assert sessions.forget(50, batch=1) == 1
    assert sessions.get(old.id) is None
    assert list(sessions.events(old)) == []
    assert sessions.metrics(old) == {}
    assert sessions.stats().records == 1


def test_the_cleaner_works_until_it_is_stopped(sessions):
    sessions.start_cleaning(0.005)
    made = [sessions.create("ann", ttl=0.01) for _ in range(5)]
    eventually(lambda: sessions.stats().timeout == 5)
    sessions.stop_cleaning()
    sessions.stop_cleaning()
    assert "sessions-cleaner" not in {thread.name for thread in threading.enumerate()}
    assert sessions.get(made[0].id).end_reason == "time to live"


def test_the_cleaner_goes_on_after_a_failure(path, sessions):
    sessions.create("ann")
    with beside(path) as connection:
        connection.execute(
            "CREATE TRIGGER stop BEFORE UPDATE OF status ON sessions"
            " BEGIN SELECT raise(ABORT, 'not now'); END"
        )
        with capture_logs() as logs:
            sessions.start_cleaning(0.005, idle=0)
            eventually(lambda: logs)
            assert "not now" in logs[0]["error"]
            connection.execute("DROP TRIGGER stop")
            eventually(lambda: sessions.stats().timeout == 1)
            sessions.stop_cleaning()


def test_an_update_that_is_always_overtaken_gives_up(path, sessions):
    made = sessions.create("ann", data={"n": 0})
    with Sessions(path) as other, pytest.raises(SessionConcurrencyError, match="100"):
        sessions.update(made, lambda _: other.update(made, add("n", 1)).data)
    assert sessions.get(made.id).data == {"n": 100}


def test_a_file_that_another_process_keeps_is_told(path, monkeypatch):
    monkeypatch.setattr(session_file, "_PATIENCE", 0.05)
    with Sessions(path) as sessions:
        made = sessions.create("ann")
        with beside(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(ServiceUnavailable, match="Another process") as caught:
                sessions.touch(made)
            assert "fuser" in caught.value.hint
        sessions.touch(made)


def test_a_slow_change_keeps_nobody_else_waiting(sessions):
    slow, other = sessions.create("ann"), sessions.create("bob")
    within, go = threading.Event(), threading.Event()

    def linger(data):
        within.set()
        assert go.wait(10)
        data["slow"] = True

    thread = threading.Thread(target=sessions.update, args=(slow, linger))
    thread.start()
    assert within.wait(10)
    assert sessions.update(other, add("n", 1)).data == {"n": 1}
    sessions.touch(slow)
    go.set()
    thread.join(10)
    assert sessions.get(slow.id).data == {"slow": True}


def test_threads_lose_no_change_and_share_commits(path, sessions):
    shared = sessions.create("all")
    own = [sessions.create("ann") for _ in range(12)]
    before = commits(path)

    def work(number):
        for _ in range(15):
            sessions.update(own[number], add("n", 1))
            sessions.touch(own[number - 1])
        for _ in range(3):
            sessions.update(shared, add("n", 1))

    in_threads(12, work)
    assert {sessions.get(record.id).data["n"] for record in own} == {15}
    assert sessions.get(shared.id).data["n"] == 36
    assert sessions.get(own[0].id).interaction_count == 30
    assert commits(path) - before < 12 * 33 * 0.7
    with Sessions(path) as fresh:
        for record in own:
            assert sessions.get(record.id) == fresh.get(record.id)


def test_memory_has_the_last_of_two_changes_in_one_commit(sessions):
    made = sessions.create("ann", lease="worker")
    change = Change(made.changed('{"n":1}', None, made.started_at))
    refuse = Refuse(made.id, 1, made.started_at)
    # As the writer's thread does, which has nothing to do just now.
    sessions._file.writer._commit([change, refuse])
    assert sessions.get(made.id).data == {"n": 1}
    with pytest.raises(SessionLocked):
        sessions.check(made)


def test_no_thread_reads_what_is_over(path):
    rounds, least, ended = 15, {}, set()
    with Sessions(path) as one, Sessions(path, cached=4) as two:
        names = [one.create("ann", data={"n": 0}).id for _ in range(12)]

        def work(number):
            if number < len(names) // 2:
                for name in names[number * 2 : number * 2 + 2]:
                    for count in range(rounds):
                        writer = (one, two)[count % 7 == 0]
                        least[name] = writer.update(name, add("n", 1)).version
                    one.end(name)
                    ended.add(name)
                return
            while len(ended) < len(names):
                for name in names:
                    for reader in (one, two):
                        over, version = name in ended, least.get(name, 0)
                        found = reader.get(name)
                        assert found.version >= version
                        assert not (over and found.active)

        in_threads(len(names) // 2 + 2, work)


def test_memory_is_bounded(path):
    with Sessions(path, cached=10) as sessions:
        made = [sessions.create("ann") for _ in range(50)]
        assert sessions.stats().cached <= 10
        assert [sessions.get(record.id) for record in made] == made
        assert sessions.stats().cached <= 10
    with Sessions(path, cached=0) as sessions:
        assert sessions.update(made[0], add("n", 1)).data == {"n": 1}
        assert sessions.stats().cached == 0


@pytest.mark.parametrize("name", ["max_sessions", "max_failures", "ttl"])
def test_limits_that_can_only_be_mistakes_are_refused(path, name):
    with pytest.raises((ValueError, SessionDataError), match="more than 0"):
        Sessions(path, **{name: 0})


def test_numbers_that_can_only_be_mistakes_are_refused(sessions):
    made = sessions.create("ann")
    for use in (
        lambda: sessions.cleanup(batch=0),
        lambda: sessions.forget(1, batch=0),
        lambda: list(sessions.active(page=0)),
        lambda: list(sessions.events(made, page=0)),
        lambda: sessions.start_cleaning(0),
    ):
        with pytest.raises(ValueError, match="more than 0"):
            use()
    with pytest.raises(SessionDataError, match="finite"):
        sessions.measure(made, "ms", "fast")


def test_a_closed_file_is_told(path):
    sessions = Sessions(path)
    made = sessions.create("ann")
    sessions.close()
    sessions.close()
    for use in (sessions.check, sessions.touch, sessions.get):
        with pytest.raises(SessionFileError, match="closed"):
            use(made.id)


def test_a_newer_schema_is_refused(path):
    Sessions(path).close()
    with beside(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(SessionFileError, match="newer dropzone") as caught:
        Sessions(path)
    assert "Install" in caught.value.hint


def test_other_databases_are_left_alone(path):
    Journal(path).close()
    with pytest.raises(SessionFileError, match="not one of session records"):
        Sessions(path)


def test_garbage_is_told_as_a_damaged_file(path):
    path.write_bytes(b"no database, " * 1000)
    with pytest.raises(SessionFileError, match="damaged") as caught:
        Sessions(path)
    assert "copy" in caught.value.hint


def test_damage_in_the_middle_is_told_when_it_is_met(path):
    with Sessions(path) as sessions:
        made = [sessions.create("ann", data={"x": "y" * 500}) for _ in range(200)]
    content = bytearray(path.read_bytes())
    middle = range(len(content) // 4 // 4096 * 4096, len(content))
    content[middle.start :] = b"\xa5" * len(middle)
    path.write_bytes(content)
    with Sessions(path) as sessions, pytest.raises(SessionFileError, match="damaged"):
        list(map(sessions.get, [record.id for record in made]))


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ServiceUnavailable, match="cannot be used") as caught:
        Sessions(tmp_path / "missing" / "sessions.sqlite")
    assert "folder" in caught.value.hint


def test_a_failed_clean_up_tells_how_far_it_came(path, sessions):
    for _ in range(4):
        sessions.create("ann")
    with beside(path) as connection:
        connection.execute(
            "CREATE TRIGGER stop BEFORE UPDATE OF status ON sessions"
            " WHEN (SELECT sessions FROM tally WHERE status = 'timeout') >= 2"
            " BEGIN SELECT raise(ABORT, 'no more'); END"
        )
    with pytest.raises(SessionError, match="after 2 sessions") as caught:
        sessions.cleanup(0, batch=2)
    assert caught.value.ended == 2
    assert sessions.stats().active == 2


def test_all_errors_are_of_one_family():
    family = (SessionLimit, SessionLocked, SessionLeaseLost, SessionFileError)
    assert all(issubclass(error, SessionError) for error in family)
    assert issubclass(SessionError, DropzoneError)
    assert issubclass(SessionLocked, SessionSecurityError)
    assert issubclass(SessionLeased, SessionConcurrencyError)
