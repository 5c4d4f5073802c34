"""Huge files over HTTP: broken off again and again, whole in the end, flat memory."""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import ZoneOfTest, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from servers import s3_client
from uploading import Sender
from webclient import post

pytestmark = pytest.mark.timeout(600)
BLOCK = 1_000_000
HUGE, LARGE = 5_000, 300
#: Megabytes: what a daemon may need that takes an upload, and more that stores it.
UPLOADING, STORING = 150, 150
#: What sockets and a write that was under way may hold when a daemon is killed.
ON_THE_WAY = 64 * BLOCK
_NEEDED = HUGE * BLOCK + 3_000_000_000
_FILLING = random.Random(1).randbytes(BLOCK - 8)


def block(number: int) -> bytes:
    """Return a part of a file that is made; no two of them are the same."""
    return number.to_bytes(8, "big") + _FILLING


def peak(pid: int) -> int:
    """Return the highest resident memory of a process so far in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1000


class Served:
    """A daemon that takes uploads, and who sends them."""

    def __init__(self, zone: ZoneOfTest) -> None:
        self.zone = zone
        self.start()

    def start(self) -> None:
        self.process = self.zone.start()
        pid = self.process.pid
        wait_for(lambda: self.zone.report().get("pid") == pid, "the daemon reports")
        self.url = self.zone.url()
        self.sender = Sender(self.url)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, path: str, **given: Any) -> None:
        assert post(f"{self.url}/api/v1/{path}", given).status == 200

    def begin(self, name: str, blocks: int) -> str:
        """Begin an upload; return its path, which outlives the daemon."""
        url = self.sender.begun(blocks * BLOCK, filename=name)
        return url.removeprefix(self.url)

    def send(self, path: str, blocks: int) -> None:
        """Send all that is missing."""
        self._send(path, blocks, blocks, lambda: None)

    def break_off(self, path: str, at: int, does: Callable[[], None]) -> int:
        """Do something at a block of a huge file on its way; return what was sent."""
        return self._send(path, HUGE, at, does)

    def _send(
        self, path: str, blocks: int, until: int, does: Callable[[], None]
    ) -> int:
        url, size = self.url + path, blocks * BLOCK
        offset = self.sender.offset(url)
        number, within = divmod(offset, BLOCK)
        first = block(number)[within:]
        with self.sender.sending(url, offset, size - offset, first) as connection:
            for following in range(number + 1, until):
                connection.send(block(following))
            if until == blocks:
                assert connection.getresponse().status == 204
            does()
        return until * BLOCK

    def kept(self, path: str) -> int:
        """Return how much came of an upload that nobody sends any more."""
        url = self.url + path
        # While it counts as being sent the answer is another.
        wait_for(lambda: self.sender.add(url, 0, b"").status == 409, "it is over")
        return self.sender.offset(url)


@pytest.fixture
def served(tmp_path: Path, services: ServiceAddresses) -> Iterator[Served]:
    free = shutil.disk_usage(tmp_path).free
    if free < _NEEDED:
        pytest.skip(f"{tmp_path} has {free / 1e9:.0f} GB free, of {_NEEDED / 1e9:.0f}")
    zone = zone_on(tmp_path, services)
    try:
        yield Served(zone)
    finally:
        zone.close()
        # Folders of tests are kept for a while, which these are too large for.
        shutil.rmtree(zone.root)


def check_huge(path: Path) -> None:
    """Compare the whole file, and remove it."""
    with path.open("rb") as file:
        wrong = [n for n in range(HUGE) if file.read(BLOCK) != block(n)]
        assert (wrong, file.read(1)) == ([], b"")
    path.unlink()


def check_stored(served: Served, services: ServiceAddresses) -> None:
    """Compare the large file's SHA-256 in its receipt, Postgres and S3."""
    whole = hashlib.sha256()
    for number in range(LARGE):
        whole.update(block(number))
    sha256 = whole.hexdigest()
    (receipt,) = (r for r in served.zone.receipts() if r["path"] == "large.bin")
    assert receipt["sha256"] == sha256
    documents = served.zone.query("SELECT sha256 FROM dropzone.documents")
    assert {"sha256": sha256} in documents
    client = s3_client(services)
    where = {"Bucket": served.zone.environment["DROPZONE_BUCKET"]}
    body = client.get_object(**where, Key=receipt["s3_key"])["Body"]
    found = hashlib.sha256()
    for part in body.iter_chunks(BLOCK):
        found.update(part)
    assert found.hexdigest() == sha256
    client.delete_object(**where, Key=receipt["s3_key"])
    client.close()


def test_5_gb_that_are_broken_off_three_times_arrive_and_need_no_memory(
    served: Served, services: ServiceAddresses
) -> None:
    # What arrives stays in input/, as storing 5 GB takes a minute more.
    served.ask("pause", steps=["claim"])
    path = served.begin("huge.bin", HUGE)
    peaks = []

    def kill() -> None:
        peaks.append(peak(served.process.pid))
        served.kill()

    for at, does in ((1_250, lambda: None), (2_501, kill), (3_752, kill)):
        sent = served.break_off(path, at, does)
        if does is kill:
            served.start()
        assert sent - ON_THE_WAY < served.kept(path) <= sent
    served.send(path, HUGE)
    assert served.sender.told(served.url + path)["state"] == "landed"
    check_huge(served.zone.input / "huge.bin")
    peaks.append(peak(served.process.pid))
    assert max(peaks) < UPLOADING
    served.ask("resume")
    served.zone.drop("small.txt", b"warms everything up")
    served.zone.wait_for_ends(1)
    before = peak(served.process.pid)
    served.send(served.begin("large.bin", LARGE), LARGE)
    served.zone.wait_for_ends(2)
    after = peak(served.process.pid)
    print(f"MB at most: {peaks} uploading, {before} before storing, {after} after")
    assert after - before < STORING
    check_stored(served, services)
    served.zone.stop(served.process)
