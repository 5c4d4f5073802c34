import os
import queue
import shutil
import threading
import time

import pytest
from structlog.testing import capture_logs

from dropzone.errors import ServiceUnavailable
from dropzone.gate import Gate
from dropzone.intake import Intake
from dropzone.journal import Journal
from dropzone.models import Status
from dropzone.pauses import Pause
from dropzone.readiness import Rules
from dropzone.stage import Inbox
from dropzone.watcher import Timing, Watcher
from zones_helpers import DEADLINE, boundless, eventually, python, tree

QUIET = 0.3


class Watching:
    """A watcher over a zone of a test, and what it claimed."""

    def __init__(self, folders):
        self.folders = folders
        self.input = folders.root / "input"
        self.journal = Journal(folders.root / "state" / "journal.sqlite")
        self.stop = threading.Event()
        self.broken = queue.SimpleQueue()
        self.gate = Gate("claim", self.stop, {"disk": folders.try_to_write})
        self.room = boundless(folders, self.journal)
        self.watcher = None

    def start(self, *, quiet=QUIET, events=True, scan=30.0, ignore=()):
        inbox = Inbox(self.journal, Status.CLAIMED, 100_000)
        self.watcher = Watcher(
            self.folders,
            self.journal,
            Intake("default", self.folders, self.journal, inbox, self.room),
            self.gate,
            rules=Rules(quiet, quiet, ignore),
            timing=Timing(events, scan, 0.1),
            stop=self.stop,
            broken=self.broken.put,
        )
        self.watcher.start()
        eventually(lambda: self.watcher.scans, "the first scan")

    @property
    def claimed(self):
        return {job.path for job in self.journal.with_status(Status.CLAIMED, 100_000)}

    def wait_for(self, *paths, seconds=DEADLINE):
        eventually(lambda: self.claimed >= set(paths), f"{paths[:3]} claimed", seconds)

    def finding(self, path):
        found = {finding.path: finding for finding in self.journal.findings()}
        return found.get(path)

    def close(self):
        self.stop.set()
        if self.watcher is not None:
            assert self.watcher.join(30), "the watcher does not end"
        self.journal.close()
        assert self.broken.empty(), self.broken.get()


@pytest.fixture
def zone(folders):
    watching = Watching(folders)
    yield watching
    watching.close()


def move_in(zone, name, content=b"x"):
    aside = zone.folders.root / "aside"
    aside.write_bytes(content)
    aside.rename(zone.input / name)


def test_a_file_moved_in_is_claimed_without_the_quiet_time(zone):
    zone.start(quiet=60.0)
    move_in(zone, "x.pdf")
    zone.wait_for(b"x.pdf", seconds=30)
    (job,) = zone.journal.newest(9)
    assert (job.status, job.size, job.doc_type) == (Status.CLAIMED, 1, "pdf")
    assert list(zone.folders.jobs_in_work()) == [(job.id, [b"x.pdf"])]


def test_a_file_that_was_written_waits_for_the_quiet_time(zone):
    quiet = 1.5
    zone.start(quiet=quiet)
    (zone.input / "x").write_bytes(b"x")
    eventually(lambda: zone.watcher.report()["settling"] == 1, "it is seen")
    assert not zone.watcher.settled
    zone.wait_for(b"x")
    (job,) = zone.journal.newest(9)
    assert job.created_at - job.mtime_ns / 1e9 >= quiet - 0.01
    eventually(lambda: zone.watcher.settled)


def test_a_file_that_is_held_open_is_taken_only_when_closed(zone):
    zone.start()
    with (zone.input / "x").open("wb", buffering=0) as file:
        file.write(b"first")
        eventually(lambda: zone.watcher.report()["being_written"] == 1, "seen busy")
        assert zone.watcher.settled, "what somebody writes does not hold --once"
        file.write(b" second")
        eventually(lambda: zone.watcher.report()["being_written"] == 1)
        assert zone.claimed == set()
    zone.wait_for(b"x")
    (job,) = zone.journal.newest(9)
    with os.fdopen(zone.folders.open_payload(job.id, b"x"), "rb") as file:
        assert file.read() == b"first second"


def test_a_file_moved_in_while_its_writer_goes_on_waits_for_it(zone):
    zone.start()
    aside = zone.folders.root / "aside"
    with aside.open("wb", buffering=0) as file:
        file.write(b"first")
        aside.rename(zone.input / "x")
        eventually(lambda: zone.watcher.report()["being_written"] == 1, "seen busy")
        assert zone.claimed == set()
    zone.wait_for(b"x")


def test_a_folder_moved_in_brings_its_files(zone):
    zone.start()
    aside = zone.folders.root / "aside"
    (aside / "b" / "c").mkdir(parents=True)
    for path in ("one", "b/two", "b/c/three"):
        (aside / path).write_text(path)
    aside.rename(zone.input / "a")
    zone.wait_for(b"a/one", b"a/b/two", b"a/b/c/three")
    assert zone.watcher.scans == 1, "found by events alone"


def test_new_folders_with_a_file_at_once_are_all_found(zone):
    zone.start(quiet=0.05)
    names = [f"{number}/b/c/file" for number in range(100)]
    for name in names:
        (zone.input / name).parent.mkdir(parents=True)
        (zone.input / name).write_text("x")
    # What events miss, a scan finds: here they find all, and the next scan is far off.
    zone.wait_for(*map(os.fsencode, names))
    assert zone.watcher.report()["mode"] == "events"


def test_a_burst_is_found_whole(zone):
    zone.start(quiet=0.05)
    names = {b"%04d" % number for number in range(5000)}
    for name in names:
        (zone.input / name.decode()).write_bytes(name)
    zone.wait_for(*names, seconds=DEADLINE)
    assert len(zone.journal.newest(9999)) == 5000, "each once"
    assert tree(zone.input) == {}


def test_files_that_were_there_before_are_found(zone):
    (zone.input / "a").mkdir()
    (zone.input / "a" / "x").write_text("x")
    zone.start()
    zone.wait_for(b"a/x")
    assert zone.claimed == {b"a/x"}
    assert tree(zone.input) == {}


def test_ignored_names_are_left_alone(zone):
    zone.start(quiet=0.05, ignore=("*.bak",))
    before = {}
    for name in (".x", "x.part", "x.BAK", ".dir/x", "@eaDir/x"):
        (zone.input / name).parent.mkdir(exist_ok=True)
        (zone.input / name).write_text("x")
        before[os.fsencode(name)] = tree(zone.input)[os.fsencode(name)]
    (zone.input / "y").write_text("y")
    zone.wait_for(b"y")
    zone.watcher._on_loss()
    eventually(lambda: zone.watcher.scans == 2)
    assert tree(zone.input) == before
    assert zone.claimed == {b"y"}
    (zone.input / "x.part").rename(zone.input / "x")
    zone.wait_for(b"x")


@pytest.mark.parametrize("events", [True, False])
def test_what_cannot_be_taken_is_told_and_withdrawn_when_mended(zone, events):
    zone.start(events=events, scan=0.2)
    link = zone.input / "link"
    link.symlink_to("/etc/passwd")
    os.mkfifo(zone.input / "pipe")
    (zone.input / "one").write_text("x")
    os.link(zone.input / "one", zone.input / "two")
    eventually(lambda: len(zone.journal.findings()) == 4)
    assert "symbolic link" in zone.finding(b"link").reason
    assert "named pipe" in zone.finding(b"pipe").reason
    assert "2 names" in zone.finding(b"one").reason
    scans = zone.watcher.scans
    eventually(lambda: zone.watcher.scans > scans + 1)
    assert len(zone.journal.findings()) == 4
    link.unlink()
    (zone.input / "two").unlink()
    (zone.input / "pipe").unlink()
    zone.wait_for(b"one")
    eventually(lambda: not zone.journal.findings(), "they are withdrawn")


def test_findings_of_an_earlier_run_are_withdrawn_too(zone):
    from dropzone.journal import Finding

    old = [Finding(b"%04d" % number, "was", "h") for number in range(1500)]
    zone.journal.record_findings(old, [])
    assert zone.journal.findings()
    zone.start()
    eventually(lambda: not zone.journal.findings(), "all are withdrawn")
    assert zone.claimed == set()


def test_without_events_it_polls(zone):
    zone.start(events=False)
    report = zone.watcher.report()
    assert report["mode"] == "polling"
    assert "switched off" in report["without_events_because"]
    (zone.input / "x").write_text("x")
    zone.wait_for(b"x")


def test_lost_events_lead_to_a_scan(zone):
    zone.start(quiet=0.05)
    assert zone.watcher.report()["mode"] == "events"
    zone.watcher._events.stop()
    (zone.input / "x").write_text("x")
    zone.watcher._on_loss()
    zone.wait_for(b"x")
    assert zone.watcher.report()["event_losses"] == 1
    eventually(lambda: zone.watcher.report()["mode"] == "events", "started again")


def test_an_input_folder_that_is_replaced_is_watched_again(zone):
    zone.start(quiet=0.05, scan=0.2)
    shutil.rmtree(zone.input)
    pause = eventually(lambda: zone.gate.pause, "it is told")
    assert "input" in pause.reason
    zone.input.mkdir()
    (zone.input / "x").write_text("x")
    zone.wait_for(b"x")
    assert zone.gate.pause is None
    scans = zone.watcher.scans
    eventually(lambda: zone.watcher.scans > scans)
    move_in(zone, "y")
    zone.wait_for(b"y")
    eventually(lambda: zone.watcher.report()["mode"] == "events", "they come again")


def test_a_file_that_vanishes_before_it_is_ready_leaves_nothing(zone):
    zone.start(quiet=1.5)
    (zone.input / "x").write_text("x")
    eventually(lambda: zone.watcher.report()["settling"] == 1)
    (zone.input / "x").unlink()
    eventually(lambda: zone.watcher.report()["settling"] == 0)
    eventually(lambda: zone.watcher.settled)
    assert zone.claimed == set()


def test_a_file_from_a_far_future_is_taken_too(zone):
    zone.start()
    aside = zone.folders.root / "aside"
    aside.write_text("x")
    os.utime(aside, (2**34, 2**34))
    aside.rename(zone.input / "x")
    zone.wait_for(b"x")
    assert zone.claimed == {b"x"}


def test_what_is_not_taken_is_counted_while_a_person_holds_the_step(zone):
    zone.start()
    zone.gate.hold("person", Pause("claim", "person", 0.0, "why", "hint"))
    (zone.input / "link").symlink_to("nowhere")
    move_in(zone, "a.txt", b"12345")
    move_in(zone, "b.txt", b"123")
    before = time.time()
    tally = eventually(
        lambda: (t := zone.watcher.tally()).files == 2 and t, "they are counted"
    )
    assert tally.bytes == 8
    assert tally.oldest_at <= before
    assert tally.oldest_at == pytest.approx((zone.input / "a.txt").stat().st_ctime)
    assert zone.watcher.report()["in_input"]["files"] == 2
    zone.gate.hold("person", None)
    zone.wait_for(b"a.txt", b"b.txt")
    eventually(lambda: zone.watcher.tally().files == 0, "nothing is left")


def test_what_is_not_taken_is_counted_while_the_disk_is_full(zone):
    zone.start(events=False, scan=0.1)
    full = threading.Event()
    full.set()
    sort = zone.room.sort

    def refuse(ready):
        if full.is_set():
            raise ServiceUnavailable("disk", "It is full.")
        return sort(ready)

    zone.room.sort = refuse
    for number in range(3):
        move_in(zone, f"{number}.txt")
    eventually(
        lambda: zone.gate.pause and zone.watcher.tally().files == 3, "they are counted"
    )
    full.clear()
    zone.wait_for(b"0.txt", b"1.txt", b"2.txt")
    eventually(lambda: zone.watcher.tally().files == 0, "nothing is left")


def test_a_file_that_is_written_to_has_no_age(zone):
    zone.start(quiet=0.1)
    with (zone.input / "open.txt").open("wb") as file:
        file.write(b"more comes")
        file.flush()
        tally = eventually(
            lambda: (t := zone.watcher.tally()).files and not t.oldest_at and t,
            "it is seen",
        )
        assert (tally.files, tally.bytes) == (1, 10)
    zone.wait_for(b"open.txt")


def test_watching_ends_at_once_while_much_waits(zone):
    for number in range(3000):
        (zone.input / f"{number}").touch()
    zone.start(quiet=60.0)
    begun = time.monotonic()
    zone.stop.set()
    assert zone.watcher.join(30)
    assert time.monotonic() - begun < 25


def events(lines):
    return [line["event"] for line in lines]


@pytest.mark.parametrize("part", ["emitter", "reader"])
def test_a_thread_that_died_is_told_and_replaced(zone, part):
    with capture_logs() as lines:
        zone.start(quiet=0.05)
        watch = zone.watcher._events
        observer = watch._events._observer
        dying = observer.reader if part == "reader" else next(iter(observer.emitters))
        dying.stop()
        dying.join()
        (zone.input / "x").write_text("x")
        zone.wait_for(b"x", seconds=25)
        eventually(lambda: watch._events._observer is not observer, "it is replaced")
        eventually(lambda: zone.watcher.report()["mode"] == "events", "it is back")
        eventually(lambda: "file events are back" in events(lines), "both are told")
    told = [event for event in events(lines) if "file events" in event]
    assert told[:2] == ["no file events; scanning", "file events are back"]


NON_ROOT = """
    import os, sys
    from pathlib import Path
    import pwd
    from test_watcher import Watching
    from zones_helpers import become_nobody, eventually
    from dropzone.zones import ZoneFolders
    become_nobody()
    folders = ZoneFolders(Path(sys.argv[1]))
    folders.open()
    zone = Watching(folders)
    root = zone.input
    (root / "secret").write_text("x")
    (root / "secret").chmod(0)
    for name, mode in (("closed", 0), ("listed", 0o444), ("fixed", 0o555)):
        (root / name).mkdir()
        (root / name / "x").write_text("x")
        (root / name).chmod(mode)
    (root / "fine").write_text("x")
    zone.start(quiet=0.05, scan=0.1)
    zone.wait_for(b"fine")
    wanted = {b"secret", b"closed", b"listed/x", b"fixed/x"}
    eventually(lambda: {f.path for f in zone.journal.findings()} == wanted)
    first = zone.journal.findings()
    scans = zone.watcher.scans
    eventually(lambda: zone.watcher.scans > scans + 3)
    assert zone.journal.findings() == first, "told once, not at every scan"
    assert "chown" in zone.finding(b"secret").hint
    assert zone.journal.counts().under_way == 1, "nothing is left of missed claims"
    (root / "secret").chmod(0o600)
    for name in ("closed", "listed", "fixed"):
        (root / name).chmod(0o755)
    zone.wait_for(b"secret", b"closed/x", b"listed/x", b"fixed/x")
    eventually(lambda: not zone.journal.findings())
    zone.close()
    folders.close()
    print("done")
"""


def test_missing_rights_are_told_once_and_mended_without_a_restart(open_root):
    here = os.path.dirname(__file__)
    assert python(NON_ROOT, open_root, cwd=here).splitlines()[-1] == "done"
