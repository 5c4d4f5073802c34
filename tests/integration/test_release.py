import json
import os

import pytest

from dropzone.errors import ServiceUnavailable
from dropzone.models import Outcome, Status
from dropzone.places import unquoted
from dropzone.release import Ending
from dropzone.verdict import Fail
from endings import Ends
from zones_helpers import in_threads, needs_mounts, python, tree

WHY = Fail("It is encrypted.", "Remove the password.")


@pytest.fixture
def ends(tmp_path):
    ends = Ends(tmp_path / "zone")
    yield ends
    ends.check()
    ends.close()


def failing(job):
    return Ending(job, WHY)


def test_a_job_ends_with_a_receipt_in_processed(ends):
    job = ends.indexed(b"papers/x\xff.pdf", data={"chunks": 3, "notes": ["n"]})
    (ended,) = ends.release.end([Ending(job)])
    assert ended.status is Status.DONE
    assert ended == ends.journal.get(job.id)
    (line,) = ends.lines()
    assert line["outcome"] == "indexed"
    assert unquoted(line["path"]) == unquoted(line["place"]) == b"papers/x\xff.pdf"
    assert (line["chunks"], line["notes"], line["area"]) == (3, ["n"], "processed")
    assert line["batch"] == ended.batch_id
    assert list(ends.payload()) == [("processed", b"papers/x\xff.pdf")]
    assert ends.journal.marks()["receipts"] == ends.receipts.end.dump()


def test_a_failed_file_lies_beside_its_reason(ends):
    job = ends.indexed(b"dir/x.pdf", attempts=2, error_step="index", error_class="E")
    (ended,) = ends.release.end([failing(job)])
    assert (ended.status, ended.outcome) == (Status.FAILED, Outcome.FAILED)
    assert ended.end_reason == "It is encrypted."
    told = json.loads((ends.root / "failed/dir/x.pdf.error.json").read_text())
    assert told == {
        "file": "x.pdf",
        "step": "index",
        "reason": "It is encrypted.",
        "what_to_do": "Remove the password.",
        "attempts": 2,
        "job": job.id,
        "error": "E",
        "failed_at": told["failed_at"],
        "sha256": "ab",
        "s3_key": None,
    }
    assert list(ends.payload()) == [("failed", b"dir/x.pdf")]


@pytest.mark.parametrize("end", [Ending, failing], ids=["done", "failed"])
@pytest.mark.parametrize("together", [True, False])
def test_the_same_path_again_and_again_keeps_every_file(ends, end, together):
    jobs = [ends.indexed(b"report.csv") for _ in range(12)]
    if together:
        ends.release.end([end(job) for job in jobs])
    else:
        for job in jobs:
            ends.release.end([end(job)])
    places = {unquoted(line["place"]) for line in ends.lines()}
    assert len(places) == 12
    assert b"report.csv" in places


def test_a_file_and_a_folder_of_one_name_in_one_batch(ends):
    one = ends.indexed(b"a")
    two = ends.indexed(b"a/b")
    three = ends.indexed(b"c/d")
    (ends.root / "input" / "c").rmdir()
    four = ends.indexed(b"c")
    ends.release.end([Ending(job) for job in (one, two, three, four)])
    for line in ends.lines():
        place = ends.root / line["area"] / os.fsdecode(unquoted(line["place"]))
        assert place.is_file(), "the receipt says where it lies"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("together", [True, False])
def test_payload_that_is_called_like_a_reason_is_kept(ends, order, together):
    jobs = [ends.indexed(b"x.txt"), ends.indexed(b"x.txt.error.json")][::order]
    if together:
        ends.release.end([failing(job) for job in jobs])
    else:
        for job in jobs:
            ends.release.end([failing(job)])
    for job in jobs:
        ended = ends.journal.get(job.id)
        reason = ends.root / "failed" / ended.data["reason_file"]
        assert json.loads(reason.read_text())["job"] == job.id


@pytest.mark.parametrize(
    "name", [b"x" * 255, b"x" * 250 + b".pdf", b"\xff" * 255, b"d/" + b"y" * 255]
)
def test_names_of_full_length_fail_with_a_reason_too(ends, name):
    jobs = [ends.indexed(name), ends.indexed(name)]
    ends.release.end([failing(job) for job in jobs])
    for job in jobs:
        reason = ends.journal.get(job.id).data["reason_file"]
        assert os.path.exists(os.path.join(ends.root, "failed", reason))


def test_threads_end_jobs_side_by_side(ends):
    jobs = [[ends.indexed(b"x") for _ in range(5)] for _ in range(6)]
    in_threads(6, lambda n: ends.release.end([Ending(job) for job in jobs[n]]))
    assert len(ends.lines()) == 30
    assert ends.journal.marks()["receipts"] == ends.receipts.end.dump()
    assert ends.batches.unsettled == 0


def test_a_fault_after_the_receipt_is_repeated_without_a_second_one(ends):
    one, two = ends.indexed(b"a/1"), ends.indexed(b"2")
    real = ends.folders.place
    calls = []

    def refused(moves):
        calls.append(moves)
        if len(calls) < 3:
            real(moves[:1])
            raise ServiceUnavailable("disk", "full")
        return real(moves)

    ends.folders.place = refused
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            ends.release.end([Ending(one), Ending(two)])
        assert ends.batches.unsettled == 2
        assert len(ends.lines()) == 2
    other = ends.indexed(b"3")
    calls += [None] * 3
    ends.release.end([Ending(other)])
    assert "receipts" not in ends.journal.marks(), "two before it are not journaled"
    ends.batches.close_due(idle=True)
    ends.release.end([Ending(one), Ending(two)])
    assert len(ends.lines()) == 3
    assert ends.journal.marks()["receipts"] == ends.receipts.end.dump()
    assert len({job.batch_id for job in ends.journal.newest(9)}) == 1
    assert sorted(tree(ends.root / "processed")) == [b"2", b"3", b"a/1"]


def test_a_failing_file_that_is_repeated_has_one_reason(ends):
    job = ends.indexed(b"x")
    real, tries = ends.receipts.append, []

    def full(*arguments):
        tries.append(1)
        if len(tries) < 3:
            raise ServiceUnavailable("disk", "full")
        return real(*arguments)

    ends.receipts.append = full
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            ends.release.end([failing(job)])
    ends.release.end([failing(job)])
    assert sorted(tree(ends.root / "failed")) == [b"x", b"x.error.json"]


def test_an_end_that_may_not_be_looked_into_is_a_fault_that_passes(open_root):
    code = """
        import sys
        from pathlib import Path
        from endings import Ends
        from zones_helpers import become_nobody
        from dropzone.errors import ServiceUnavailable
        from dropzone.release import Ending
        become_nobody()
        ends = Ends(Path(sys.argv[1]))
        job = ends.indexed(b"dir/x")
        (ends.root / "processed/dir").mkdir()
        for mode in (0o000, 0o444, 0o555):
            (ends.root / "processed/dir").chmod(mode)
            try:
                ends.release.end([Ending(job)])
            except ServiceUnavailable as error:
                assert error.service == "disk"
                assert "Permission denied" in error.message
            else:
                raise AssertionError(oct(mode))
        (ends.root / "processed/dir").chmod(0o755)
        ends.release.end([Ending(job)])
        assert list(ends.payload()) == [("processed", b"dir/x")]
        assert len(ends.lines()) == 1
        ends.close()
        print("done")
    """
    assert python(code, open_root).splitlines()[-1] == "done"


@needs_mounts
def test_a_full_disk_in_the_middle_ends_with_one_receipt_each(tmp_path):
    code = """
        import os, sys
        from pathlib import Path
        from endings import Ends
        from dropzone.errors import ServiceUnavailable
        from dropzone.release import Ending
        from dropzone.verdict import Fail
        ends = Ends(Path(sys.argv[1]) / "zone")
        jobs = [ends.indexed(b"%d/x" % n) for n in range(20)]
        endings = [
            Ending(job, Fail("no", "go") if n % 2 else None)
            for n, job in enumerate(jobs)
        ]
        ballast = os.open(Path(sys.argv[1]) / "ballast", os.O_WRONLY | os.O_CREAT)
        def fill():
            try:
                while os.write(ballast, b"x" * 4096):
                    pass
            except OSError:
                pass
        fill()
        faults = 0
        while True:
            try:
                ends.release.end(endings)
            except ServiceUnavailable as error:
                assert error.service == "disk"
                faults += 1
                # A little room at a time, so that it ends in another place each time.
                os.ftruncate(ballast, os.fstat(ballast).st_size - 4096)
                os.lseek(ballast, 0, os.SEEK_END)
                continue
            break
        assert faults > 2, faults
        assert len(ends.lines()) == 20
        ends.check()
        os.ftruncate(ballast, 0)
        ends.rescue()
        ends.check()
        ends.close()
        print("done")
    """
    mount = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"'
    before = ["unshare", "-m", "sh", "-c", mount, str(tmp_path)]
    assert python(code, tmp_path, before=before).splitlines()[-1] == "done"
