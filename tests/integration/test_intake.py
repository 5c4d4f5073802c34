import json
import os

import pytest

from dropzone.errors import ServiceUnavailable
from dropzone.intake import Intake
from dropzone.models import Status
from dropzone.release import Ending
from dropzone.stage import Inbox
from dropzone.verdict import Fail
from endings import Ends
from zones_helpers import boundless, tree


@pytest.fixture
def ends(tmp_path):
    ends = Ends(tmp_path / "zone")
    yield ends
    ends.close()


@pytest.fixture
def inbox(ends):
    return Inbox(ends.journal, Status.CLAIMED, 100)


@pytest.fixture
def intake(ends, inbox):
    return Intake(
        "default",
        ends.folders,
        ends.journal,
        inbox,
        boundless(ends.folders, ends.journal),
    )


def ready(ends, *paths):
    for path in paths:
        full = ends.root / "input" / os.fsdecode(path)
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(path)
    return [ends.folders.look(path) for path in paths]


def test_ready_files_become_jobs_in_journal_work_and_inbox(ends, intake, inbox):
    taken = intake.take(ready(ends, b"x.pdf", b"papers/y\xff"))
    assert (taken.jobs, taken.unsettled, taken.findings) == (2, (), ())
    jobs = {job.path: job for job in ends.journal.newest(9)}
    assert jobs[b"x.pdf"].collection == "default"
    assert jobs[b"papers/y\xff"].collection == "papers"
    assert {job.status for job in jobs.values()} == {Status.CLAIMED}
    assert dict(ends.folders.jobs_in_work()) == {
        job.id: [path] for path, job in jobs.items()
    }
    assert len(inbox) == 2


def test_what_is_gone_or_changed_or_special_is_no_job(ends, intake):
    gone, changed, swapped, fine = ready(ends, b"gone", b"changed", b"link", b"fine")
    (ends.root / "input/gone").unlink()
    (ends.root / "input/changed").write_bytes(b"longer than before")
    (ends.root / "input/link").unlink()
    (ends.root / "input/link").symlink_to("/etc/passwd")
    taken = intake.take([gone, changed, swapped, fine])
    assert taken.jobs == 1
    assert taken.unsettled == (b"changed",)
    (finding,) = taken.findings
    assert (finding.path, "symbolic link" in finding.reason) == (b"link", True)
    assert [job.path for job in ends.journal.newest(9)] == [b"fine"]


def test_a_disk_that_fails_after_the_renames_loses_nothing(ends, intake, inbox):
    one, gone, two = ready(ends, b"one", b"gone", b"two")
    (ends.root / "input/gone").unlink()
    sync = ends.folders.sync_claims
    faults = []

    def fail_twice(claims):
        if len(faults) < 2:
            faults.append(claims)
            raise ServiceUnavailable("disk", "full")
        sync(claims)

    ends.folders.sync_claims = fail_twice
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            intake.take([one, gone, two])
        assert len(inbox) == 0, "not before it is durable"
    intake.take([one, gone, two])
    jobs = ends.journal.newest(9)
    assert sorted(job.path for job in jobs) == [b"one", b"two"]
    assert {job.status for job in jobs} == {Status.CLAIMED}
    assert sorted(p for _, p in ends.folders.jobs_in_work()) == [[b"one"], [b"two"]]
    assert len(inbox) == 2


def test_a_file_taken_from_the_work_folder_by_hand_does_not_hold_the_rest(
    ends, intake, inbox
):
    entries = ready(ends, b"one", b"two")
    claim = ends.folders.claim

    def claim_and_lose(wanted, taken):
        seen = claim(wanted, taken)
        if wanted.path == b"one":
            ends.folders.payload_path(wanted.job_id, b"one").unlink()
        return seen

    ends.folders.claim = claim_and_lose
    intake.take(entries)
    assert len(inbox) == 2


def test_a_failed_file_that_is_put_back_is_tied_to_its_failure(ends, intake):
    (entry,) = ready(ends, b"x.txt")
    intake.take([entry])
    (job,) = ends.journal.newest(1)
    ends.release.end([Ending(job, Fail("no", "mend"))])
    failed = ends.root / "failed"
    assert json.loads((failed / "x.txt.error.json").read_text())["job"] == job.id
    os.rename(failed / "x.txt", ends.root / "input/x.txt")
    intake.take([ends.folders.look(b"x.txt")])
    again, before = ends.journal.newest(2)
    assert again.metadata["retry_of"] == before.id == job.id
    assert (before.end_reason, before.data["retried_as"]) == ("retried", again.id)
    assert tree(failed) == {}, "the reason holds no longer"
    assert ends.journal.counts().failed == 0


def test_payload_in_place_of_a_reason_is_not_removed(ends, intake):
    (entry,) = ready(ends, b"x.txt")
    intake.take([entry])
    (job,) = ends.journal.newest(1)
    ends.release.end([Ending(job, Fail("no", "mend"))])
    failed = ends.root / "failed"
    (failed / "x.txt.error.json").write_bytes(b"a file of that name")
    os.rename(failed / "x.txt", ends.root / "input/x.txt")
    intake.take([ends.folders.look(b"x.txt")])
    assert [content for _, content in tree(failed).values()] == [b"a file of that name"]


def test_another_file_under_the_old_name_is_no_retry(ends, intake):
    (entry,) = ready(ends, b"x.txt")
    intake.take([entry])
    (job,) = ends.journal.newest(1)
    ends.release.end([Ending(job, Fail("no", "mend"))])
    (entry,) = ready(ends, b"x.txt")
    intake.take([entry])
    assert "retry_of" not in ends.journal.newest(1)[0].metadata


def test_a_full_work_folder_is_the_disks_fault_not_the_files(ends, intake):
    entries = ready(ends, b"one", b"two")
    claim = ends.folders.claim

    def full(*_):
        raise OSError(28, "No space left on device")

    ends.folders.claim = full
    with pytest.raises(ServiceUnavailable):
        intake.take(entries)
    assert ends.journal.newest(9) == []
    ends.folders.claim = claim
    assert intake.take(entries).jobs == 2
