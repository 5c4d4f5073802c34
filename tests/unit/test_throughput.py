import time

import pytest

from dropzone.journal import Journal
from dropzone.models import Job, JobIds, Outcome, Status
from dropzone.throughput import Part, Span, Throughput, added

NOW = 1_000_000.0
SPAN = Span(seconds=60, parts=10)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def ended(ids, at, *, failed=False, **values):
    return Job(
        id=ids.next(),
        zone="default",
        collection="c",
        path=b"c/x",
        status=Status.FAILED if failed else Status.DONE,
        size=100,
        mtime_ns=0,
        outcome=Outcome.FAILED if failed else Outcome.INDEXED,
        end_reason="why" if failed else "indexed",
        created_at=at,
        ended_at=at,
        **values,
    )


def test_each_part_has_what_ended_in_it_also_what_was_removed_since(journal):
    ids = JobIds()
    until = SPAN.until(NOW)
    ages = (1, 61, 61, 9 * 60 + 1)
    journal.add([ended(ids, until - age) for age in ages])
    journal.add([ended(ids, until - 61, failed=True, removed_at=NOW)])
    # Before and after the span, and what has not ended.
    journal.add([ended(ids, until - 601), ended(ids, until + 1)])
    parts = Throughput(SPAN).look(journal, NOW)
    assert len(parts) == 10
    assert parts[-1] == Part(1, 0, 100)
    assert parts[-2] == Part(3, 1, 300)
    assert parts[0] == Part(1, 0, 100)
    assert sum(part.files for part in parts) == 5
    assert added([parts, parts], 10)[-2] == Part(6, 2, 600)
    assert added([], 10) == [Part()] * 10


def test_what_is_over_does_not_change_and_what_goes_on_does(journal):
    ids, throughput = JobIds(), Throughput(SPAN)
    until = SPAN.until(NOW)
    journal.add([ended(ids, until - 300), ended(ids, until - 1)])
    first = throughput.look(journal, NOW)
    journal.add([ended(ids, until - 300), ended(ids, until - 1)])
    again = throughput.look(journal, NOW)
    assert again[:-1] == first[:-1]
    assert (first[-1].files, again[-1].files) == (1, 2)
    # A minute later, and after the clock was set back.
    later = throughput.look(journal, NOW + 60)
    assert later[-2] == again[-1]
    assert later[:-2] == again[1:-1]
    assert throughput.look(journal, NOW - 3600) == [Part()] * 10
    assert Throughput(SPAN).look(journal, NOW)[-1].files == 2


def test_a_week_of_many_jobs_is_counted_quickly(journal):
    ids, span = JobIds(), Span(seconds=7200, parts=84)
    journal.add([ended(ids, NOW - number * 20.0) for number in range(20_000)])
    throughput = Throughput(span)
    # Of this thread: how busy the machine is makes no difference.
    begun = time.thread_time()
    first = throughput.look(journal, NOW)
    then = time.thread_time()
    assert then - begun < 0.5
    assert throughput.look(journal, NOW) == first
    assert time.thread_time() - then < 0.1
    assert sum(part.files for part in first) == 20_000
