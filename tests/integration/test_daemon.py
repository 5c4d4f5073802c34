"""The whole daemon as a process: a dropped file ends where it should."""

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import samples
from daemons import PROMPT, ZoneOfTest, check_invariants, objects, wait_for, zone_on
from dropzone.embedded import ServiceAddresses


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def test_every_format_ends_in_every_place(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    content = {
        "plain.txt": b"The heron waits beside the weir.",
        "papers/note.md": b"# Method\n\nWe counted lions at dusk.\n",
        "papers/deep/er/data.json": b'{"city": "Lisbon", "trams": 28}',
        "table.csv": b"name,height\nOslo,23\nBergen,12\n",
        "page.html": b"<title>Tea</title><p>Steep the oolong twice.</p>",
        "paper.pdf": samples.pdf(["Turbines hum.", "The second page mentions basalt."]),
        "letter.docx": samples.word([("", "Dear quokka, thank you.")]),
        "photo.jpeg": b"\xff\xd8\xff\xe0" + os.urandom(2000),
        "empty.txt": b"",
    }
    hashes = {name: zone.drop(name, data) for name, data in content.items()}
    daemon = zone.start()
    zone.wait_for_ends(len(content))

    outcomes = zone.outcomes()
    assert outcomes.pop("photo.jpeg") == "stored_only"
    assert outcomes.pop("empty.txt") == "empty"
    assert set(outcomes.values()) == {"indexed"}
    assert zone.files("processed") == {n.encode(): sha for n, sha in hashes.items()}
    check_invariants(zone, services, Counter(hashes.values()))
    page = zone.query(
        "SELECT c.page FROM dropzone.chunks c JOIN dropzone.documents d"
        " ON d.id = c.document_id WHERE d.name = 'paper.pdf' AND c.text LIKE %s",
        "%basalt%",
    )
    assert page == [{"page": 2}]
    views = ("document_metadata", "document_embeddings", "document_collections")
    for view in views:
        assert zone.query(f"SELECT * FROM dropzone.{view} LIMIT 1")  # noqa: S608
    assert zone.stop(daemon) < PROMPT


def test_search_finds_a_sentence_and_a_batch_is_one_run(zone: ZoneOfTest) -> None:
    zone.drop("a.txt", b"Glaciers carve fjords slowly.")
    zone.drop("b.txt", b"Volcanoes build islands quickly.")
    assert zone.run_once() == 0
    found = zone.command("search", "glaciers carve", "--json")
    assert found.returncode == 0, found.stderr
    assert "a.txt" in found.stdout.split("b.txt")[0]

    with zone.journal() as journal:
        jobs = journal.newest(10)
        batches = {job.batch_id for job in jobs}
        assert len(batches) == 1
        batch = journal.batch(batches.pop() or "")
    assert batch is not None
    assert batch.state == "logged"
    assert batch.run_id


def test_odd_names_come_through_exactly(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    names = [
        b"line\nbreak.txt",
        b"bad\xff\xfeutf8.txt",
        b"n" * 251 + b".txt",
        b"-rf.txt",
        b" lead and trail .txt ",
        "umlaut-\u00e9.txt".encode(),
        "umlaut-e\u0301.txt".encode(),
        "flip-\u202etxt.exe".encode(),
        b"'; DROP TABLE x; --.txt",
        b"<script>alert(1)</script>.html".replace(b"/", b"_"),
        b"%2e%2e%2f.txt",
        b"odd\xf0dir/inner \x1b[31m.md",
        b"x.pdf/inside.txt",
    ]
    hashes = {name: zone.drop(name, b"text of " + name) for name in names}
    daemon = zone.start()
    zone.wait_for_ends(len(names))
    assert zone.files("processed") == hashes
    paths = {
        bytes(r["path"]) for r in zone.query("SELECT path FROM dropzone.deliveries")
    }
    assert paths == set(names)
    check_invariants(zone, services, Counter(hashes.values()))
    zone.stop(daemon)
    lines = [line for line in zone.log().splitlines() if "component" in line]
    assert all(line.startswith("{") and line.endswith("}") for line in lines)


def test_same_name_and_same_content_again(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    dropped: Counter[str] = Counter()
    daemon = zone.start()
    for number in range(10):
        dropped[zone.drop("report.csv", b"day,value\n1,%d\n" % number)] += 1
        wait_for(lambda: not zone.files("input"), "the file is taken")
    for name in ("one.txt", "two.txt", "three.txt"):
        dropped[zone.drop(name, b"the same words in three files")] += 1
    zone.wait_for_ends(13)
    zone.stop(daemon)
    check_invariants(zone, services, dropped)
    assert len(objects(zone, services)) == 11
    assert Counter(r["outcome"] for r in zone.receipts()) == {
        "indexed": 11,
        "duplicate": 2,
    }
    # Only the newest content of a path is found; the older stay in the table.
    rows = zone.query(
        "SELECT superseded FROM dropzone.documents WHERE name = %s", "report.csv"
    )
    assert sorted(row["superseded"] for row in rows) == [False] + [True] * 9


def test_what_is_no_plain_file_is_refused_and_shown(zone: ZoneOfTest) -> None:
    secret = zone.base / "secret"
    secret.write_text("not for the zone")
    (zone.input / "link.txt").symlink_to(secret)
    (zone.input / "loop").symlink_to(zone.input)
    os.mkfifo(zone.input / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(zone.input):
        server.bind("socket.txt")
    (zone.input / "hard.txt").write_text("two names")
    (zone.input / "other.txt").hardlink_to(zone.input / "hard.txt")
    zone.drop("good.txt", b"goes through")
    daemon = zone.start()
    wait_for(lambda: b"good.txt" in zone.files("processed"), "the good file ends")
    with zone.journal() as journal:
        found = wait_for(
            lambda: len(journal.findings()) >= 6 and journal.findings(), "findings"
        )
    refused = {finding.path: finding.reason for finding in found}
    assert set(refused) == {
        b"link.txt", b"loop", b"pipe.txt", b"socket.txt", b"hard.txt", b"other.txt",
    }  # fmt: skip
    shown = zone.command("status")
    assert "symbolic link" in shown.stdout
    assert len(list(zone.input.iterdir())) == 6

    (zone.input / "other.txt").unlink()
    (zone.input / "link.txt").unlink()
    zone.drop("wake.txt", b"an event")
    zone.stop(daemon)
    daemon = zone.start()
    wait_for(lambda: b"hard.txt" in zone.files("processed"), "one name is enough")
    zone.stop(daemon)


def test_a_broken_file_fails_with_its_reason_and_can_come_back(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    locked = samples.encrypted_pdf()
    dropped = Counter([zone.drop("papers/locked.pdf", locked)])
    daemon = zone.start()
    zone.wait_for_ends(1)
    reason = wait_for(
        lambda: list((zone.root / "failed").rglob("*.error.json")), "the reason"
    )[0]
    assert reason.name == "locked.pdf.error.json"
    assert "password" in reason.read_text()
    check_invariants(zone, services, dropped)

    os.rename(zone.root / "failed/papers/locked.pdf", zone.input / "again.pdf")
    zone.wait_for_ends(2)
    wait_for(lambda: b"again.pdf" in zone.files("failed"), "it lies in failed/")
    assert not reason.exists()
    with zone.journal() as journal:
        wait_for(
            lambda: journal.counts().failed == 1, "the journal knows that it ended"
        )
        newest, oldest = journal.newest(2)
        assert newest.metadata["retry_of"] == oldest.id
    zone.stop(daemon)


def test_a_file_is_not_taken_while_somebody_writes(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    with (zone.input / "growing.txt").open("wb") as file:
        for number in range(6):
            file.write(b"part %d of a slow producer\n" % number)
            file.flush()
            # Longer than the quiet time, so only the open descriptor holds it back.
            with pytest.raises(AssertionError):
                wait_for(zone.receipts, "nothing", 0.4)
    zone.wait_for_ends(1)
    sha = zone.receipts()[0]["sha256"]
    assert zone.files("processed") == {b"growing.txt": sha}
    assert zone.receipts()[0]["size"] == 6 * 26
    zone.stop(daemon)


def test_folders_moved_and_made_at_once_are_found(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    tree = zone.base / "tree"
    for number in range(20):
        folder = tree / f"a{number % 3}" / f"b{number}"
        folder.mkdir(parents=True)
        (folder / "f.txt").write_bytes(b"moved %d" % number)
    os.rename(tree, zone.input / "tree")
    for number in range(50):
        zone.drop(f"n{number}/x/y/f.txt", b"made %d" % number)
    zone.wait_for_ends(70)
    zone.stop(daemon)
    assert Counter(r["collection"] for r in zone.receipts())["tree"] == 20


def test_a_second_daemon_is_refused(zone: ZoneOfTest) -> None:
    daemon = zone.start()
    second = zone.command("run")
    assert second.returncode == 1
    assert str(daemon.pid) in second.stderr
    assert "Traceback" not in second.stderr
    zone.stop(daemon)


def test_nothing_is_processed_twice_after_a_restart(zone: ZoneOfTest) -> None:
    zone.drop("a.txt", b"once")
    assert zone.run_once() == 0
    before = zone.receipts()
    assert zone.run_once() == 0
    assert zone.receipts() == before


def test_once_exits_1_when_a_file_failed(zone: ZoneOfTest) -> None:
    zone.drop("broken.pdf", b"%PDF-1.4 this is not one")
    assert zone.run_once() == 1
    assert zone.outcomes() == {"broken.pdf": "failed"}


def test_text_over_the_limit_is_kept_and_said(zone: ZoneOfTest) -> None:
    zone.environment["DROPZONE__LIMITS__TEXT_MEGABYTES"] = "0.01"
    zone.drop("long.txt", b"many words " * 2000)
    assert zone.run_once() == 0
    receipt = zone.receipts()[0]
    assert receipt["outcome"] == "stored_only"
    assert receipt["notes"] == ["over_text_limit"]


def test_a_large_file_goes_in_parts(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    sha = zone.drop("large.bin", os.urandom(40 << 20))
    assert zone.run_once() == 0
    assert list(objects(zone, services).values()) == [sha]
    check_invariants(zone, services, {sha: 1})


def test_text_that_postgres_refuses_is_cleaned(zone: ZoneOfTest) -> None:
    zone.drop("nul.json", b'{"a\\u0000b": "before\\u0000after \\ud800 lone surrogate"}')
    for number in range(20):
        zone.drop(f"good{number}.txt", b"good %d" % number)
    assert zone.run_once() == 0
    assert set(zone.outcomes().values()) == {"indexed"}
