import os
import shutil
import time

import pytest

from dropzone import given
from dropzone.errors import ZoneError
from dropzone.journal import move
from dropzone.models import Outcome, Status
from dropzone.release import Ending
from dropzone.verdict import Fail
from endings import Ends
from zones_helpers import IDS, tree

WHY = Fail("It cannot be read.", "Mend it.")


@pytest.fixture
def ends(tmp_path):
    ends = Ends(tmp_path / "zone")
    yield ends
    ends.check()
    ends.close()


def rescue_twice(ends):
    """Rescue, see that doing it again changes nothing, return the first result."""
    first = ends.rescue()
    before = tree(ends.root / "state" / "receipts"), ends.payload()
    jobs = {job.id: job for job in ends.journal.newest(9999)}
    second = ends.rescue()
    assert (tree(ends.root / "state" / "receipts"), ends.payload()) == before
    assert {job.id: job for job in ends.journal.newest(9999)} == jobs
    assert {j.id for j in second.resume} == {j.id for j in first.resume}
    assert [j.id for j, _ in second.doomed] == [j.id for j, _ in first.doomed]
    return first


def resumed(rescued):
    return [(job.path, job.status) for job in rescued.resume]


def test_nothing_left_is_nothing_to_do(ends):
    rescued = rescue_twice(ends)
    assert not rescued.resume
    assert not rescued.doomed


def test_a_claim_that_did_not_begin_is_forgotten(ends):
    job = ends.drop(b"a/x")
    ends.journal.add([job])
    os.makedirs(ends.folders.work / job.id / "a")
    rescued = rescue_twice(ends)
    assert not rescued.resume
    assert ends.journal.newest(9) == []
    assert os.listdir(ends.folders.work) == []
    assert ends.folders.look(b"a/x")


def test_an_empty_job_folder_that_nobody_knows_is_removed(ends):
    (ends.folders.work / IDS.next()).mkdir()
    rescue_twice(ends)
    assert os.listdir(ends.folders.work) == []


def test_a_claim_whose_file_was_moved_is_finished(ends):
    job = ends.drop(b"x")
    ends.journal.add([job])
    ends.take(job)
    assert resumed(rescue_twice(ends)) == [(b"x", Status.CLAIMED)]


@pytest.mark.parametrize("status", [Status.CLAIMED, Status.STORED, Status.INDEXED])
@pytest.mark.parametrize("changed", [False, True])
def test_a_claimed_file_goes_on_or_starts_again_if_it_changed(ends, status, changed):
    job = ends.indexed(b"dir/x")
    if status is not Status.INDEXED:
        job = ends.moved(job, Status.CLAIMED)
        if status is Status.STORED:
            ends.moved(job, Status.STORED)
    if changed:
        payload = ends.folders.payload_path(job.id, b"dir/x")
        payload.write_bytes(b"other bytes")
        ends.dropped[job.id] = b"other bytes"
    wanted = Status.CLAIMED if changed else status
    rescued = rescue_twice(ends)
    assert resumed(rescued) == [(b"dir/x", wanted)]
    if changed:
        assert rescued.resume[0].size == len(b"other bytes")
        # Once seen as it is now, it does not start again for ever.
        again = move(ends.journal.get(job.id), Status.STORED)
        ends.journal.save([again])
        assert resumed(ends.rescue()) == [(b"dir/x", Status.STORED)]


def test_a_waiting_job_goes_on_waiting(ends):
    job = ends.claimed(b"x")
    waiting = ends.moved(
        job, Status.WAITING, retry_at=9e9, resume_status=Status.CLAIMED
    )
    rescued = rescue_twice(ends)
    assert not rescued.resume
    assert ends.journal.get(job.id) == waiting


def interrupted(ends, monkeypatch, after, *endings):
    """End jobs, and die before the call named ``after``."""
    target, name = after

    def die(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, name, die)
        with pytest.raises(KeyboardInterrupt):
            ends.release.end(endings)


@pytest.mark.parametrize("step", ["place", "save_ended"])
@pytest.mark.parametrize("failure", [None, WHY])
@pytest.mark.parametrize("journal", ["kept", "lost"])
def test_an_ending_that_was_interrupted_is_finished(
    ends, monkeypatch, step, failure, journal
):
    job = ends.indexed(b"dir/x")
    target = ends.folders if step == "place" else ends.journal
    interrupted(ends, monkeypatch, (target, step), Ending(job, failure))
    assert len(ends.lines()) == 1
    if journal == "lost":
        lose_journal(ends)
    rescued = rescue_twice(ends)
    assert not rescued.resume
    assert len(ends.lines()) == 1
    area = "failed" if failure else "processed"
    assert list(ends.payload()) == [(area, b"dir/x")]
    ended = ends.journal.get(job.id)
    assert ended.status is (Status.FAILED if failure else Status.DONE)
    assert ended.outcome is (Outcome.FAILED if failure else Outcome.INDEXED)
    assert ends.journal.batch(ended.batch_id).state == "closed"
    assert list(ends.journal.jobs_of_batch(ended.batch_id)) == [ended]
    assert os.listdir(ends.folders.work) == []


def test_a_receipt_that_was_not_written_leaves_the_file_to_go_on(ends, monkeypatch):
    job = ends.indexed(b"x")
    interrupted(ends, monkeypatch, (ends.receipts, "append"), Ending(job, WHY))
    assert resumed(rescue_twice(ends)) == [(b"x", Status.INDEXED)]
    ends.release.end([Ending(ends.journal.get(job.id), WHY)])
    reasons = [p for p in tree(ends.root / "failed") if p.endswith(b".error.json")]
    assert reasons == [b"x.error.json"]


def test_a_folder_left_by_a_job_that_ended_is_removed(ends):
    job = ends.indexed(b"dir/x")
    ends.release.end([Ending(job)])
    os.makedirs(ends.folders.work / job.id / "dir")
    rescue_twice(ends)
    assert os.listdir(ends.folders.work) == []


def test_what_somebody_put_into_work_becomes_jobs_of_its_own(ends):
    job = ends.claimed(b"papers/known")
    ended = ends.indexed(b"papers/ended")
    ends.release.end([Ending(ended)])
    folders = [job.id, ended.id, IDS.next(), "no id", "."]
    for number, folder in enumerate(folders):
        path = ends.folders.work / folder / "papers" / f"stray{number}"
        if folder == ".":
            path = ends.folders.work / "stray4"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"put there by hand, %d" % number
        path.write_bytes(content)
        ends.dropped[folder, number] = content
    (ends.folders.work / "link").symlink_to("/etc/hostname")
    rescued = rescue_twice(ends)
    wanted = {b"papers/known", *(b"papers/stray%d" % n for n in range(4)), b"stray4"}
    assert {path for path, _ in resumed(rescued)} == wanted
    assert {one.collection for one in rescued.resume[1:]} == {"papers", "default"}
    # Each in a folder of its own, which bears the name of its job.
    for one in rescued.resume:
        assert ends.folders.payload_path(one.id, one.path).exists()
    names = sorted(os.listdir(ends.folders.work))
    assert names == sorted([*(one.id for one in rescued.resume), "link"])


def test_a_retry_is_known_as_one_without_the_journal(ends):
    failed = ends.indexed(b"x")
    ends.release.end([Ending(failed, WHY)])
    again = ends.indexed(b"x", metadata={"retry_of": failed.id})
    ends.release.end([Ending(again)])
    lose_journal(ends)
    rescue_twice(ends)
    assert ends.journal.counts().failed == 0
    assert ends.journal.get(failed.id).data["retried_as"] == again.id
    assert ends.journal.get(again.id).metadata == {"retry_of": failed.id}


def describe(path, value):
    os.setxattr(path, given.ATTRIBUTE, value)


def test_what_a_person_said_of_a_file_survives_the_journal(ends):
    ended = ends.indexed(b"ended", metadata={"given": {"author": "Ada"}})
    ends.release.end([Ending(ended)])
    (line,) = ends.lines()
    assert line["given"] == {"author": "Ada"}
    waiting, wrong = ends.claimed(b"waiting"), ends.claimed(b"wrong")
    describe(ends.folders.payload_path(waiting.id, b"waiting"), b'{"year": "1843"}')
    describe(ends.folders.payload_path(wrong.id, b"wrong"), b"no JSON")
    lose_journal(ends)
    rescue_twice(ends)
    assert ends.journal.get(ended.id).metadata == {"given": {"author": "Ada"}}
    assert ends.journal.get(waiting.id).metadata == {"given": {"year": "1843"}}
    found = ends.journal.get(wrong.id)
    assert (found.metadata, found.data["notes"]) == ({}, ["metadata_unreadable"])


def lose_journal(ends):
    ends.close()
    for path in (ends.root / "state").glob("journal.sqlite*"):
        path.unlink()
    ends.open()


def test_without_the_journal_everything_is_found_again(ends):
    done = [ends.indexed(b"done/%d" % n) for n in range(3)]
    failed = ends.indexed(b"failed\xff\n")
    ends.release.end([*map(Ending, done), Ending(failed, WHY)])
    waiting = ends.claimed(b"under/way")
    before = ends.payload()
    lose_journal(ends)
    rescued = rescue_twice(ends)
    assert resumed(rescued) == [(b"under/way", Status.CLAIMED)]
    assert rescued.resume[0].id == waiting.id
    assert ends.payload() == before
    found = ends.journal.get(failed.id)
    assert (found.path, found.outcome) == (b"failed\xff\n", Outcome.FAILED)
    assert found.end_reason == "It cannot be read."
    assert ends.journal.counts().outcomes == {Outcome.INDEXED: 3, Outcome.FAILED: 1}
    (batch,) = ends.journal.closed_batches()
    assert len(list(ends.journal.jobs_of_batch(batch.id))) == 4


def test_an_old_copy_of_the_journal_is_brought_up_to_date(ends, tmp_path):
    first, second = ends.indexed(b"1"), ends.indexed(b"2")
    ends.release.end([Ending(first)])
    ends.close()
    shutil.copytree(ends.root / "state", tmp_path / "copy")
    ends.open()
    ends.rescue()
    ends.release.end([Ending(second)])
    third = ends.indexed(b"3")
    ends.release.end([Ending(third)])
    ends.close()
    shutil.copy(tmp_path / "copy" / "journal.sqlite", ends.root / "state")
    ends.open()
    rescue_twice(ends)
    assert ends.journal.counts().states == {Status.DONE: 3}
    assert len(ends.lines()) == 3


@pytest.mark.parametrize("step", ["place", "save_ended"])
def test_an_old_copy_of_the_journal_knows_an_earlier_state_than_the_receipt(
    ends, monkeypatch, tmp_path, step
):
    claimed = ends.claimed(b"x.txt")
    ends.close()
    shutil.copy(ends.root / "state" / "journal.sqlite", tmp_path / "copy")
    ends.open()
    ends.rescue()
    stored = ends.moved(claimed, Status.STORED, sha256="ab", s3_key="k")
    indexed = ends.moved(stored, Status.INDEXED, outcome=Outcome.INDEXED)
    target = ends.folders if step == "place" else ends.journal
    interrupted(ends, monkeypatch, (target, step), Ending(indexed))
    ends.close()
    shutil.copy(tmp_path / "copy", ends.root / "state" / "journal.sqlite")
    ends.open()
    rescue_twice(ends)
    job = ends.journal.get(claimed.id)
    assert (job.status, job.outcome) == (Status.DONE, Outcome.INDEXED)
    assert (job.sha256, job.s3_key) == ("ab", "k")
    assert len(ends.lines()) == 1


def test_a_folder_in_work_that_nobody_knows_is_adopted(ends):
    job = ends.drop(b"papers/x.pdf")
    ends.take(job)
    (found,) = rescue_twice(ends).resume
    assert (found.id, found.path) == (job.id, b"papers/x.pdf")
    assert (found.collection, found.doc_type) == ("papers", "pdf")
    assert found.size == len(ends.dropped[job.id])


def test_a_job_whose_file_vanished_is_doomed_with_a_sentence(ends):
    job = ends.claimed(b"x")
    os.remove(ends.folders.payload_path(job.id, b"x"))
    ends.dropped.clear()
    (found,) = rescue_twice(ends).doomed
    assert found[0].id == job.id
    assert "vanished" in found[1].reason


def test_a_torn_receipt_counts_as_none(ends, monkeypatch):
    one, two = ends.indexed(b"1"), ends.indexed(b"2")
    interrupted(ends, monkeypatch, (ends.folders, "place"), Ending(one), Ending(two))
    (file,) = (ends.root / "state" / "receipts").glob("*")
    os.truncate(file, file.stat().st_size - 5)
    assert resumed(rescue_twice(ends)) == [(b"2", Status.INDEXED)]
    assert [line["path"] for line in ends.lines()] == ["1"]
    ends.release.end([Ending(ends.journal.get(two.id))])


def test_receipts_that_were_tampered_with_stop_the_start(tmp_path):
    ends = Ends(tmp_path / "zone")
    ends.release.end([Ending(ends.indexed(b"1"))])
    lose_journal(ends)
    (file,) = (ends.root / "state" / "receipts").glob("*")
    file.write_bytes(file.read_bytes().replace(b'"size": ', b'"size":  '))
    with pytest.raises(ZoneError, match="were changed"):
        ends.rescue()
    ends.close()


def test_many_receipts_are_taken_over_quickly(tmp_path):
    ends = Ends(tmp_path / "zone")
    ends.release.end([Ending(ends.indexed(b"x"))])
    (line,) = ends.lines()
    del line["chain"]
    many = [{**line, "job": IDS.next()} for _ in range(5000)]
    ends.receipts.append(many, "2026-01")
    lose_journal(ends)
    begun = time.monotonic()
    ends.rescue()
    assert time.monotonic() - begun < 20, "not one commit for each"
    assert ends.journal.counts().states == {Status.DONE: 5001}
    mark = ends.journal.marks()["receipts"]
    assert mark == ends.receipts.end.dump(), "they are not read again"
    ends.close()
