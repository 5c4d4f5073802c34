"""What former versions left is opened and brought up; what newer ones left is refused.

``tests/upgrade/zone-of-f38a022.tar.xz`` is a zone that commit f38a022 served, the last
one with schema 1 of the journal: its folders, ``postgres.sql`` (by pg_dump), and the
objects of its bucket. Its README tells how it was made.
"""

import json
import sqlite3
import tarfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import psycopg  # noqa: TID251 a client of the test's own
import pytest

from daemons import DEADLINE, ZoneOfTest, zone_on
from dropzone.embedded import ServiceAddresses
from dropzone.journal import Journal, Wanted, copying, schema
from dropzone.receipts import Position, Receipts
from servers import s3_client

_SAMPLE = Path(__file__).parent.parent / "upgrade" / "zone-of-f38a022.tar.xz"


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    """The zone of the former version, on servers that hold what it stored."""
    zone = zone_on(tmp_path, services)
    with tarfile.open(_SAMPLE) as packed:
        packed.extractall(zone.root, filter="data")
    with psycopg.connect(zone.environment["DATABASE_URL"]) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute((zone.root / "postgres.sql").read_bytes())
    client = s3_client(services)
    bucket = zone.environment["DROPZONE_BUCKET"]
    for path in (zone.root / "objects").rglob("*"):
        if path.is_file():
            key = str(path.relative_to(zone.root / "objects"))
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    client.close()
    store = zone.root / "state" / "mlflow"
    places = (("experiments", "artifact_location"), ("runs", "artifact_uri"))
    copying.move_texts(
        store / "mlflow.db", places, "file:///srv/zone/state/mlflow", store.as_uri()
    )
    yield zone
    zone.close()


def version_of(zone: ZoneOfTest) -> int:
    with sqlite3.connect(zone.root / "state" / "journal.sqlite") as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_zone_of_the_former_version_goes_on(zone: ZoneOfTest) -> None:
    assert version_of(zone) == 1
    told = zone.command("status")
    assert told.returncode == 1
    assert "older dropzone" in told.stderr
    assert "dropzone run" in told.stderr
    zone.drop("new.txt", b"A heron arrives with the new version.")
    assert zone.run_once() == 0, zone.log()[-2000:]
    assert version_of(zone) == schema.VERSION
    assert len(zone.receipts()) == 7
    done = zone.command("verify", "--deep", "--json")
    (summary,) = json.loads(done.stdout)["zones"]
    assert summary["problems"] == []
    assert (summary["receipts"], summary["runs"]) == (7, 2)
    hits = zone.command("search", "lighthouse keeper", "--json").stdout
    assert "letter.txt" in hits or "again.txt" in hits
    # What the former version stored may go like anything else.
    zone.environment["DROPZONE__RETENTION__PROCESSED_DAYS"] = "0.00000001"
    (report,) = json.loads(zone.command("clean", "--json").stdout)["zones"]
    assert (report["files"], report["kept"]) == (6, [])


def test_a_journal_is_brought_up_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with tarfile.open(_SAMPLE) as packed:
        member = packed.extractfile("./state/journal.sqlite")
        assert member is not None
        path.write_bytes(member.read())
    with sqlite3.connect(path) as connection:
        # The last statement of the way to schema 2 fails here.
        connection.execute("CREATE TABLE dropped (x)")
    with pytest.raises(Exception, match="dropped"):
        Journal(path)
    with sqlite3.connect(path) as connection:
        columns = connection.execute("SELECT name FROM pragma_table_info('jobs')")
        assert ("removed_at",) not in columns.fetchall()
        connection.execute("DROP TABLE dropped")
    journal = Journal(path)
    assert len(journal.newest(10)) == 6
    journal.close()


def test_names_of_an_older_journal_are_found_in_whatever_unicode_form(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.sqlite"
    with tarfile.open(_SAMPLE) as packed:
        member = packed.extractfile("./state/journal.sqlite")
        assert member is not None
        path.write_bytes(member.read())
    apart = unicodedata.normalize("NFD", "Öl/Übersicht.txt").encode()
    with sqlite3.connect(path) as connection:
        (first,) = connection.execute("SELECT min(id) FROM jobs").fetchone()
        connection.execute("UPDATE jobs SET path = ? WHERE id = ?", (apart, first))
    journal = Journal(path)
    (found,) = journal.listed(Wanted(text="öl/übersicht"), 10)
    assert (found.id, found.path) == (first, apart)
    journal.close()


def refused(zone: ZoneOfTest, word: str) -> None:
    """Check that a start says so in one sentence, and ends with 2."""
    process = zone.launch("--once")
    assert process.wait(DEADLINE) == 2
    log = zone.log()
    assert word in log
    assert "newer" in log
    assert "Traceback" not in log, [x for x in log.splitlines() if "Trace" in x]


def test_newer_data_is_refused_with_exit_code_2(zone: ZoneOfTest) -> None:
    zone.execute("INSERT INTO dropzone.migrations VALUES (999, 'of_the_future.sql')")
    zone.drop("new.txt", b"A file that waits for a newer version.")
    refused(zone, "schema version 999")
    (zone.base / "daemon.log").unlink()
    receipts = Receipts(zone.root / "state" / "receipts")
    list(receipts.recover(Position.load(None)))
    receipts.append([{"job": "1", "format": 2}], "2026-11")
    receipts.close()
    refused(zone, "format 2")
    with sqlite3.connect(zone.root / "state" / "journal.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    (zone.base / "daemon.log").unlink()
    refused(zone, f"schema {schema.VERSION + 1}")
    told = zone.command("status")
    assert (told.returncode, "newer dropzone" in told.stderr) == (2, True)
    doctor = zone.command("doctor")
    assert doctor.returncode == 1
    assert "newer dropzone" in doctor.stdout
    assert "999" in doctor.stdout
