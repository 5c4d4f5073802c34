"""Files that change while they are dropped or taken: one whole version, as recorded."""

import hashlib
import mmap
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemons import ZoneOfTest, check_invariants, objects, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from outages import behind_proxies

QUIET = 0.2
# Longer than the quiet time, so only what else is known of the writer holds it back.
PAUSE = 3 * QUIET
HOOKS = Path(__file__).parents[1] / "poison"


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


def wait() -> None:
    threading.Event().wait(PAUSE)


def append_with_pauses(path: Path) -> None:
    with path.open("wb") as file:
        for number in range(4):
            file.write(b"appended part %d\n" % number)
            file.flush()
            wait()


def preallocate_then_fill(path: Path) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64)
        for number in range(4):
            wait()
            file.write(b"filled %8d\n" % number)
            file.flush()


def copy_with_old_times(path: Path) -> None:
    """Do what ``cp -p`` does, slowly: the times are set when all is written."""
    with path.open("wb") as file:
        for number in range(4):
            file.write(b"copied part %d\n" % number)
            file.flush()
            os.utime(file.fileno(), (1e9, 1e9))
            wait()
    os.utime(path, (1e9, 1e9))


def write_by_mapping(path: Path) -> None:
    with path.open("w+b") as file:
        file.truncate(4096)
        view = mmap.mmap(file.fileno(), 4096)
    for number in range(4):
        wait()
        view[number * 100 : number * 100 + 20] = b"mapped part %8d" % number
    view.close()


def rewrite_within_the_quiet_time(path: Path) -> None:
    for number in range(6):
        path.write_bytes(b"version %d of the whole file\n" % number * 9)
        threading.Event().wait(QUIET / 4)


def open_and_close_again_and_again(path: Path) -> None:
    for number in range(40):
        with path.open("ab") as file:
            file.write(b"log line %d\n" % number)
        threading.Event().wait(QUIET / 10)


def rsync_in_place(path: Path) -> None:
    """Do what ``rsync --inplace`` does: overwrite, cut, set the times."""
    path.write_bytes(b"the former content, longer than the new one" * 9)
    with path.open("r+b") as file:
        for number in range(4):
            file.write(b"synced part %d\n" % number)
            file.flush()
            wait()
        file.truncate()
        os.utime(file.fileno(), (1.1e9, 1.1e9))


WRITERS: list[Callable[[Path], None]] = [
    append_with_pauses,
    preallocate_then_fill,
    copy_with_old_times,
    write_by_mapping,
    rewrite_within_the_quiet_time,
    open_and_close_again_and_again,
    rsync_in_place,
]


def write_all_at_once(folder: Path) -> None:
    threads = [
        threading.Thread(target=w, args=(folder / f"{w.__name__}.txt",))
        for w in WRITERS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_is_still_being_written_is_left_alone(
    zone: ZoneOfTest, services: ServiceAddresses, tmp_path: Path
) -> None:
    # What each one writes where nobody takes it away.
    (tmp_path / "expected").mkdir()
    write_all_at_once(tmp_path / "expected")
    wanted = {p.name: p.read_bytes() for p in (tmp_path / "expected").iterdir()}
    assert len(wanted) == len(WRITERS)
    daemon = zone.start()
    write_all_at_once(zone.input)
    zone.wait_for_ends(len(WRITERS))
    hashes = {n: hashlib.sha256(data).hexdigest() for n, data in wanted.items()}
    assert zone.files("processed") == {n.encode(): sha for n, sha in hashes.items()}
    zone.stop(daemon)
    check_invariants(zone, services, Counter(hashes.values()))


def in_work(zone: ZoneOfTest, name: str) -> Path:
    found: list[Path] = wait_for(lambda: list(zone.work.rglob(name)), "it is taken")
    return found[0]


def taken(zone: ZoneOfTest, name: str) -> None:
    """Wait until it is in work, or was: the whole way may take a few milliseconds."""
    wait_for(lambda: not (zone.input / name).exists(), "it is taken")


def stored(zone: ZoneOfTest) -> str:
    with zone.journal() as journal:
        return next((str(job.status) for job in journal.newest(1)), "")


@pytest.mark.parametrize("moment", ["claimed", "stored"])
@pytest.mark.parametrize("how", ["written", "replaced", "cut"])
def test_what_changes_after_it_was_taken_is_stored_again(
    tmp_path: Path, services: ServiceAddresses, moment: str, how: str
) -> None:
    service = {"claimed": "s3", "stored": "postgres"}[moment]
    with behind_proxies(tmp_path, services, {}) as outage:
        zone = outage.zone
        daemon = zone.start()
        outage.drop(1)
        zone.wait_for_ends(1)
        proxy = getattr(outage, service)
        proxy.freeze()
        zone.drop("moving.txt", b"the first version of it\n" * 100)
        path = in_work(zone, "moving.txt")
        wait_for(lambda: stored(zone) == moment, moment)
        change(path, how)
        final = path.read_bytes()
        proxy.heal()
        zone.wait_for_ends(2)
        sha256 = hashlib.sha256(final).hexdigest()
        assert zone.files("processed")[b"moving.txt"] == sha256
        receipt = zone.receipts()[-1]
        assert (receipt["sha256"], receipt["size"]) == (sha256, len(final))
        assert objects(zone, services)[receipt["s3_key"]] == sha256
        texts = outage.direct().query(
            "SELECT c.text FROM dropzone.chunks c JOIN dropzone.documents d"
            " ON d.id = c.document_id WHERE d.sha256 = %s",
            sha256,
        )
        assert all(row["text"] in final.decode() for row in texts)
        zone.stop(daemon)


def change(path: Path, how: str) -> None:
    content = b"the second version, which is not as long\n" * 50
    if how == "written":
        with path.open("r+b") as file:
            file.write(content)
    elif how == "replaced":
        other = path.with_name("other")
        other.write_bytes(content)
        other.rename(path)
    else:
        os.truncate(path, 1000)


def test_what_vanishes_from_work_fails_with_that_reason(
    tmp_path: Path, services: ServiceAddresses
) -> None:
    with behind_proxies(tmp_path, services, {}) as outage:
        zone = outage.zone
        daemon = zone.start()
        outage.drop(1)
        zone.wait_for_ends(1)
        outage.postgres.freeze()
        zone.drop("gone.txt", b"somebody takes it away")
        path = in_work(zone, "gone.txt")
        wait_for(lambda: stored(zone) == "stored", "stored")
        path.rename(zone.base / "taken away")
        outage.postgres.heal()
        wait_for(lambda: len(zone.receipts()) == 2, "it ends", 60)
        receipt = zone.receipts()[-1]
        assert receipt["outcome"] == "failed"
        assert "work folder" in receipt["reason"]
        assert not [p for p in zone.files("processed") if b"gone" in p]
        zone.stop(daemon)


def test_a_writer_that_keeps_its_descriptor_where_leases_fail(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    """Without leases nothing tells of a writer that pauses for longer than we wait."""
    zone.environment["PYTHONPATH"] = str(HOOKS)
    zone.environment["POISON_NO_LEASES"] = "1"
    zones = '[{"path": "drop_zones", "quiet_seconds_without_lease": 0.3}]'
    zone.environment["DROPZONE__ZONES"] = zones
    zone.environment["DROPZONE__RETRY__UNKNOWN_ERROR_ATTEMPTS"] = "50"
    daemon = zone.start()
    for round_ in range(3):
        with (zone.input / f"kept{round_}.txt").open("wb", buffering=0) as file:
            file.write(b"the beginning\n")
            taken(zone, f"kept{round_}.txt")
            for number in range(200):
                file.write(b"written after the claim, %d\n" % number)
        zone.wait_for_ends(round_ + 1)
    zone.stop(daemon)
    ends = zone.files("processed")
    there = objects(zone, services)
    for receipt in zone.receipts():
        assert there[receipt["s3_key"]] == receipt["sha256"]
        # The last write came before the end of the job, or after it: then the file is
        # longer than what was stored, and begins with it.
        path = zone.root / "processed" / receipt["path"]
        content = path.read_bytes()
        size = receipt["size"]
        assert hashlib.sha256(content[:size]).hexdigest() == receipt["sha256"]
    assert len(ends) == 3


def test_a_writer_that_comes_between_check_and_rename(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    stop = threading.Event()
    names = [f"raced{number}.txt" for number in range(60)]

    def write() -> None:
        while not stop.is_set():
            for name in names:
                try:
                    fd = os.open(zone.input / name, os.O_WRONLY | os.O_APPEND)
                except FileNotFoundError:
                    continue
                os.write(fd, b"one more line\n")
                os.close(fd)

    writer = threading.Thread(target=write)
    daemon = zone.start()
    writer.start()
    for name in names:
        zone.drop(name, b"named %s, then written to\n" % name.encode())
    try:
        threading.Event().wait(1)
    finally:
        stop.set()
        writer.join()
    zone.wait_for_ends(len(names))
    zone.stop(daemon)
    assert all(r["attempts"] == 0 for r in zone.receipts()), "never changed once taken"
    check_invariants(zone, services, Counter(zone.files("processed").values()))
    ended = {r["path"]: r["sha256"] for r in zone.receipts()}
    assert {p.decode(): sha for p, sha in zone.files("processed").items()} == ended
