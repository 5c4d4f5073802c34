"""The orders of events in which memory could keep what is over, one by one.

``number`` is what a reader finds in the file; ``keep`` is told the turn at which the
reading of the row began.
"""

import pytest

from dropzone.journal import Session, SessionStatus
from dropzone.journal.session_cache import SessionCache


def record(name="a", version=1, status=SessionStatus.ACTIVE):
    times = (0.0, None, None, 0.0)
    empty = (None,) * 5
    return Session(
        name, "ann", status, *times, "{}", "{}", 0, version, *empty, 0, locked=False
    )


@pytest.fixture
def cache():
    cache = SessionCache(10, 5)
    cache.keep(record("a"), cache.turn)
    cache.keep(record("b"), cache.turn)
    return cache


def commit(cache, number, *changes):
    cache.begin(number)
    cache.prepare(number, changes)
    cache.publish(changes)


def test_what_was_kept_is_found_up_to_the_next_foreign_commit(cache):
    assert cache.look("a", 5) == record("a")
    assert cache.look("a", 6) is None
    assert cache.look("a", 5) is None, "all of it is forgotten"


def test_an_own_commit_changes_its_records_and_keeps_the_others(cache):
    commit(cache, 6, (("a",), record("a", 2)))
    assert cache.look("a", 6).version == 2
    assert cache.look("b", 6) == record("b")


def test_what_follows_in_the_same_commit_counts(cache):
    commit(cache, 6, (("a",), record("a", 2)), (("a",), None))
    assert cache.look("a", 6) is None


def test_while_a_commit_is_under_way_its_records_are_read_from_the_file(cache):
    cache.begin(6)
    assert cache.look("a", 5) == record("a")
    cache.prepare(6, [(("a",), record("a", 2))])
    for number in (5, 6):
        assert cache.look("a", number) is None
        assert cache.look("b", number) == record("b")


@pytest.mark.parametrize("begun", ["before", "within"])
@pytest.mark.parametrize("ended", ["within", "after"])
def test_a_row_read_around_a_commit_is_not_kept(cache, begun, ended):
    changes = [(("a",), None)]
    turn = cache.turn
    cache.begin(6)
    cache.prepare(6, changes)
    turn = turn if begun == "before" else cache.turn
    if ended == "within":
        cache.keep(record("a"), turn)
    cache.publish(changes)
    if ended == "after":
        cache.keep(record("a"), turn)
    assert cache.look("a", 6) is None
    cache.keep(record("a", 2), cache.turn)
    assert cache.look("a", 6).version == 2


def test_a_foreign_commit_may_be_seen_before_the_own_one_is_published(cache):
    changes = [(("a",), record("a", 2))]
    cache.begin(6)
    cache.prepare(6, changes)
    assert cache.look("b", 7) is None
    cache.publish(changes)
    assert cache.look("a", 7) is None, "7 may have changed it"


def test_a_foreign_commit_is_noticed_when_the_next_own_one_begins(cache):
    cache.begin(7)
    assert cache.look("a", 5) is None


def test_a_row_read_before_a_foreign_commit_is_not_kept_after_it(cache):
    turn = cache.turn
    assert cache.look("b", 6) is None
    cache.keep(record("a"), turn)
    assert cache.look("a", 6) is None


def test_the_number_of_a_failed_commit_may_be_taken_by_others(cache):
    cache.begin(6)
    cache.prepare(6, [(("a",), record("a", 2))])
    cache.abandon()
    assert cache.look("b", 6) is None


def test_only_active_records_of_moderate_size_are_kept(cache):
    commit(cache, 6, (("a",), record("a", 2, SessionStatus.ENDED)))
    assert cache.look("a", 6) is None
    cache.keep(record("b")._replace(data_json="x" * 100_000), cache.turn)
    assert cache.look("b", 6) is None


def test_the_longest_unchanged_leave_first():
    cache = SessionCache(10, 0)
    for number in range(100):
        cache.keep(record(str(number)), cache.turn)
        assert len(cache) <= 10
    assert cache.look("99", 0)
    assert cache.look("0", 0) is None
