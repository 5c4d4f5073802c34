"""The thread that sends: what waits, what is told together, what a reload changes."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import wait_for
from dropzone import reloading
from dropzone.commands import doctor_notifications, output, render_status
from dropzone.commands.diagnosis import Verdict
from dropzone.journal import Journal
from dropzone.measures import Measures
from dropzone.notifications import wording
from dropzone.notifications.message import Message
from dropzone.notifications.notifier import Notifier
from dropzone.notifications.zone import Source, Told
from dropzone.receipts import Position, Receipts
from dropzone.settings import Settings, Zone
from dropzone.status import History, ZoneStatus
from receivers import Receiver, receiver

TELLING = Told(connected=True)


@pytest.fixture
def web() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    state = tmp_path / "state"
    state.mkdir()
    journal, receipts = Journal(state / "journal.sqlite"), Receipts(state / "receipts")
    assert not list(receipts.recover(Position.load(None)))
    yield Source(Zone(path=tmp_path), journal, lambda: receipts.end)
    receipts.close()
    journal.close()


class Running:
    """A notifier over one zone; a message is posted as the zone would."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self.stop = threading.Event()
        self.measures = Measures()
        self.notifier = Notifier(settings, self.stop, self.measures)
        self.notifier.start([source])

    def post(self, count: int) -> None:
        (zone,) = self.notifier._zones.values()
        keys = list(self.notifier._lines)
        with self.notifier._working:
            for _ in range(count):
                zone.book.post(Message.of("test", "default", wording.test()), keys)

    def waiting(self) -> int:
        waiting: int = self.notifier.note("default", TELLING)["waiting"]
        return waiting

    def end(self) -> None:
        self.stop.set()
        assert self.notifier.join(60)


def settings(**notifications: object) -> Settings:
    retry = {"first_pause_seconds": 0.05}
    quiet = {"daily_at": None, **notifications}
    return Settings.model_validate({"notifications": quiet, "retry": retry})


def test_what_waits_for_long_comes_as_one(source: Source, web: Receiver) -> None:
    for _ in range(3):
        web.statuses.put(503)
    running = Running(source, settings(webhook=web.url()))
    running.post(7)
    wait_for(lambda: not running.waiting(), "everything arrives")
    running.end()
    assert [message["kind"] for message in web.got] == ["several"]
    assert web.got[0]["title"].endswith("7 messages that could not be sent before")
    assert len(web.got[0]["data"]["messages"]) == 7
    assert running.measures.messages == {"sent": 1, "failed": 3}


def test_one_target_that_is_down_holds_up_no_other(
    tmp_path: Path,
    source: Source,
    web: Receiver,
    capsys: pytest.CaptureFixture[str],
) -> None:
    down = {"targets": ["json://127.0.0.1:9"], "webhook": web.url()}
    running = Running(source, settings(**down))
    running.post(1)
    wait_for(lambda: web.got, "the other one gets it")
    told = wait_for(
        lambda: (
            (told := running.notifier.note("default", TELLING))["targets"][0]["problem"]
            and told
        ),
        "it is shown",
    )
    shown = ZoneStatus(
        "z", tmp_path, False, 1, None, (), {}, None, History(), None, told
    )
    output.print_all(render_status.status([shown], {}))
    printed = capsys.readouterr().out
    assert "Messages have not arrived (json) for " in printed
    assert "A Connection error occurred" in printed
    assert [target["name"] for target in told["targets"]] == ["json", "webhook"]
    assert told["targets"][1]["problem"] is None
    running.end()
    # What it did not take outlives the process; the other one gets it no more.
    again = Running(source, settings(**down))
    assert again.waiting() == 1
    again.end()
    book = json.loads((source.zone.path / "state/notifications.json").read_text())
    assert [key[:5] for one in book["outbox"] for key in one["targets"]] == ["json-"]
    # A target that is not wanted any more is not waited for.
    last = Running(source, settings(webhook=web.url()))
    wait_for(lambda: not last.waiting(), "nothing waits")
    last.end()
    assert len(web.got) == 1


def test_a_reload_brings_the_first_target_and_takes_it_back(
    source: Source, web: Receiver
) -> None:
    none, some = settings(), settings(webhook=web.url())
    plan = reloading.plan(none, some)
    assert plan.settings.notifications == some.notifications
    assert web.url() not in str(plan.changed)
    running = Running(source, none)
    assert running.notifier.note("default", TELLING)["targets"] == []
    running.notifier.update(plan.settings)
    running.post(1)
    wait_for(lambda: web.got, "the new target gets it")
    running.notifier.update(none)
    wait_for(
        lambda: not running.notifier.note("default", TELLING)["targets"], "it is gone"
    )
    running.end()


def test_doctor_sends_each_target_a_test(tmp_path: Path, web: Receiver) -> None:
    zones = [{"path": str(tmp_path)}]
    wrong = {"targets": ["nosuch://canary"], "webhook": web.url()}
    some = Settings.model_validate({"notifications": wrong, "zones": zones})
    for send in (False, True):
        refused, taken = doctor_notifications.targets_of(some, send=send)
        assert refused.checked == "messages, nosuch"
        assert refused.verdict is Verdict.PROBLEM
        assert refused.found == "Apprise does not understand the address"
        assert "dropzone doctor --notify" in refused.what_to_do
        assert (taken.checked, taken.verdict) == ("messages, webhook", Verdict.OK)
        assert ("took a message" in taken.found) is send
    assert [message["kind"] for message in web.got] == ["test"]

    none = Settings.model_validate({"zones": zones})
    for send, verdict in ((False, Verdict.OK), (True, Verdict.WARNING)):
        (told,) = doctor_notifications.targets_of(none, send=send)
        assert told.verdict is verdict
