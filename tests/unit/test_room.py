import os
import time

import pytest

from dropzone.errors import ServiceUnavailable
from dropzone.journal import Journal
from dropzone.listing import Entry
from dropzone.models import Status
from dropzone.readiness import Signature
from dropzone.room import Growth, Room
from dropzone.web.api.room import largest
from zones_helpers import new_job

MB = 1_000_000
NOTHING = Growth(copied=False, indexed=False, text_bytes=MB)
COPY = Growth(copied=True, indexed=False, text_bytes=MB)
BOTH = Growth(copied=True, indexed=True, text_bytes=MB)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def disk(free, *, files=1_000_000, inodes=1_000_000):
    """Return what a disk with so many bytes and files left says."""
    block = 4096
    values = (block, block, 10**9, free // block, free // block)
    return lambda: os.statvfs_result((*values, inodes, files, files, 0, 255))


def entry(name, size):
    return Entry(name, 0o100644, 1, Signature(1, 1, size, 1, time.time_ns()))


def test_files_are_taken_while_more_than_the_floor_is_free(journal):
    ready = [entry(b"large", 10**12)]
    assert Room(disk(257 * MB), journal, NOTHING, 256 * MB).sort(ready) == (ready, [])
    with pytest.raises(ServiceUnavailable, match=r"255 MB .*limits\.free_megabytes"):
        Room(disk(255 * MB), journal, NOTHING, 256 * MB).sort(ready)


def test_the_disk_of_the_servers_counts_where_it_is_another(journal):
    ready = [entry(b"large", MB)]
    full, roomy = disk(255 * MB), disk(257 * MB)
    room = Room(roomy, journal, NOTHING, 256 * MB, servers_disk=roomy)
    assert room.sort(ready) == (ready, [])
    room = Room(roomy, journal, NOTHING, 256 * MB, servers_disk=full)
    with pytest.raises(ServiceUnavailable, match=r"disk of the embedded servers"):
        room.sort(ready)


def test_inodes_count_where_their_number_is_fixed(journal):
    with pytest.raises(ServiceUnavailable, match="Only 199 more files"):
        Room(disk(MB, files=199), journal, NOTHING, 0).check()
    Room(disk(MB, files=0, inodes=0), journal, NOTHING, 0).check()


def test_what_does_not_fit_waits_and_the_others_go(journal):
    room = Room(disk(100 * MB), journal, COPY, 50 * MB)
    ready = [entry(b"a", 30 * MB), entry(b"b", 30 * MB), entry(b"c", 10 * MB)]
    fitting, findings = room.sort(ready)
    assert [one.path for one in fitting] == [b"a", b"c"]
    assert [one.path for one in findings] == [b"b"]
    assert "needs 30 MB" in findings[0].reason
    again, waiting = room.sort([entry(b"d", 20 * MB)])
    assert (len(again), len(waiting)) == (0, 1), "what was promised is kept"


def test_jobs_under_way_are_reckoned_with(journal):
    journal.add(
        [
            new_job(b"x", Status.CLAIMED, size=20 * MB),
            new_job(b"y", Status.STORED, size=20 * MB),
        ]
    )
    room = Room(disk(100 * MB), journal, COPY, 50 * MB)
    assert room.sort([entry(b"a", 31 * MB)])[1]
    assert not room.sort([entry(b"a", 29 * MB)])[1]


def test_only_text_up_to_the_limit_grows_in_the_database(journal):
    room = Room(disk(100 * MB), journal, BOTH, 0)
    assert not room.sort([entry(b"film", 80 * MB)])[1]
    small = Room(disk(15 * MB), journal, BOTH, 0)
    assert small.sort([entry(b"text", MB)])[1]


@pytest.mark.parametrize("growth", [NOTHING, COPY, BOTH])
@pytest.mark.parametrize("usable", [0, 5 * MB, 16 * MB, 17 * MB, 500 * MB])
def test_the_largest_file_just_fits(growth, usable):
    size = largest(usable, growth)

    def needs(size):
        return size + growth.of(size, min(size, growth.text_bytes))

    assert needs(size) <= usable < needs(size + 1)
