"""A running daemon tells people what needs them, once, whatever happens to it."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import ZoneOfTest, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from outages import behind_proxies
from receivers import Receiver, receiver

BROKEN = b"%PDF-1.7 nothing of the kind"
LOGIN = "canary-user-a1:canary-password-5e0c@"
CANARIES = ("canary-user-a1", "canary-password-5e0c", "canary-path-93e1", "canary-q-77")


@pytest.fixture
def web() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def zone(
    tmp_path: Path, services: ServiceAddresses, web: Receiver
) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    made.environment |= told_to(web)
    yield made
    made.close()


def told_to(web: Receiver, group_seconds: float = 0.5) -> dict[str, str]:
    return {
        "DROPZONE_WEBHOOK": web.url(LOGIN),
        "DROPZONE__NOTIFICATIONS__GROUP_SECONDS": str(group_seconds),
        "DROPZONE__NOTIFICATIONS__DAILY_AT": "",
    }


def events(zone: ZoneOfTest) -> Counter[str]:
    lines = zone.log().splitlines()
    return Counter(json.loads(line)["event"] for line in lines if line[:1] == "{")


def kill(daemon: Any) -> None:
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(30)


def look_for_canaries(zone: ZoneOfTest) -> list[tuple[str, str]]:
    shown = zone.command("status", "--json").stdout
    shown += zone.command("config", "show").stdout
    texts = {"commands": shown.encode()} | {
        str(path): path.read_bytes()
        for path in zone.base.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    return [
        (place, canary)
        for place, text in texts.items()
        for canary in CANARIES
        if canary.encode() in text
    ]


def test_two_hundred_failures_are_one_message(zone: ZoneOfTest, web: Receiver) -> None:
    # Longer than the test: the daemon dies before anything is told.
    zone.environment |= told_to(web, 3000)
    daemon = zone.start()
    for number in range(200):
        zone.drop(f"f{number}.pdf", BROKEN + b" %d" % number)
    zone.wait_for_ends(200)
    kill(daemon)
    assert web.asked == 0

    web.statuses.put(500)
    web.statuses.put(503)
    zone.environment |= told_to(web)
    daemon = zone.start()
    (message,) = wait_for(lambda: list(web.got), "the failures are told")
    check_message_of_200(message)
    assert web.headers[0]["Authorization"].startswith("Basic ")
    assert web.asked == 3
    wait_for(lambda: "messages arrive again" in events(zone), "the log tells it")
    assert events(zone)["messages do not arrive"] == 1
    assert not look_for_canaries(zone)

    # Told and noted: another death tells nothing twice.
    book = zone.root / "state" / "notifications.json"
    wait_for(lambda: not json.loads(book.read_text())["outbox"], "it is noted")
    kill(daemon)
    daemon = zone.start()
    zone.drop("late.pdf", BROKEN)
    wait_for(lambda: len(web.got) > 1, "the next failure is told")
    assert web.got[1]["title"].endswith("late.pdf failed")
    report = wait_for(lambda: sent_by(zone, daemon.pid), "status tells it")
    assert report["targets"] == [{"name": "webhook", "problem": None, "since": None}]
    zone.stop(daemon)
    assert len(web.got) == 2


def sent_by(zone: ZoneOfTest, pid: int) -> dict[str, Any] | None:
    """Return what this daemon reports of its messages once all are sent."""
    report = zone.report()
    told: dict[str, Any] = report["notifications"]
    sent = report["pid"] == pid and told["sent"] and not told["waiting"]
    return told if sent else None


def check_message_of_200(message: dict[str, Any]) -> None:
    assert message["title"].endswith("default: 200 files failed")
    assert message["data"]["count"] == 200
    (reason,) = message["data"]["reasons"]
    assert (reason["count"], len(reason["names"])) == (200, 3)
    assert reason["what_to_do"] in message["text"]
    assert "dropzone retry --failed" in message["text"]


def test_a_long_pause_and_its_end_are_told_once(
    tmp_path: Path, services: ServiceAddresses, web: Receiver
) -> None:
    shorter = {**told_to(web, 1), "DROPZONE__NOTIFICATIONS__PAUSE_MINUTES": "0.02"}
    with behind_proxies(tmp_path, services, shorter) as outage:
        outage.s3.refuse()
        daemon = outage.zone.start()
        outage.drop()
        (pause,) = wait_for(lambda: web.of("pauses"), "the pause is told")
        assert "waits for s3 for" in pause["title"]
        assert pause["data"]["steps"] == ["store"]
        assert "does not answer" in pause["text"]
        outage.s3.heal()
        (over,) = wait_for(lambda: web.of("recovery"), "its end is told")
        assert over["title"].endswith("goes on, s3 is back")
        assert over["data"]["seconds"] >= 1
        outage.zone.wait_for_ends(3)
        outage.zone.stop(daemon)
    assert [message["kind"] for message in web.got] == ["pauses", "recovery"]


def test_once_tells_before_it_ends(zone: ZoneOfTest, web: Receiver) -> None:
    zone.environment |= told_to(web, 3000)
    zone.drop("broken.pdf", BROKEN)
    assert zone.run_once() == 1
    (message,) = web.of("failures")
    assert message["title"].endswith("broken.pdf failed")
