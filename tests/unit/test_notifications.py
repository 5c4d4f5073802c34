import dataclasses
import datetime as dt
import json
import os
import time
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from dropzone.journal import Journal
from dropzone.notification_settings import Notifications
from dropzone.notifications import targets, wording
from dropzone.notifications.book import Book
from dropzone.notifications.gathering import Gathered
from dropzone.notifications.message import Message
from dropzone.notifications.pauses import Patience, Pauses
from dropzone.notifications.zone import Source, Told, ZoneNotices, latest
from dropzone.receipts import Position, Receipts
from dropzone.settings import Zone
from dropzone.status import History, ZoneStatus

START = Position.load(None)
KEYS = ["webhook-1"]
S3_DOWN = {
    "step": "store",
    "service": "s3",
    "since": 1000.0,
    "reason": "S3 does not answer.",
    "what_to_do": "Start it.",
}


def receipt(number: int = 0, **changes: object) -> dict[str, object]:
    return {
        "job": f"job-{number}",
        "name": f"f{number}.pdf",
        "outcome": "failed",
        "size": 10,
        "step": "index",
        "reason": "The PDF is encrypted.",
        "retry_of": None,
        "ended_at": "2026-11-21T08:00:00.000+00:00",
        **changes,
    }


def rules(**settings: object) -> Notifications:
    return Notifications.model_validate(settings)


# What is gathered


def test_a_storm_of_ten_thousand_failures_is_few_messages() -> None:
    gathered, told, now = Gathered(), 0, 5000.0
    messages = 0
    for number in range(10_000):
        now += 1
        gathered.add(receipt(number), now, 60)
        if gathered.is_due(now, 60):
            told += gathered.take(now).count
            messages += 1
    assert told + gathered.count == 10_000
    # 1, 2, 4 .. minutes, then each hour, over nearly three hours.
    assert messages == 7

    # After a quiet time the next one is told soon again.
    now += 4000
    gathered.take(now)
    now += 4000
    gathered.add(receipt(), now, 60)
    assert gathered.is_due(now + 60, 60)


def test_reasons_and_names_are_bounded() -> None:
    gathered = Gathered()
    for number in range(100):
        gathered.add(receipt(number, reason=f"Reason {number % 50}."), 1000, 60)
    assert len(gathered.reasons) == 8
    assert gathered.others == 100 - 16
    words = wording.failures(gathered, {"job-0": "Mend it."})
    assert words.title == "100 files failed"
    assert "84 files for further reasons." in words.text
    assert "What to do: Mend it." in words.text
    assert len(words.text) <= 2000


def test_names_that_forge_lines_do_not() -> None:
    gathered = Gathered()
    gathered.add(receipt(name="a\nb.pdf", reason="x\u202e\ny"), 1000, 60)
    words = wording.failures(gathered, {})
    assert words.title == "a b.pdf failed"
    assert "\u202e" not in words.text


def test_a_clock_that_is_set_back_holds_no_message() -> None:
    gathered = Gathered()
    gathered.add(receipt(), 5000, 60)
    assert not gathered.is_due(5059, 60)
    assert gathered.is_due(4000, 60)


# Pauses

PATIENCE = Patience(told_after=600, over_after=60)


def test_a_pause_is_told_once_and_so_is_its_end() -> None:
    pauses = Pauses([], 0)
    assert pauses.look([S3_DOWN], 1001, PATIENCE) == ([], [])
    (long,), _ = pauses.look([S3_DOWN], 1600, PATIENCE)
    assert (long.service, long.steps) == ("s3", ["store"])
    assert pauses.look([S3_DOWN], 1601, PATIENCE) == ([], [])
    # It comes and goes: that is one pause.
    assert pauses.look([], 1650, PATIENCE) == ([], [])
    assert pauses.look([S3_DOWN], 1655, PATIENCE) == ([], [])
    assert pauses.look([], 1700, PATIENCE) == ([], [])
    _, (over,) = pauses.look([], 1715, PATIENCE)
    assert (over.told, over.seen - over.since) == (True, 655)
    assert not pauses.standing


def test_a_short_pause_is_told_to_nobody() -> None:
    pauses = Pauses([], 0)
    pauses.look([S3_DOWN], 1001, PATIENCE)
    _, (over,) = pauses.look([], 1100, PATIENCE)
    assert not over.told


def test_two_steps_that_wait_for_one_service_are_one_pause() -> None:
    pauses = Pauses([], 0)
    both = [S3_DOWN, {**S3_DOWN, "step": "index", "since": 1200.0}]
    (long,), _ = pauses.look(both, 1600, PATIENCE)
    assert long.steps == ["index", "store"]


def test_what_is_paused_on_purpose_is_told_unless_it_ends_by_itself() -> None:
    pauses = Pauses([], 0)
    person = {**S3_DOWN, "service": "person", "until": None}
    window = {**S3_DOWN, "service": "window", "until": None}
    tonight = {**person, "until": 9000.0}
    assert pauses.look([window, tonight], 1600, PATIENCE) == ([], [])
    (long,), _ = pauses.look([window, person], 1600, PATIENCE)
    assert wording.paused(long, 1600).title == "paused by a person for 10 min 0 s"
    _, (over,) = pauses.look([window], 1700, PATIENCE)
    assert wording.resumed(over).title == "goes on, a person resumed it"


def test_a_restart_in_a_pause_tells_neither_its_end_nor_it_again() -> None:
    first = Pauses([], 0)
    first.look([S3_DOWN], 1600, PATIENCE)
    second = Pauses(first.standing.values(), not_before=1720)
    assert second.look([], 1610, PATIENCE, connected=False) == ([], [])
    assert second.look([], 1700, PATIENCE) == ([], [])
    again = {**S3_DOWN, "since": 1705.0}
    assert second.look([again], 2400, PATIENCE) == ([], [])
    _, (over,) = second.look([], 2460, PATIENCE)
    assert over.since == 1000
    # And one that does not come back is over.
    third = Pauses([over], not_before=3000)
    assert third.look([], 3060, PATIENCE)[1] == [over]


# The book


def test_what_is_saved_is_read_and_a_damaged_book_begins_anew(tmp_path: Path) -> None:
    book = Book.open(tmp_path, START)
    book.failures.add(receipt(), 1000, 60)
    book.standing = list(Pauses([], 0).standing.values())
    book.post(Message.of("test", "default", wording.test()), KEYS)
    book.save(tmp_path)
    assert Book.open(tmp_path, Position("x", 1, "y")) == book
    path = tmp_path / "notifications.json"
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_text()
    for broken in (whole[:-9], "[]", '{"version": 1}', whole.replace("1", "2", 1)):
        path.write_text(broken)
        assert Book.open(tmp_path, START).outbox == []


def test_messages_that_wait_are_bounded_and_counted(tmp_path: Path) -> None:
    book = Book.open(tmp_path, START)
    for _ in range(130):
        book.post(Message.of("test", "default", wording.test()), KEYS)
    assert (len(book.outbox), book.dropped) == (100, 30)
    words = wording.several([one.message for one in book.outbox], book.dropped)
    assert words.title.startswith("130 messages")
    assert "115 older ones are left out here." in words.text
    assert len(words.data["messages"]) == 100


# A zone


class ZoneUnderTest:
    """Notices over real receipts and a real journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        state = path / "state"
        state.mkdir()
        self.journal = Journal(state / "journal.sqlite")
        self.receipts = Receipts(state / "receipts")
        assert not list(self.receipts.recover(START))

    def notices(self, **settings: object) -> ZoneNotices:
        source = Source(Zone(path=self.path), self.journal, lambda: self.receipts.end)
        return ZoneNotices(source, rules(**{"daily_at": None, **settings}))

    def append(self, *lines: dict[str, object]) -> None:
        self.receipts.append(lines, "2026-11")

    def close(self) -> None:
        self.receipts.close()
        self.journal.close()


@pytest.fixture
def zone(tmp_path):
    made = ZoneUnderTest(tmp_path)
    yield made
    made.close()


def kinds(notices: ZoneNotices) -> list[str]:
    return [waiting.message.kind for waiting in notices.book.outbox]


def test_files_put_back_that_go_through_are_told(zone) -> None:
    notices = zone.notices(group_seconds=0.001)
    again = receipt(1, outcome="indexed", reason=None, step=None, retry_of="job-0")
    zone.append(receipt(0), again, receipt(2, outcome="indexed", reason=None))
    notices.look(Told(), KEYS, flush=True)
    assert kinds(notices) == ["failures", "recovery"]
    last = notices.book.outbox[1].message
    assert last.title.endswith("f1.pdf processed after having failed")
    assert notices.book.outcomes == {"failed": 1, "indexed": 2}


def test_what_was_read_and_not_saved_is_read_again(zone) -> None:
    notices = zone.notices()
    zone.append(receipt(0))
    notices.look(Told(), KEYS)
    # These are counted in memory only: no save for each file.
    zone.append(receipt(1), receipt(2))
    notices.look(Told(), KEYS)
    after = zone.notices()
    after.look(Told(), KEYS, flush=True)
    assert after.book.outbox[0].message.data["count"] == 3
    # Delivered and noted: nothing is told twice.
    after.delivered(after.book.outbox[0], KEYS[0])
    after.save()
    third = zone.notices()
    third.look(Told(), KEYS, flush=True)
    assert kinds(third) == []


@pytest.mark.parametrize(
    "known",
    [
        # Of another chain, and of one that was longer than the restored one.
        Position("2026-10.jsonl", 5, "1" * 64),
        Position("2026-11.jsonl", 99_999, "1" * 64),
        Position("2026-12.jsonl", 5, "1" * 64),
    ],
)
def test_receipts_that_are_not_known_any_more_are_told_and_passed(
    zone, capsys, known
) -> None:
    zone.append(receipt(0))
    book = Book.open(zone.path / "state", known)
    book.save(zone.path / "state")
    notices = zone.notices()
    notices.look(Told(), KEYS)
    assert "receipts were replaced under the messages" in capsys.readouterr().out
    zone.append(receipt(1))
    notices.look(Told(), KEYS, flush=True)
    assert notices.book.outbox[0].message.data["count"] == 1


def test_only_the_events_that_are_wanted(zone) -> None:
    notices = zone.notices(events=["summary"], pause_minutes=0)
    zone.append(receipt(0))
    notices.look(Told((S3_DOWN,), connected=True), KEYS, flush=True)
    assert kinds(notices) == []


def test_the_daily_summary_is_told_once_also_when_it_was_missed(zone) -> None:
    notices = zone.notices()
    zone.append(receipt(0), receipt(1, outcome="indexed", reason=None))
    notices.look(Told(), KEYS)
    # The daemon was away when the clocks showed it.
    notices.book.summed_up = time.time() - 2 * 86_400
    notices.save(now=True)
    late = zone.notices(daily_at="08:00", events=["summary"])
    late.look(Told(), KEYS)
    late.look(Told(), KEYS)
    assert kinds(late) == ["summary"]
    message = late.book.outbox[0].message
    assert message.title.endswith("2 files, 1 failed")
    assert "1 failed, 1 indexed; 20 B." in message.text
    assert "Free on the zone's disk:" in message.text
    assert late.book.outcomes == {}


def test_a_summary_tells_what_stands_still_and_what_waits(tmp_path) -> None:
    window = {**S3_DOWN, "step": "index", "service": "window"}
    person = {**S3_DOWN, "step": "claim", "service": "person"}
    history = History(under_way=3, failed=12, oldest_unfinished_seconds=61.0)
    paused = (S3_DOWN, window, person)
    zone = ZoneStatus("z", tmp_path, True, 1, None, paused, {}, None, history)
    words = wording.summary(wording.Ended({}, 0, 1000.0), (zone, 5_000_000_000))
    assert words.title == "0 files"
    lines = [line.partition(" since ")[0] for line in words.text.splitlines()]
    assert lines[1:] == [
        "In failed/ and not put back: 12 files. See: dropzone jobs --state failed",
        "Under way: 3 files, the oldest for 1 min 1 s.",
        "The step store waits for s3",
        "The step claim is paused by a person",
        "Free on the zone's disk: 5.0 GB.",
    ]


def test_a_journal_that_cannot_be_asked_holds_no_message(zone, capsys) -> None:
    zone.append(receipt(0))
    Book(START, summed_up=time.time() - 2 * 86_400).save(zone.path / "state")
    notices = zone.notices(daily_at="08:00")
    zone.journal.close()
    (zone.path / "state" / "journal.sqlite").write_bytes(b"no journal" * 1000)
    notices.look(Told(), KEYS, flush=True)
    assert kinds(notices) == ["failures", "summary"]
    assert "cannot be told" in notices.book.outbox[1].message.text
    told = capsys.readouterr().out
    assert "a message has no mending" in told
    assert "the summary knows only what ended" in told


def test_a_full_disk_holds_no_message(zone, capsys) -> None:
    notices = zone.notices()
    zone.append(receipt(0))
    # Nothing can be written where the aside file would be.
    (zone.path / "state" / "notifications.json.new").mkdir()
    notices.look(Told(), KEYS, flush=True)
    assert kinds(notices) == ["failures"]
    assert capsys.readouterr().out.count("cannot be noted") == 1
    os.rmdir(zone.path / "state" / "notifications.json.new")
    notices.save(now=True)
    assert kinds(zone.notices()) == ["failures"]


def test_the_page_is_named_where_a_phone_can_reach_it() -> None:
    for url, named in (("http://127.0.0.1:8484", False), ("http://10.0.0.7:1", True)):
        message = Message.of("test", "default", wording.test(), url)
        assert (url in message.text) is named
        assert message.told()["url"] == url


@pytest.mark.parametrize(
    ("at", "now", "then"),
    [("08:00", "21 08:00", "21 08:00"), ("08:00", "21 07:59", "20 08:00")],
)
def test_the_latest_time_of_day(at, now, then) -> None:
    def moment(text: str) -> float:
        local = dt.datetime.strptime(f"2026-11-{text}", "%Y-%m-%d %H:%M")  # noqa: DTZ007 local on purpose
        return local.timestamp()

    assert latest(at, moment(now)) == moment(then)


# Targets and settings


def test_targets_are_told_apart_and_give_nothing_away() -> None:
    found = targets.of(
        rules(
            targets=["mailto://me:word-1@host", "mailto://me:word-2@host"],
            webhook="https://host/secret-3",
            command=["/bin/true"],
        )
    )
    assert [one.name for one in found] == ["mailto", "mailto 2", "webhook", "command"]
    assert len({one.key for one in found}) == 4
    shown = repr(found) + json.dumps([one.key for one in found])
    assert not [word for word in ("word-1", "word-2", "secret-3") if word in shown]
    assert dataclasses.asdict(found[0])["address"] == "mailto://me:word-1@host"


def test_no_part_of_an_address_is_left_in_a_reason() -> None:
    address = "slack://bot@T1JJ/p%40ss/?token=abc123&to=%23dev"
    said = "POST of bot to T1JJ/p@ss or p%40ss?token=abc123 to #dev failed"
    assert targets.masked(said, address) == (
        "POST of **** to ****/**** or ****?****=**** to **** failed"
    )


def test_settings_are_checked_and_secret() -> None:
    made = rules(targets="json://a/x\nmailto://b", daily_at=630)
    assert [one.get_secret_value() for one in made.targets] == [
        "json://a/x",
        "mailto://b",
    ]
    assert made.daily_at == "10:30"
    assert isinstance(made.targets[0], SecretStr)
    for wrong in (
        {"targets": ["canary-token"]},
        {"webhook": "ftp://canary-token"},
        {"daily_at": "25:00"},
        {"events": ["all"]},
    ):
        with pytest.raises(ValidationError) as caught:
            rules(**wrong)
        assert "canary-token" not in str(caught.value)
