"""What hostile or careless people put into ``input/``: nothing leads outside."""

import ctypes
import hashlib
import json
import os
import socket
import stat
import string
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from daemons import PROMPT, ZoneOfTest, check_invariants, objects, wait_for, zone_on
from dropzone.embedded import ServiceAddresses

LIBC = ctypes.CDLL(None)
SECRET = b"TOP SECRET and outside of the zone"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path / "home", services)
    secret(made).parent.mkdir()
    secret(made).write_bytes(SECRET)
    yield made
    made.close()


def secret(zone: ZoneOfTest) -> Path:
    """Return the file outside of the zone that nobody may reach."""
    return zone.base.parent / "outside" / "secret.txt"


def findings(zone: ZoneOfTest) -> dict[bytes, str]:
    with zone.journal() as journal:
        return {found.path: found.reason for found in journal.findings()}


def assert_secret_is_nowhere(zone: ZoneOfTest, services: ServiceAddresses) -> None:
    texts = zone.query("SELECT text FROM dropzone.chunks")
    assert not [row for row in texts if "TOP SECRET" in row["text"]]
    assert secret(zone).read_bytes() == SECRET
    assert hashlib.sha256(SECRET).hexdigest() not in objects(zone, services).values()


@contextmanager
def again_and_again(*acts: Callable[[], None]) -> Iterator[None]:
    """Do each act in a thread of its own, over and over."""
    stop = threading.Event()

    def repeat(act: Callable[[], None]) -> None:
        while not stop.is_set():
            act()

    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@needs_root
def test_devices_and_ways_out_are_refused(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    outside = secret(zone).parent
    os.mknod(zone.input / "disk.txt", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    os.mknod(zone.input / "zero.txt", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mkfifo(zone.input / "pipe.pdf")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(zone.input / "socket.csv"))
    (zone.input / "folder").symlink_to(outside)
    (zone.input / "file.txt").symlink_to(secret(zone))
    (zone.input / "dangling.txt").symlink_to("nowhere")
    (zone.input / "x.pdf").mkdir()
    dropped = Counter([zone.drop("x.pdf/inside.txt", b"a folder called x.pdf")])
    dropped[zone.drop("empty.pdf", b"")] += 1
    daemon = zone.start()
    wait_for(lambda: len(zone.receipts()) == 2, "the plain files end")
    refused = wait_for(lambda: len(findings(zone)) == 7 and findings(zone), "findings")
    assert refused[b"disk.txt"] == refused[b"zero.txt"] == "is a device"
    assert refused[b"folder"] == "is a symbolic link"
    wait_for(lambda: not list(zone.work.iterdir()), "what ended has its place")
    zone.stop(daemon)
    assert zone.files("processed").keys() == {b"x.pdf/inside.txt", b"empty.pdf"}
    assert_secret_is_nowhere(zone, services)


class Swapper:
    """Swaps files and folders for links that lead outside, and loses none of them."""

    def __init__(self, zone: ZoneOfTest) -> None:
        self._zone = zone
        self._aside = zone.base / "asides"
        self._aside.mkdir()
        self._numbers = iter(range(10**9))
        self.dropped: Counter[str] = Counter()

    def file(self) -> None:
        number = next(self._numbers)
        link = self._aside / f"{number}.txt"
        link.symlink_to(secret(self._zone))
        path = self._zone.input / f"swapped{number}.txt"
        self._put(path, number)
        self._exchange(link, path)

    def folder(self) -> None:
        number = next(self._numbers)
        link = self._aside / f"{number}"
        link.symlink_to(secret(self._zone).parent)
        folder = self._zone.input / f"folder{number}"
        folder.mkdir()
        # Called like the secret, so that the link leads to it.
        self._put(folder / secret(self._zone).name, number)
        self._exchange(link, folder)

    def tidy(self) -> None:
        """Drop what lies aside, and remove the links from ``input/``."""
        for link in self._zone.input.iterdir():
            if link.is_symlink():
                link.unlink()
        for one in self._aside.iterdir():
            if not one.is_symlink():
                one.rename(self._zone.input / f"rest{one.name}")

    def _put(self, path: Path, number: int) -> None:
        content = b"a file that is swapped, %d" % number
        new = self._aside / f"new{number}"
        new.write_bytes(content)
        self.dropped[hashlib.sha256(content).hexdigest()] += 1
        new.rename(path)

    def _exchange(self, one: Path, other: Path) -> None:
        for _ in range(200):
            if LIBC.renameat2(-100, bytes(one), -100, bytes(other), 2) != 0:
                # It was taken, which leaves the link where it was.
                return


def test_files_and_folders_that_are_swapped_for_links(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    swapper = Swapper(zone)
    daemon = zone.start()
    with again_and_again(swapper.file, swapper.folder, swapper.file):
        wait_for(lambda: swapper.dropped.total() >= 300, "300 files are swapped")
    assert daemon.poll() is None
    swapper.tidy()
    zone.wait_for_ends(swapper.dropped.total())
    zone.stop(daemon)
    assert_secret_is_nowhere(zone, services)
    assert set(zone.outcomes().values()) == {"indexed"}
    check_invariants(zone, services, swapper.dropped)


def test_a_link_or_a_file_takes_the_place_of_a_folder(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    dropped = Counter([zone.drop("place/one.txt", b"below a folder")])
    daemon = zone.start()
    zone.wait_for_ends(1)
    (zone.input / "place").rmdir()
    dropped[zone.drop("place", b"a file where a folder was")] += 1
    zone.wait_for_ends(2)
    (zone.input / "place").symlink_to(secret(zone).parent)
    wait_for(lambda: findings(zone) == {b"place": "is a symbolic link"}, "refused")
    (zone.input / "place").unlink()
    dropped[zone.drop("place/two.txt", b"a folder once more")] += 1
    zone.wait_for_ends(3)
    zone.stop(daemon)
    assert_secret_is_nowhere(zone, services)
    check_invariants(zone, services, dropped)


HOSTILE_NAMES = [
    b'a"}\n{"event": "done", "path": "forged"}.txt',
    b'real\n{"event": "done", "path": "forged"}.txt',
    b"x..%2f..\xe2\x81\x84etc/passwd.txt",
    b"x..txt",
    b"$(touch owned) `touch owned`; touch owned #.txt",
    b"%s%n%d{0}{sha256}.txt",
    b"'); DELETE FROM dropzone.documents; --.txt",
    b"<img src=x onerror=alert(1)>.html",
    b"\x1b]0;owned\x07\x1b[2J[bold red]markup[/].txt",
    "flip\u202egpj.txt\u2066".encode(),
    b"sp ace/\xff\xfe/\r\rcarriage\x7f.txt",
    b"?versionId=1&uploads#frag+plus%2F%00.txt",
    b"\xed\xa0\x80lone surrogate.txt",
    b"/".join([b"d" * 255] * 20) + b"/" + b"n" * 251 + b".txt",
    b"/".join([b"d"] * 100) + b"/deepest.txt",
]


def put_deep(zone: ZoneOfTest, path: bytes, content: bytes) -> str:
    """Drop a file at a path that may be longer than a system call takes."""
    *folders, name = path.split(b"/")
    fd = os.open(zone.input, os.O_RDONLY)
    for folder in folders:
        with suppress(FileExistsError):
            os.mkdir(folder, dir_fd=fd)
        deeper = os.open(folder, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(name, flags, dir_fd=fd), "wb") as file:
        file.write(content)
    os.close(fd)
    return hashlib.sha256(content).hexdigest()


def processed(zone: ZoneOfTest) -> dict[bytes, str]:
    """Return the files of ``processed/``, however long their paths are."""
    found = {}
    top = os.open(zone.root / "processed", os.O_RDONLY)
    for folder, _, names, fd in os.fwalk(b".", dir_fd=top):
        for name in names:
            with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            found[os.path.join(folder, name)[2:]] = sha256
    os.close(top)
    return found


def test_names_made_to_break_something(
    zone: ZoneOfTest, services: ServiceAddresses
) -> None:
    texts = {name: b"unique %d" % n for n, name in enumerate(HOSTILE_NAMES)}
    hashes = {name: put_deep(zone, name, text) for name, text in texts.items()}
    put_deep(zone, b"/".join([b"e"] * 102) + b"/too-deep.txt", b"left alone")
    daemon = zone.start()
    wait_for(lambda: len(zone.receipts()) == len(hashes), "all end")
    wait_for(lambda: not list(zone.work.iterdir()), "work is empty")
    assert processed(zone) == hashes
    assert [r for r in findings(zone).values() if "deeper than 100 folders" in r]

    shown = [zone.command(*words) for words in (("status",), ("jobs",), ("show", "a"))]
    shown.append(zone.command("search", "unique"))
    shown += [zone.command(*words, "--json") for words in (("status",), ("jobs",))]
    for told in shown:
        assert "Traceback" not in told.stderr
        visible = told.stdout + told.stderr
        assert not [c for c in visible if unicodedata.category(c) in {"Cf", "Cs"}]
        assert not [c for c in visible if ord(c) < 32 and c != "\n"]
    zone.stop(daemon)
    lines = [json.loads(line) for line in zone.log().splitlines()]
    done = [line for line in lines if line["event"] == "done"]
    assert len(done) == len(hashes)
    assert "forged" not in {line["path"] for line in done}
    assert not list(zone.base.glob("owned"))
    for key in objects(zone, services):
        assert set(key) <= set(string.ascii_letters + string.digits + "/-%_.~")
    assert zone.query("SELECT count(*) AS n FROM dropzone.documents")[0]["n"] == 15


def test_twenty_thousand_files_in_one_folder(zone: ZoneOfTest) -> None:
    count = 20_000
    folder = zone.input / "many"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06}.txt").write_bytes(b"small %d" % number)
    # Nothing can be stored, so that only the taking is measured.
    zone.environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    daemon = zone.start()
    begun = time.monotonic()
    wait_for(lambda: claimed(zone) >= 200, "the first are taken")
    early = resident(daemon.pid)
    wait_for(lambda: not any(folder.iterdir()), "all are taken", 180)
    took, late = time.monotonic() - begun, resident(daemon.pid)
    print(f"{count} files taken in {took:.1f} s; {early} MB, then {late} MB")
    assert claimed(zone) == count
    # Jobs wait in the journal, not in memory.
    assert late - early < 60
    assert zone.stop(daemon) < PROMPT


def claimed(zone: ZoneOfTest) -> int:
    with zone.journal() as journal:
        return sum(journal.counts().states.values())


def resident(pid: int) -> int:
    """Return the resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1000
