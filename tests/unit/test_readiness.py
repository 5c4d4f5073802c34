import stat

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from dropzone.readiness import (
    IGNORED,
    Lease,
    NameFilter,
    Ready,
    Rules,
    Sighting,
    Signature,
    Wait,
    decide,
    refusal,
    sight,
)

RULES = Rules(quiet=2.0, quiet_without_lease=5.0)
HOUR = 3600.0


def signature(*, size=1, changed=0.0, modified=None):
    modified = changed if modified is None else modified
    return Signature(1, 1, size, int(modified * 1e9), int(changed * 1e9))


@pytest.mark.parametrize(
    "name",
    [
        b".hidden", b"~$x.docx", b"x~", b"x.TMP", b"x.part", b"x.crdownload",
        b"x.Partial", b"THUMBS.DB", b"@eaDir", b"lost+found", b".nfs0001", b"._x",
        b"\xff.tmp", b"two\nlines.part",
    ],
)  # fmt: skip
def test_temporary_names_are_ignored(name):
    assert NameFilter().ignores(name)


@pytest.mark.parametrize(
    "name",
    [b"x.pdf", b"x.tmp.pdf", b"-rf", b"tmp", b"\xff", b"x.part\n", b"a.b", b"x.bak"],
)
def test_other_names_are_not(name):
    assert not NameFilter().ignores(name)


def test_a_zone_adds_patterns():
    names = NameFilter(["*.bak", "[0-9]?.log", "gr\u00fc*"])
    assert names.ignores(b"x.BAK")
    assert names.ignores(b"1x.log")
    assert not names.ignores(b"xx.log")
    assert names.ignores("gr\u00fcn".encode())
    assert all(names.ignores(p.replace("*", "x").encode()) for p in IGNORED)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (stat.S_IFLNK, "symbolic link"),
        (stat.S_IFIFO, "named pipe"),
        (stat.S_IFSOCK, "socket"),
        (stat.S_IFCHR, "device"),
        (stat.S_IFBLK, "device"),
    ],
)
def test_only_plain_files_are_taken(kind, told):
    found = refusal(b"x", kind | 0o644, 1)
    assert found is not None
    assert told in found.reason


def test_a_file_with_two_names_is_refused_and_one_without_is_not():
    found = refusal(b"x", stat.S_IFREG | 0o644, 2)
    assert found is not None
    assert "2 names" in found.reason
    assert refusal(b"x", stat.S_IFREG | 0o600, 1) is None


@pytest.mark.parametrize(
    ("lease", "watched", "age", "arrived", "wanted"),
    [
        # A free lease: watched or lying still for the quiet time, or arrived whole.
        (Lease.FREE, 0.0, 0.0, False, 2.0),
        (Lease.FREE, 0.5, 0.0, False, 1.5),
        (Lease.FREE, 2.0, 0.0, False, None),
        (Lease.FREE, 0.0, 1.5, False, 0.5),
        (Lease.FREE, 0.0, 9.0, False, None),
        (Lease.FREE, 0.0, 0.0, True, None),
        # Ages that a clock has made up are not believed.
        (Lease.FREE, 0.0, -HOUR, False, 2.0),
        (Lease.FREE, 0.0, 30 * 365 * 24 * HOUR, False, 2.0),
        # Somebody writes: whatever else is known, wait.
        (Lease.BUSY, 99.0, 99.0, False, 2.0),
        (Lease.BUSY, 99.0, 99.0, True, 2.0),
        # No leases: only what was watched counts.
        (Lease.UNSUPPORTED, 0.0, 99.0, False, 5.0),
        (Lease.UNSUPPORTED, 4.0, 99.0, True, 1.0),
        (Lease.UNSUPPORTED, 5.0, 0.0, False, None),
    ],
)
def test_decide(lease, watched, age, arrived, wanted):
    now, wall = 1000.0, 2_000_000_000.0
    seen = Sighting(signature(changed=wall - age), now - watched, arrived=arrived)
    verdict = decide(seen, lease, RULES, now=now, wall=wall)
    if wanted is None:
        assert verdict == Ready()
    else:
        assert isinstance(verdict, Wait)
        assert verdict.until - now == pytest.approx(wanted, abs=1e-5)


def test_an_old_copy_is_young_by_its_change_time():
    wall = 2_000_000_000.0
    seen = Sighting(signature(changed=wall, modified=1.0), 0.0)
    assert isinstance(decide(seen, Lease.FREE, RULES, now=0.0, wall=wall), Wait)


@pytest.mark.parametrize(("quiet", "pause"), [(0.01, 0.2), (1.0, 1.0), (60.0, 2.0)])
def test_a_file_being_written_is_looked_at_again_soon_but_not_all_the_time(
    quiet, pause
):
    seen = Sighting(signature(), 0.0)
    rules = Rules(quiet=quiet)
    assert decide(seen, Lease.BUSY, rules, now=5.0, wall=5.0) == Wait(5.0 + pause)


def test_a_sighting_keeps_its_time_until_the_file_changes():
    first = sight(None, signature(), 1.0)
    assert sight(first, signature(), 9.0) == first
    assert sight(first, signature(size=2), 9.0).since == 9.0
    arrived = sight(first, signature(), 9.0, arrived=True)
    assert arrived == Sighting(signature(), 1.0, arrived=True)
    assert sight(arrived, signature(), 10.0).arrived
    assert not sight(arrived, signature(size=2), 10.0).arrived


@pytest.mark.parametrize("lease", [Lease.FREE, Lease.UNSUPPORTED])
def test_a_look_at_the_time_it_asked_for_is_the_last(lease):
    for number in range(1, 2000):
        seen = Sighting(signature(), 1000.0 + number * 0.1234567)
        verdict = decide(seen, lease, RULES, now=seen.since, wall=0.0)
        assert isinstance(verdict, Wait)
        assert decide(seen, lease, RULES, now=verdict.until, wall=0.0) == Ready()


class OneFile(RuleBasedStateMachine):
    """A file that is written, closed, replaced and looked at, while clocks jump."""

    writers = Bundle("writers")

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.wall = 2_000_000_000.0
        self.open_writers = set()
        self.count = 0
        self.inode = 1
        self.size = 0
        self.changed_wall = self.wall
        # When (monotonic) it was last changed, or had a writer, whatever clocks say.
        self.quiet_since = self.now
        self.seen = None
        self.arrived = False
        self.jumped_forward = False

    @initialize(supported=st.booleans(), arrived=st.booleans())
    def appear(self, supported, arrived):
        self.supported = supported
        self.arrived = arrived

    def touched(self):
        self.changed_wall = self.wall
        self.quiet_since = self.now
        self.jumped_forward = False

    @rule(target=writers)
    def open_for_writing(self):
        self.count += 1
        self.open_writers.add(self.count)
        return self.count

    @rule(writer=writers)
    def write(self, writer):
        if writer in self.open_writers:
            self.size += 1
            self.touched()

    @rule(writer=writers)
    def close(self, writer):
        if writer in self.open_writers:
            self.open_writers.discard(writer)

    @rule()
    def replaced_by_rename(self):
        self.inode += 1
        self.open_writers.clear()
        self.arrived = True
        self.touched()

    @rule(seconds=st.floats(0.01, 10.0))
    def time_passes(self, seconds):
        self.now += seconds
        self.wall += seconds

    @rule(hours=st.floats(-48.0, 48.0))
    def clock_is_set(self, hours):
        self.wall += hours * HOUR
        self.jumped_forward |= hours > 0

    def lease(self):
        if not self.supported:
            return Lease.UNSUPPORTED
        return Lease.BUSY if self.open_writers else Lease.FREE

    def look_once(self):
        stamp = int(self.changed_wall * 1e9)
        found = Signature(1, self.inode, self.size, stamp, stamp)
        self.seen = sight(self.seen, found, self.now, arrived=self.arrived)
        self.arrived = False
        return decide(self.seen, self.lease(), RULES, now=self.now, wall=self.wall)

    @rule()
    def look(self):
        verdict = self.look_once()
        if isinstance(verdict, Wait):
            assert self.now < verdict.until <= self.now + RULES.quiet_without_lease
            return
        quiet = self.now - self.quiet_since
        if self.supported:
            assert not self.open_writers
            # Only a clock set forward may make a file look older than it is, and
            # only a file that came by a rename needs no quiet time.
            came = self.seen is not None and self.seen.arrived
            assert came or self.jumped_forward or quiet >= RULES.quiet - 1e-5
        else:
            assert quiet >= RULES.quiet_without_lease - 1e-5

    @invariant()
    def a_look_is_never_in_the_past(self):
        assert self.seen is None or self.seen.since <= self.now

    @precondition(lambda self: hasattr(self, "supported"))
    @rule()
    def it_is_taken_in_the_end_when_left_alone(self):
        self.open_writers.clear()
        for _ in range(4):
            verdict = self.look_once()
            if isinstance(verdict, Ready):
                return
            self.wall += verdict.until - self.now
            self.now = verdict.until
        raise AssertionError("left alone, and still not ready")


TestOneFile = OneFile.TestCase
TestOneFile.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
