"""Retention removes only what is proven to be stored, and tells of the rest."""

import datetime as dt
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import samples
from daemons import ZoneOfTest, wait_for, with_keys_of, zone_on
from dropzone import config, removals
from dropzone.commands import verifying
from dropzone.embedded import ServiceAddresses
from dropzone.receipts import Position, Receipts
from dropzone.verify import Summary
from servers import copied_database, fresh_bucket, s3_client

# MLflow's own models do what SQLAlchemy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

_ALL_AT_ONCE = "0.00000001"
_MONTH_AGO = 40 * 86_400.0


@pytest.fixture(scope="module")
def processed(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> ZoneOfTest:
    """A zone that processed a few files; nobody changes it."""
    zone = zone_on(tmp_path_factory.mktemp("processed"), services)
    zone.drop("a.txt", b"Alpha words for the first file.")
    zone.drop("papers/b.md", b"# Beta\n\nWords for the second file.")
    zone.drop("copy.txt", b"Alpha words for the first file.")
    zone.drop("c.bin", os.urandom(500))
    zone.drop("empty.txt", b"")
    zone.drop("broken.pdf", samples.encrypted_pdf())
    assert zone.run_once() == 1, zone.log()[-3000:]
    assert len(zone.receipts()) == 6
    return zone


@pytest.fixture
def zone(
    tmp_path: Path, processed: ZoneOfTest, services: ServiceAddresses
) -> Iterator[ZoneOfTest]:
    """A copy of it with a database of its own, on the same bucket."""
    shutil.copytree(processed.base, tmp_path, dirs_exist_ok=True)
    database = copied_database(services, processed.environment["DATABASE_URL"])
    made = ZoneOfTest(tmp_path, {**processed.environment, "DATABASE_URL": database})
    yield made
    made.close()


def clean(zone: ZoneOfTest, *arguments: str, **rules: str) -> dict[str, Any]:
    for name, value in rules.items():
        zone.environment[f"DROPZONE__RETENTION__{name.upper()}"] = value
    done = zone.command("clean", "--json", *arguments)
    tree = json.loads(done.stdout)
    assert "zones" in tree, tree
    (report,) = tree["zones"]
    assert done.returncode == int(bool(report["kept"])), tree
    return dict(report)


def verify(zone: ZoneOfTest, *, deep: bool = False) -> Summary:
    """Verify in this process, which imports MLflow only once."""
    where = json.dumps([{"path": str(zone.root)}])
    environment = {**zone.environment, "DROPZONE__ZONES": where}
    settings = config.load(None, environment).settings
    with with_keys_of(zone):
        (summary,) = verifying.verify(
            settings, deep=deep, repair=False, progress=lambda _done: None
        )
    return summary


def reasons(report: dict[str, Any]) -> dict[str, str]:
    return {kept["path"]: kept["reason"] for kept in report["kept"]}


def test_without_a_rule_nothing_is_removed_and_that_is_said(zone: ZoneOfTest) -> None:
    done = zone.command("clean")
    assert done.returncode == 2
    assert "no rule is set" in done.stderr


def test_what_is_proven_goes_and_everything_still_knows_it(zone: ZoneOfTest) -> None:
    dry = clean(zone, "--dry-run", processed_days=_ALL_AT_ONCE)
    assert dry["files"] == 5
    assert len(zone.files("processed")) == 5
    report = clean(zone)
    assert {left["path"] for left in report["left"]} == {
        left["path"] for left in dry["left"]
    }
    assert {left["rule"] for left in report["left"]} == {"retention.processed_days"}
    assert not zone.files("processed")
    assert not list((zone.root / "processed").iterdir())
    assert len(zone.files("failed")) == 1
    shown = zone.command("show", "papers/b.md").stdout
    assert "by retention.processed_days; S3 has it" in shown
    assert "b.md" in zone.command("search", "second file", "--json").stdout
    # What is dropped afterwards takes the free name, and is no puzzle to verify.
    zone.drop("a.txt", b"Other words under the first name.")
    zone.run_once()
    assert list(zone.files("processed")) == [b"a.txt"]
    summary = verify(zone, deep=True)
    assert summary.problems == []
    assert summary.removed_by_retention == 5
    # The journal is only history: the records of removals tell the same.
    for path in (zone.root / "state").glob("journal.sqlite*"):
        path.unlink()
    zone.run_once()
    assert clean(zone, processed_days="1000")["files"] == 0
    with zone.journal() as journal:
        removed = [job for job in journal.newest(20, status=None) if job.removed_at]
    assert len(removed) == 5
    assert verify(zone).problems == []


def test_what_cannot_be_proven_stays(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    keys = {r["path"]: r["s3_key"] for r in zone.receipts()}
    # A bucket of its own: others are to find theirs whole.
    bucket = fresh_bucket(services)
    client = s3_client(services)
    client.put_object(Bucket=bucket, Key=keys["c.bin"], Body=b"x" * 500)
    client.put_object(Bucket=bucket, Key=keys["a.txt"], Body=b"too short")
    client.put_object(Bucket=bucket, Key=keys["empty.txt"], Body=b"")
    client.close()
    zone.environment["DROPZONE_BUCKET"] = bucket
    zone.execute("UPDATE dropzone.documents SET status = 'empty' WHERE name = 'c.bin'")
    zone.execute("DELETE FROM dropzone.chunks")
    empty = zone.root / "processed" / "empty.txt"
    os.utime(empty, (1, 1))
    report = clean(zone, processed_days=_ALL_AT_ONCE)
    told = reasons(report)
    assert report["files"] == 0
    assert "0 of 1 chunks" in told["processed/a.txt"]
    assert "0 of 1 chunks" in told["processed/copy.txt"]
    assert "0 of 1 chunks" in told["processed/papers/b.md"]
    assert "is empty in Postgres" in told["processed/c.bin"]
    assert "its time" in told["processed/empty.txt"]
    for statement in (
        "UPDATE dropzone.documents SET chunk_count = 0",
        "UPDATE dropzone.documents SET status = 'stored_only' WHERE name = 'c.bin'",
    ):
        zone.execute(statement)
    told = reasons(clean(zone))
    assert "missing in S3" in told["processed/papers/b.md"]
    assert "other bytes in S3" in told["processed/c.bin"]
    assert "has 9 bytes in S3" in told["processed/a.txt"]
    zone.execute("DELETE FROM dropzone.deliveries")
    told = reasons(clean(zone))
    assert set(told.values()) == {"Postgres has no delivery of it"}
    assert len(zone.files("processed")) == 5


def test_a_file_that_a_person_changed_is_never_removed(zone: ZoneOfTest) -> None:
    for name, content in (
        ("a.txt", b"longer words than before, by far"),
        ("c.bin", b""),
    ):
        path = zone.root / "processed" / name
        was = path.stat()
        path.write_bytes(content or os.urandom(500))
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    link = zone.root / "processed" / "copy.txt"
    link.unlink()
    link.symlink_to(zone.root / "processed" / "papers" / "b.md")
    told = reasons(clean(zone, processed_days=_ALL_AT_ONCE))
    assert "size" in told["processed/a.txt"]
    assert "hash" in told["processed/c.bin"]
    assert "link" in told["processed/copy.txt"]
    assert set(os.listdir(zone.root / "processed")) == {"a.txt", "c.bin", "copy.txt"}


def test_bytes_that_were_read_under_another_name_are_proven(zone: ZoneOfTest) -> None:
    blob = b"\x00\xffWords in front of which no text stands.\n" * 20
    for name in ("blob.bin", "blob.txt"):
        zone.drop(name, blob)
        zone.run_once()
    assert zone.outcomes()["blob.bin"] == "stored_only"
    assert zone.outcomes()["blob.txt"] == "indexed"
    report = clean(zone, processed_days=_ALL_AT_ONCE)
    assert not reasons(report)
    assert verify(zone, deep=True).problems == []


def test_by_size_the_oldest_go_first(zone: ZoneOfTest) -> None:
    with zone.journal() as journal:
        done = sorted(
            (job for job in journal.newest(20) if job.outcome != "failed"),
            key=lambda job: job.ended_at or 0,
        )
    # Room for the youngest two, and no more.
    room = sum(job.size for job in done[-2:]) / 1e9
    report = clean(zone, processed_gigabytes=f"{room:.12f}")
    left = [entry["job"] for entry in report["left"]]
    assert left == [job.id for job in done[: len(left)]]
    assert sum(os.path.getsize(zone.root / "processed" / os.fsdecode(name))
               for name in zone.files("processed")) <= room * 1e9  # fmt: skip
    assert zone.files("processed")


def test_failed_files_go_only_when_a_copy_is_left(zone: ZoneOfTest) -> None:
    reason = zone.root / "failed" / "broken.pdf.error.json"
    assert reason.exists()
    told = zone.receipts()
    stored = next(r["s3_key"] for r in told if r["path"] == "broken.pdf")
    report = clean(zone, failed_days=_ALL_AT_ONCE)
    if stored is None:
        assert "last copy" in reasons(report)["failed/broken.pdf"]
        report = clean(zone, failed_last_copy="true")
    assert report["files"] == 1
    assert not reason.exists()
    assert not zone.files("failed")
    assert len(zone.files("processed")) == 5
    assert verify(zone, deep=True).problems == []
    put = zone.command("retry", "--failed")
    assert "No file has failed" in put.stdout
    named = zone.command("retry", "broken.pdf")
    if stored is None:
        assert "was the last copy" in named.stdout
    else:
        assert named.returncode == 0, named.stdout
        (found,) = zone.files("input").items()
        receipt = next(r for r in told if r["path"] == "broken.pdf")
        assert found == (b"broken.pdf", receipt["sha256"])


def age_the_zone(zone: ZoneOfTest) -> str:
    """Make the receipts forty days old, and the ends of the jobs with them."""
    then = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=_MONTH_AGO)
    directory = zone.root / "state" / "receipts"
    (path,) = directory.glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    path.unlink()
    receipts = Receipts(directory)
    list(receipts.recover(Position.load(None)))
    for line in lines:
        del line["chain"]
        line["ended_at"] = f"{then:%Y-%m-%dT%H:%M:%S+00:00}"
    receipts.append(lines, f"{then:%Y-%m}")
    end = receipts.end.dump()
    receipts.close()
    with sqlite3.connect(zone.root / "state" / "journal.sqlite") as connection:
        connection.execute("UPDATE jobs SET ended_at = ended_at - ?", [_MONTH_AGO])
        connection.execute("UPDATE marks SET value = ? WHERE name = 'receipts'", [end])
    zone.execute(
        "UPDATE dropzone.deliveries SET ended_at = ended_at - '40 days'::interval"
    )
    return f"{then:%Y-%m}.jsonl"


def test_old_receipts_and_rows_go_and_the_counts_stay(zone: ZoneOfTest) -> None:
    name = age_the_zone(zone)
    zone.drop("young.txt", b"A young file.")
    assert zone.run_once() == 0, zone.log()[-3000:]
    kept = clean(zone, receipts_days="10", journal_days="10")
    assert "still holds files" in reasons(kept)[f"state/receipts/{name}"]
    assert (kept["months"], kept["rows"]) == (0, 0), kept
    before = json.loads(zone.command("status", "--json").stdout)["zones"][0]["history"]
    rules = {"processed_days": "10", "failed_days": "10", "failed_last_copy": "true"}
    # The ids carry the true time of the claim, so the rows are not a month old.
    report = clean(zone, **rules, journal_days=_ALL_AT_ONCE)
    assert (report["files"], report["months"], report["rows"]) == (6, 1, 6), report
    after = json.loads(zone.command("status", "--json").stdout)["zones"][0]["history"]
    # Nobody can do anything about a file that is gone.
    before |= {"failed": 0, "gone": before["failed"]}
    for name in ("outcomes", "states", "collections", "failed", "gone"):
        assert after[name] == before[name]
    summary = verify(zone, deep=True)
    assert (summary.problems, summary.receipts) == ([], 1)
    # Rows are gone, and the receipts of that month with them; the next month's tell.
    assert zone.command("show", "a.txt").returncode == 1
    with zone.journal() as journal:
        (young,) = journal.newest(10)
    with sqlite3.connect(zone.root / "state" / "journal.sqlite") as connection:
        connection.execute("DELETE FROM jobs")
    told = zone.command("show", "young.txt", "--json")
    assert json.loads(told.stdout)["jobs"][0]["job"]["id"] == young.id
    # The chain goes on where the anchor says, and a change before it would show.
    assert zone.run_once() == 0
    anchor = zone.root / "state" / "receipts" / "anchor.json"
    whole = anchor.read_text()
    tree = json.loads(whole)
    tree["position"][2] = "0" * 64
    anchor.write_text(json.dumps(tree))
    told = verify(zone)
    assert "chain" in told.problems[0].problem


def test_the_daemon_does_it_by_itself(zone: ZoneOfTest) -> None:
    zone.environment |= {
        "DROPZONE__RETENTION__PROCESSED_DAYS": _ALL_AT_ONCE,
        "DROPZONE__RETENTION__EVERY_SECONDS": "0.3",
    }
    assert zone.command("pause").returncode == 0
    daemon = zone.start()
    wait_for(lambda: zone.report().get("paused"), "the daemon knows of the pause")
    assert len(zone.files("processed")) == 5
    assert zone.command("resume").returncode == 0
    wait_for(lambda: not zone.files("processed"), "processed is empty")
    zone.drop("later.txt", b"dropped while the caretaker works")
    zone.wait_for_receipts(7)
    wait_for(lambda: not zone.files("processed"), "the later file went too")
    zone.stop(daemon)
    assert '"event": "cleaned"' in zone.log()
    assert verify(zone, deep=True).problems == []


def test_two_do_not_clean_at_once(zone: ZoneOfTest) -> None:
    with removals.opened(zone.root):
        zone.environment["DROPZONE__RETENTION__PROCESSED_DAYS"] = _ALL_AT_ONCE
        done = zone.command("clean")
    assert done.returncode == 1
    assert "by another process just now" in done.stderr
