"""`dropzone verify` sees what does not fit, and mends what can be mended."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import samples
from daemons import ZoneOfTest, objects, with_keys_of, zone_on
from dropzone import config
from dropzone.commands import verifying
from dropzone.embedded import ServiceAddresses
from dropzone.sessions import MlflowSettings
from dropzone.sessions.mlflow import MlflowSession
from dropzone.uploads.record import Wanted
from dropzone.uploads.shelf import Shelf
from dropzone.verify import Problem
from servers import s3_client

# MLflow's own models do what SQLAlchemy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[ZoneOfTest]:
    """A zone that processed a few files, and is whole before and after each test."""
    zone = zone_on(tmp_path_factory.mktemp("verify"), services)
    zone.drop("a.txt", b"Alpha words for the first file.")
    zone.drop("papers/b.md", b"# Beta\n\nWords for the second file.")
    zone.drop("copy.txt", b"Alpha words for the first file.")
    zone.drop("c.bin", os.urandom(500))
    zone.drop("broken.pdf", samples.encrypted_pdf())
    assert zone.run_once() == 1
    # What is still being uploaded is nobody's file yet.
    Shelf(zone.root).begin(Wanted("dora", b"papers/d.txt", 10))
    yield zone
    zone.close()


@pytest.fixture
def zone(served: ZoneOfTest) -> Iterator[ZoneOfTest]:
    assert verify(served) == (0, [])
    yield served
    assert verify(served) == (0, [])


def verify(
    zone: ZoneOfTest, *, deep: bool = False, repair: bool = False
) -> tuple[int, list[Problem]]:
    """Return the exit code of the command and the problems it would print."""
    where = json.dumps([{"path": str(zone.root)}])
    settings = config.load(
        None, {**zone.environment, "DROPZONE__ZONES": where}
    ).settings
    with with_keys_of(zone):
        (summary,) = verifying.verify(
            settings, deep=deep, repair=repair, progress=lambda _done: None
        )
    return int(bool(summary.problems)), summary.problems


def check_mends(zone: ZoneOfTest, word: str, *, deep: bool = False) -> None:
    """Check that verify finds one kind of problem, and that --repair mends it."""
    code, problems = verify(zone, deep=deep)
    assert code == 1
    assert all(word in problem.problem for problem in problems), problems
    assert all(problem.command for problem in problems)
    assert verify(zone, deep=deep, repair=True) == (0, [])


def key_of(zone: ZoneOfTest, path: str) -> str:
    return next(r["s3_key"] for r in zone.receipts() if r["path"] == path)


def test_deep_reads_everything(zone: ZoneOfTest) -> None:
    assert verify(zone, deep=True) == (0, [])


def test_an_object_that_is_gone(zone: ZoneOfTest, services: ServiceAddresses) -> None:
    key = key_of(zone, "papers/b.md")
    delete_object(zone, services, key)
    code, problems = verify(zone)
    assert code == 1
    assert {problem.subject for problem in problems} == {key}
    assert verify(zone, repair=True) == (0, [])
    assert key in objects(zone, services)


def test_an_object_that_was_cut(zone: ZoneOfTest, services: ServiceAddresses) -> None:
    put_object(zone, services, key_of(zone, "c.bin"), b"short")
    check_mends(zone, "bytes in S3 instead of")


def test_an_object_with_other_bytes(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    put_object(zone, services, key_of(zone, "c.bin"), b"x" * 500)
    assert verify(zone) == (0, [])
    check_mends(zone, "other bytes in S3", deep=True)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("DELETE FROM dropzone.chunks WHERE document_id = {}", "chunks"),
        ("DELETE FROM dropzone.embeddings WHERE document_id = {}", "vectors"),
        (
            "UPDATE dropzone.embeddings SET embedding = '[1,2]' WHERE document_id = {}",
            "vectors",
        ),
        (
            "UPDATE dropzone.documents SET superseded = true WHERE id = {}",
            "is shown in searches although",
        ),
        ("DELETE FROM dropzone.deliveries WHERE document_id = {}", "no delivery"),
        (
            "UPDATE dropzone.deliveries SET outcome = 'empty' WHERE document_id = {}",
            "Postgres says empty",
        ),
        (
            "UPDATE dropzone.deliveries SET document_id = NULL WHERE document_id = {}",
            "document is gone",
        ),
    ],
)
def test_rows_of_a_document_that_changed(
    zone: ZoneOfTest, damage: str, word: str
) -> None:
    (row,) = zone.query("SELECT id FROM dropzone.documents WHERE name = 'b.md'")
    zone.execute(damage.format(row["id"]))
    check_mends(zone, word)
    found = zone.command("search", "second file", "--json")
    assert "b.md" in found.stdout


def test_all_documents_lost(zone: ZoneOfTest) -> None:
    zone.execute(
        "TRUNCATE dropzone.documents, dropzone.deliveries, dropzone.paths CASCADE"
    )
    code, problems = verify(zone)
    assert code == 1
    assert len(problems) == len(zone.receipts())
    assert verify(zone, repair=True)[1] == []


def test_a_file_that_was_changed_is_told(zone: ZoneOfTest) -> None:
    path = zone.root / "processed" / "a.txt"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"Alpha", b"OMEGA"))
    assert verify(zone) == (0, [])
    code, problems = verify(zone, deep=True)
    path.write_bytes(whole)
    assert code == 1
    assert "changed afterwards" in problems[0].problem


def test_a_file_that_was_archived_is_no_problem(zone: ZoneOfTest) -> None:
    path = zone.root / "processed" / "a.txt"
    aside = zone.base / "archived.txt"
    path.rename(aside)
    assert verify(zone) == (0, [])
    aside.rename(path)


def test_a_stranger_in_processed_is_told(zone: ZoneOfTest) -> None:
    stranger = zone.root / "processed" / "papers" / "stranger.txt"
    stranger.write_text("not ours")
    code, problems = verify(zone)
    stranger.unlink()
    assert code == 1
    assert "no receipt" in problems[0].problem


def with_line(change: Callable[[list[bytes]], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        change(lines)
        path.write_bytes(b"".join(lines))

    return damage


def forge(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"attempts": ', b'"attempts": 9')


@pytest.mark.parametrize(
    "damage",
    [with_line(forge), with_line(lambda lines: lines.pop(1))],
    ids=["changed", "removed"],
)
def test_receipts_that_were_tampered_with(
    zone: ZoneOfTest, damage: Callable[[Path], None]
) -> None:
    (path,) = (zone.root / "state" / "receipts").glob("*.jsonl")
    whole = path.read_bytes()
    damage(path)
    code, problems = verify(zone)
    path.write_bytes(whole)
    assert code == 1
    assert "chain" in problems[0].problem


def test_a_run_that_is_missing(zone: ZoneOfTest) -> None:
    session = tracking(zone)
    for batch in {receipt["batch"] for receipt in zone.receipts()}:
        session.discard(batch)
    check_mends(zone, "no run")


def test_a_run_that_is_doubled_or_never_ended(zone: ZoneOfTest) -> None:
    session = tracking(zone)
    batch = zone.receipts()[0]["batch"]
    experiment = session.ensure_experiment()
    session.client.create_run(experiment, tags={"dropzone.batch": batch})
    check_mends(zone, "2 runs")
    session.discard(batch)
    session.client.create_run(experiment, tags={"dropzone.batch": batch})
    check_mends(zone, "RUNNING")


def test_what_waits_in_work_is_finished_by_the_next_start(zone: ZoneOfTest) -> None:
    job = "01a1fb97-befc-7000-8a18-a6ada20ffb82"
    folder = zone.root / "state" / "work" / job
    folder.mkdir()
    (folder / "left.txt").write_text("left behind by a crash")
    code, problems = verify(zone)
    assert code == 1
    assert "no daemon runs" in problems[0].problem
    zone.run_once()


def test_the_command_tells_and_exits(zone: ZoneOfTest) -> None:
    fine = zone.command("verify")
    assert fine.returncode == 0
    assert "Nothing is lost" in fine.stdout
    stranger = zone.root / "processed" / "stranger.txt"
    stranger.write_text("not ours")
    told = zone.command("verify", "--json")
    stranger.unlink()
    assert told.returncode == 1
    (problem,) = json.loads(told.stdout)["zones"][0]["problems"]
    assert problem["subject"] == "processed/stranger.txt"


def test_a_service_that_is_down_proves_nothing(zone: ZoneOfTest) -> None:
    known = zone.environment["AWS_ENDPOINT_URL_S3"]
    zone.environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    zone.environment["DROPZONE__RETRY__CALL_SECONDS"] = "0.3"
    done = zone.command("verify")
    zone.environment["AWS_ENDPOINT_URL_S3"] = known
    del zone.environment["DROPZONE__RETRY__CALL_SECONDS"]
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def tracking(zone: ZoneOfTest) -> MlflowSession:
    return MlflowSession(MlflowSettings(zone.root / "state" / "mlflow"))


def delete_object(zone: ZoneOfTest, services: ServiceAddresses, key: str) -> None:
    client = s3_client(services)
    client.delete_object(Bucket=zone.environment["DROPZONE_BUCKET"], Key=key)
    client.close()


def put_object(
    zone: ZoneOfTest, services: ServiceAddresses, key: str, body: bytes
) -> None:
    client = s3_client(services)
    client.put_object(Bucket=zone.environment["DROPZONE_BUCKET"], Key=key, Body=body)
    client.close()
