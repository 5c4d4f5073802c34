"""The commands as processes, beside a running daemon and without one."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import samples
from daemons import DEADLINE, ZoneOfTest, wait_for, zone_on
from dropzone.embedded import ServiceAddresses


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[ZoneOfTest]:
    """One zone with a running daemon for all tests that do not stop it."""
    zone = zone_on(tmp_path_factory.mktemp("served"), services)
    daemon = zone.start()
    yield zone
    zone.stop(daemon)


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def told(zone: ZoneOfTest, *arguments: str, code: int = 0) -> Any:
    """Return the JSON that a command prints."""
    done = zone.command(*arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def refused(zone: ZoneOfTest, *arguments: str, code: int = 2) -> str:
    """Return the sentence that a command ends with."""
    done = zone.command(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert not done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_add_waits_and_show_search_and_jobs_know_the_file(
    served: ZoneOfTest, tmp_path: Path
) -> None:
    folder = tmp_path / "zoology"
    folder.mkdir()
    (folder / "axolotl.pdf").write_bytes(
        samples.pdf(["Nothing here.", "The axolotl regrows its limbs."])
    )
    (folder / "photo.jpeg").write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(500))
    result = told(served, "add", str(folder), "--wait")
    assert {
        end["placed"]["path"]: end["job"]["outcome"] for end in result["ended"]
    } == {"zoology/axolotl.pdf": "indexed", "zoology/photo.jpeg": "stored_only"}

    (found,) = told(served, "show", "axolotl.pdf")["jobs"]
    job = found["job"]
    assert found["lies_in"] == str(served.root / "processed/zoology/axolotl.pdf")
    assert found["receipt"]["job"] == job["id"]
    for words in (
        job["id"], job["id"][-12:], job["sha256"], "zoology/axolotl.pdf",
        found["lies_in"], "drop_zones/processed/zoology/axolotl.pdf",
    ):  # fmt: skip
        (same,) = told(served, "show", words)["jobs"]
        assert same["job"]["id"] == job["id"], words

    (hit,) = told(served, "search", "axolotl limbs", "-c", "zoology")["hits"]
    assert (hit["name"], hit["page"]) == ("axolotl.pdf", 2)
    start, end = hit["marks"][0]
    assert hit["snippet"][start:end] == "axolotl"
    assert "axolotl" in served.command("search", "axolotl").stdout
    told(served, "search", "axolotl", "-c", "botany", code=1)
    listed = told(served, "jobs", "-n", "500", "--state", "stored_only")["jobs"]
    assert "zoology/photo.jpeg" in {row["path"] for row in listed}


def test_hostile_names_go_in_and_are_found(served: ZoneOfTest, tmp_path: Path) -> None:
    name = os.fsdecode(b"a\nb\x1b[31m\xff.txt")
    (tmp_path / name).write_text("the vole hides")
    (tmp_path / ("l" * 251 + ".txt")).write_text("the long vole hides")
    paths = [str(tmp_path / name), str(tmp_path / ("l" * 251 + ".txt"))]
    done = served.command("add", *paths, "-c", "voles", "--wait")
    assert done.returncode == 0, done.stderr
    assert "voles/a\\nb\\x1b[31m\\xff.txt" in done.stdout
    shown = served.command("show", os.fsdecode(b"voles/a\nb\x1b[31m\xff.txt"))
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    # Nobody knows when it was dropped.
    assert re.search(r"^taken +\d", shown.stdout, re.MULTILINE)
    assert "dropped" not in shown.stdout


def test_a_failed_file_is_put_back_by_the_command(
    served: ZoneOfTest, tmp_path: Path
) -> None:
    (tmp_path / "locked.pdf").write_bytes(samples.encrypted_pdf())
    command = ["add", str(tmp_path), "--metadata", "owner=Charles", "--wait"]
    (end,) = told(served, *command, code=1)["ended"]
    path, job = end["placed"]["path"], end["job"]["id"]
    reason = served.root / "failed" / f"{path}.error.json"
    assert "password" in json.loads(reason.read_text())["reason"]
    assert "password" in served.command("show", str(reason)).stdout

    (back,) = told(served, "retry", job[-12:])["put_back"]
    assert back["path"] == path

    def both() -> list[Any] | None:
        jobs = told(served, "show", path)["jobs"]
        ended = len(jobs) == 2 and jobs[0]["job"]["outcome"] == "failed"
        return jobs if ended else None

    newer, older = wait_for(both, "the file fails again")
    given = {"owner": "Charles"}
    assert newer["job"]["metadata"] == {"retry_of": job, "given": given}
    assert older["job"]["data"]["retried_as"] == newer["job"]["id"]
    assert older["lies_in"] is None
    again = told(served, "retry", job, code=1)
    assert "put back already" in again["put_back"][0]["problem"]
    assert "no such job" in told(served, "retry", "nothing", code=1)["put_back"][0][
        "problem"
    ]  # fmt: skip


def test_metadata_given_to_a_file_is_kept_shown_and_found(
    served: ZoneOfTest, tmp_path: Path
) -> None:
    file = tmp_path / "engine.txt"
    file.write_text("the analytical engine weaves algebraic patterns")
    named = ["--metadata", "author=Ada", "--metadata", "note=a=b"]
    told(served, "add", str(file), *named, "--wait")
    (found,) = told(served, "show", "engine.txt")["jobs"]
    told_of_it = {"author": "Ada", "note": "a=b"}
    assert found["job"]["metadata"]["given"] == told_of_it
    assert found["receipt"]["given"] == told_of_it
    assert "author: Ada" in served.command("show", "engine.txt").stdout
    # Another drop of the same content says more of it; its own job only what is new.
    result = told(served, "add", str(file), "--metadata", "year=1843", "--wait")
    (again,) = (end["job"] for end in result["ended"])
    assert again["outcome"] == "duplicate"
    assert again["metadata"]["given"] == {"year": "1843"}
    (hit,) = told(served, "search", "analytical engine")["hits"]
    assert hit["given"] == {**told_of_it, "year": "1843"}
    assert "has no =" in refused(served, "add", str(file), "--metadata", "author")


def test_status_tells_counts_and_what_is_refused(served: ZoneOfTest) -> None:
    (served.input / "link.txt").symlink_to("/etc/hostname")
    os.mkfifo(served.input / "pipe")

    def refusals() -> dict[str, str]:
        (status,) = told(served, "status")["zones"]
        return {row["path"]: row["reason"] for row in status["history"]["refused"]}

    wait_for(lambda: refusals().keys() >= {"link.txt", "pipe"}, "both are refused")
    done = served.command("status")
    assert done.returncode == 0
    assert "Running" in done.stdout
    assert "is a symbolic link" in done.stdout
    (lying,) = told(served, "show", "pipe")["in_input"]
    assert (lying["state"], lying["reason"]) == ("refused", "is a named pipe")
    (served.input / "unfinished.tmp").write_bytes(b"")
    (lying,) = told(served, "show", str(served.input / "unfinished.tmp"))["in_input"]
    assert lying["state"] == "ignored"


def test_without_a_daemon_commands_say_so_and_files_wait(
    zone: ZoneOfTest, tmp_path: Path
) -> None:
    (tmp_path / "note.md").write_text("# Owls\n\nThe owl waits.\n")
    note = str(tmp_path / "note.md")
    (status,) = told(zone, "status", code=1)["zones"]
    assert (status["served"], status["pid"]) == (False, None)
    assert "dropzone run" in refused(zone, "jobs", code=1)
    assert "dropzone run" in refused(zone, "add", note, "--wait", code=1)
    told(zone, "show", "note.md", code=1)

    assert "No daemon is running" in zone.command("add", note, note).stdout
    (status,) = told(zone, "status", code=1)["zones"]
    assert status["waiting_in_input"] == 2
    (lying,) = told(zone, "show", "note~2.md")["in_input"]
    assert lying["state"] == "waiting"
    assert zone.run_once() == 0
    outcomes = zone.outcomes()
    assert outcomes.keys() == {"note.md", "note~2.md"}
    assert sorted(outcomes.values()) == ["duplicate", "indexed"]
    assert zone.command("retry", "--failed").stdout == "No file has failed.\n"


def test_a_killed_add_leaves_nothing_in_input(zone: ZoneOfTest, tmp_path: Path) -> None:
    # Longer than the pipe to it can be filled before we kill.
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate(8 << 30)
    incoming = zone.root / "state" / "incoming"
    command = [sys.executable, "-m", "dropzone", "add", str(big)]
    with subprocess.Popen(command, cwd=zone.base, env=zone.environment) as process:
        wait_for(lambda: list(incoming.glob("add-*/*")), "the copy begins")
        process.kill()
    assert not list(zone.input.iterdir())
    assert zone.command("add", __file__).returncode == 0
    assert not list(incoming.iterdir())
    assert [path.name for path in zone.input.iterdir()] == ["test_cli.py"]


def test_wrong_use_is_told_in_a_sentence(served: ZoneOfTest, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"")
    here = str(tmp_path)
    assert "hidden and temporary" in refused(served, "add", f"{here}/x.part")
    assert "No such file" in refused(served, "add", f"{here}/nothing")
    assert "no name for a collection" in refused(served, "add", here, "-c", "a/b")
    assert "There is no zone" in refused(served, "add", here, "--zone", "other")
    assert "Name the jobs" in refused(served, "retry")
    assert "There is no state" in refused(served, "jobs", "--state", "gone")
    assert "The query is empty" in refused(served, "search", " ")
    assert "no configuration file" in refused(served, "status", "--config", "gone")
    error = told(served, "jobs", "--state", "gone", code=2)
    assert error["what_to_do"].startswith("Known: ")
    assert refused(served, "frobnicate")


def test_configuration_is_checked_and_shown(zone: ZoneOfTest) -> None:
    file = zone.base / "other.yaml"
    file.write_text(
        "aws:\n  regoin: x\n  prefix: docs/\nlimits:\n  stop_seconds: soon\n"
    )
    sentence = refused(zone, "config", "check", "--config", str(file))
    assert "did you mean 'region'?" in sentence
    assert "limits.stop_seconds" in sentence
    assert str(file) in sentence
    file.write_text("aws:\n  prefix: docs/\n")
    assert zone.command("config", "check", "--config", str(file)).returncode == 0
    shown = told(zone, "config", "show", "--config", str(file))["settings"]
    values = {row["key"]: (row["value"], row["origin"]) for row in shown}
    assert values["aws.prefix"] == ("docs/", str(file))
    assert values["aws.region"] == ("us-east-1", "default")
    assert values["postgres.url"] == ("********", "environment variable DATABASE_URL")


def test_doctor_finds_everything_in_order(served: ZoneOfTest) -> None:
    findings = told(served, "doctor")["findings"]
    verdicts = {row["checked"]: row["verdict"] for row in findings}
    for checked in ("S3", "Postgres", "Postgres schema", "MLflow", "zone default"):
        assert verdicts[checked] == "ok", findings
    assert not list(served.root.rglob(".doctor-*"))
    store = served.root / "state" / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(store)) as database:
        database.execute(
            "CREATE TRIGGER closed BEFORE UPDATE ON experiment_tags "
            "BEGIN SELECT RAISE(ABORT, 'this store is closed'); END"
        )
        shown = served.command("doctor").stdout
        database.execute("DROP TRIGGER closed")
    assert "S3" in shown
    assert "takes nothing" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_daemon_that_is_stopped_ends_with_zero(
    zone: ZoneOfTest, number: signal.Signals
) -> None:
    daemon = zone.start()
    daemon.send_signal(number)
    assert daemon.wait(DEADLINE) == 0


def test_a_journal_that_is_being_made_or_damaged_is_told(zone: ZoneOfTest) -> None:
    journal = zone.root / "state" / "journal.sqlite"
    journal.parent.mkdir(exist_ok=True)
    journal.write_bytes(b"")
    assert "being made just now" in refused(zone, "status", code=1)
    journal.write_bytes(os.urandom(4096))
    assert "damaged" in refused(zone, "jobs", code=1)


def test_wait_ends_with_the_daemon(zone: ZoneOfTest, tmp_path: Path) -> None:
    # Without its S3 nothing can end.
    zone.environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    zone.environment["DROPZONE__RETRY__CALL_SECONDS"] = "0.1"
    daemon = zone.start()
    (tmp_path / "note.txt").write_text("patience")
    command = [sys.executable, "-m", "dropzone", "add", "--wait"]
    with subprocess.Popen(
        [*command, str(tmp_path / "note.txt")],
        cwd=zone.base,
        env=zone.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        wait_for(lambda: zone.report().get("paused"), "the store step is paused")
        (status,) = told(zone, "status", code=1)["zones"]
        assert status["paused"][0]["service"] == "s3"
        assert "Paused" in zone.command("status").stdout
        zone.stop(daemon)
        _, said = waiting.communicate(timeout=DEADLINE)
    assert waiting.returncode == 1
    assert "The daemon stopped before 1 of the files had ended." in said


def test_help_needs_no_heavy_import(served: ZoneOfTest) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['dropzone', '--help']\n"
        "from dropzone.cli import main\n"
        "try: main()\n"
        "finally: print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=served.environment,
    )
    heavy = {"pydantic", "yaml", "boto3", "psycopg", "mlflow", "numpy", "watchdog"}
    assert "Drop a file" in done.stdout
    assert not heavy & set(done.stdout.splitlines()[-1].split())


def test_each_command_explains_itself(served: ZoneOfTest) -> None:
    assert re.match(r"dropzone \d", served.command("--version").stdout)
    listing = served.command("--help").stdout
    for name in ("run", "add", "status", "jobs", "show", "retry", "search", "doctor"):
        assert name in listing
    assert "Usage:" in served.command().stdout


def test_completion_offers_jobs_and_collections(
    served: ZoneOfTest, tmp_path: Path
) -> None:
    (tmp_path / "tern.txt").write_text("the arctic tern")
    result = told(served, "add", str(tmp_path / "tern.txt"), "-c", "terns", "--wait")
    job = result["ended"][0]["job"]["id"]

    def offered(line: str) -> str:
        shell = {
            "_DROPZONE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split())),
        }
        done = subprocess.run(
            [sys.executable, "-m", "dropzone"],
            capture_output=True,
            text=True,
            check=False,
            cwd=served.base,
            env={**served.environment, **shell},
        )
        return done.stdout

    assert job[-12:] in offered("dropzone show ").split()
    assert "terns" in offered("dropzone search x -c ").split()
    assert "duplicate" in offered("dropzone jobs --state ").split()
