import sqlite3

import pytest

from dropzone.errors import ConfigurationError, ZoneError
from dropzone.journal import Journal, move, schema
from dropzone.models import Status
from zones_helpers import in_threads, needs_mounts, new_job, python


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path):
    journal = Journal(path)
    yield journal
    journal.close()


def test_one_callers_mistake_is_nobody_elses(journal):
    job = new_job()
    journal.add([job])
    told = []

    def work(number):
        if number % 2:
            journal.add([new_job() for _ in range(3)])
            return
        bad = new_job(size=2**70) if number % 4 else job
        with pytest.raises((OverflowError, sqlite3.IntegrityError)) as caught:
            journal.add([new_job(), bad])
        told.append(caught.value)

    in_threads(16, work)
    assert len(told) == 8
    assert len(journal.newest(100)) == 1 + 8 * 3


def test_a_hundred_groups_of_threads_save_durably(path):
    journal = Journal(path)

    def work(number):
        for count in range(10):
            job = new_job(str(number).encode())
            journal.add([job])
            moved = move(job, Status.STORED, size=count)
            journal.save([moved])
            # Another connection sees what save returned from.
            with sqlite3.connect(path) as other:
                row = other.execute("SELECT size FROM jobs WHERE id = ?", (job.id,))
                assert row.fetchone() == (count,)
            other.close()

    in_threads(8, work)
    journal.close()
    again = Journal(path, create=False)
    assert again.counts().states == {Status.STORED: 80}
    again.close()


def test_a_write_survives_the_death_of_its_process(path):
    code = """
        import os, sys
        from pathlib import Path
        from zones_helpers import new_job
        from dropzone.journal import Journal
        journal = Journal(Path(sys.argv[1]))
        job = new_job()
        journal.add([job])
        print(job.id, flush=True)
        os._exit(0)
    """
    job_id = python(code, path).strip()
    journal = Journal(path)
    assert journal.get(job_id)
    journal.close()


@pytest.mark.parametrize("create", [True, False])
def test_a_newer_schema_is_refused(path, create):
    Journal(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer dropzone") as caught:
        Journal(path, create=create)
    assert "Install" in caught.value.hint


@pytest.mark.parametrize("create", [True, False])
def test_a_damaged_journal_is_told_with_the_way_out(path, create):
    path.write_bytes(b"no database, " * 1000)
    with pytest.raises(ZoneError, match="damaged") as caught:
        Journal(path, create=create)
    assert "makes the journal again" in caught.value.hint


def test_a_journal_that_is_not_there_is_not_made_by_readers(path):
    with pytest.raises(ZoneError, match="no journal"):
        Journal(path, create=False)
    assert not path.exists()


def test_another_process_reads_while_this_one_writes(path, journal):
    reader = Journal(path, create=False)
    job = new_job()
    journal.add([job])
    assert reader.get(job.id) == job
    with pytest.raises(ZoneError, match="reading only"):
        reader.add([new_job()])
    reader.close()


def test_after_close_a_write_is_refused_and_does_not_hang(path):
    journal = Journal(path)
    journal.close()
    journal.close()
    with pytest.raises(ZoneError, match="closed"):
        journal.add([new_job()])


def test_threads_that_write_while_it_closes_are_answered(path):
    journal = Journal(path)
    written = []

    def work(number):
        if number == 0:
            journal.close()
            return
        for _ in range(50):
            job = new_job()
            try:
                journal.add([job])
            except ZoneError:
                return
            written.append(job.id)

    in_threads(6, work)
    again = Journal(path)
    assert {job.id for job in again.newest(10_000)} == set(written)
    again.close()


FULL_DISK = """
    import sys
    from pathlib import Path
    from zones_helpers import in_threads, new_job
    from dropzone.errors import ServiceUnavailable
    from dropzone.journal import Journal
    disk = Path(sys.argv[1])
    journal = Journal(disk / "journal.sqlite")
    first = new_job()
    journal.add([first])
    ballast = (disk / "ballast").open("wb", buffering=0)
    try:
        while ballast.write(b"x" * 4096):
            pass
    except OSError:
        pass
    def fill(number):
        try:
            for _ in range(200):
                journal.add([new_job(data={"x": "y" * 20_000})])
        except ServiceUnavailable as error:
            assert error.service == "disk", error.service
            assert "full" in error.message, error.message
            return
        raise AssertionError("the disk was not full")
    in_threads(4, fill)
    before = {job.id for job in journal.newest(10_000)}
    assert first.id in before
    ballast.truncate(0)
    last = new_job()
    journal.add([last])
    journal.close()
    again = Journal(disk / "journal.sqlite")
    assert {job.id for job in again.newest(10_000)} == before | {last.id}
    again.close()
    print("went on")
"""


@needs_mounts
def test_a_full_disk_pauses_and_the_journal_goes_on_when_there_is_room(tmp_path):
    script = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    before = ["unshare", "-m", "sh", "-c", script, str(tmp_path)]
    assert python(FULL_DISK, tmp_path, before=before).endswith("went on\n")


def test_a_limit_on_file_sizes_pauses_too(tmp_path):
    code = """
        import resource, signal, sys
        from pathlib import Path
        from zones_helpers import new_job
        from dropzone.errors import ServiceUnavailable
        from dropzone.journal import Journal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        journal = Journal(Path(sys.argv[1]))
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        kept = []
        try:
            while True:
                job = new_job(data={"x": "y" * 20_000})
                journal.add([job])
                kept.append(job.id)
        except ServiceUnavailable as error:
            assert error.service == "disk"
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        last = new_job()
        journal.add([last])
        assert [j.id for j in journal.newest(9999)] == [last.id, *reversed(kept)]
        journal.close()
        print(len(kept) > 1)
    """
    assert python(code, tmp_path / "journal.sqlite").endswith("True\n")
