"""Messages are sent to real servers and programs, which fail in their own ways."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import wait_for
from dropzone.notification_settings import Notifications
from dropzone.notifications import courier, targets, wording
from dropzone.notifications.courier import Delivery, Parcel
from dropzone.notifications.message import Message
from receivers import Receiver, mailbox, receiver

MESSAGE = Message.of("failures", "default", wording.test())
SECRETS = ("canary-user", "canary-word", "canary-path", "canary-q")


@pytest.fixture
def web() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def send(seconds: float = 20.0, **settings: object) -> list[Delivery]:
    found = targets.of(Notifications.model_validate(settings))
    parcels = [Parcel(target, MESSAGE) for target in found]
    return courier.deliver(parcels, seconds, threading.Event())


def test_apprise_reaches_http_and_mail(tmp_path: Path, web: Receiver) -> None:
    with mailbox(tmp_path) as box:
        mail = f"mailto://{box.address}?from=dropzone@example.org&to=me@example.org"
        hook = f"json://canary-user:canary-word@127.0.0.1:{web.port}/canary-path"
        nobody = "json://canary-user:canary-word@127.0.0.1:9/canary-path"
        unknown = "nosuch://canary-word"
        done = send(targets=[mail, hook, nobody, unknown])
        (text,) = box.mails()
    assert [one.problem == "" for one in done] == [True, True, False, False]
    assert "connection error" in done[2].problem.lower()
    assert done[3].problem == "Apprise does not understand the address"
    assert not [s for s in SECRETS if any(s in one.problem for one in done)]
    assert f"Subject: {MESSAGE.title}" in text
    assert "somebody ran dropzone doctor" in text
    assert web.got[0]["type"] == "failure"


def test_a_webhook_gets_the_message_as_values(web: Receiver) -> None:
    (done,) = send(webhook=web.url("canary-user:canary%2Dword@"))
    assert done.problem == ""
    assert web.got == [MESSAGE.told()]
    assert web.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (500, "it answers 500 Internal Server Error"),
        (307, "it answers 307 Temporary Redirect and leads elsewhere"),
        (302, "it answers 302 Found and leads elsewhere"),
    ],
)
def test_a_webhook_that_refuses(web: Receiver, status: int, told: str) -> None:
    web.statuses.put(status)
    (done,) = send(webhook=web.url())
    assert done.problem.startswith(told)
    assert web.asked == 1


def test_what_hangs_is_ended_and_holds_up_no_other(
    tmp_path: Path, web: Receiver
) -> None:
    web.hangs.set()
    pid = tmp_path / "pid"
    with receiver() as other:
        begun = time.monotonic()
        done = send(
            5,
            targets=[f"json://127.0.0.1:{other.port}"],
            webhook=web.url(),
            command=["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"],
        )
        assert time.monotonic() - begun < 30
        assert [one.problem for one in done] == [
            "",
            "it gives no answer in 5 s",
            "it did not end in 5 s",
        ]
        assert other.got
    # It became somebody else's child, who may take a while to collect it.
    left = Path(f"/proc/{pid.read_text().strip()}/stat")
    wait_for(lambda: not left.exists() or ") Z " in left.read_text(), "sleep ends")


def test_a_command_gets_the_message_on_stdin(tmp_path: Path) -> None:
    got = tmp_path / "got.json"
    (done,) = send(command=["tee", str(got)])
    assert done.problem == ""
    assert json.loads(got.read_text()) == MESSAGE.told()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/no/such/program"], "there is no such program, or it may not be run"),
        (["sh", "-c", "echo one >&2; echo no route >&2; exit 7"], "it ended with 7: "),
        (["sh", "-c", "kill -9 $$"], "it ended with -9"),
    ],
)
def test_a_command_that_fails(command: list[str], told: str) -> None:
    (done,) = send(command=command)
    assert done.problem.startswith(told)


def test_a_stop_ends_what_is_being_sent(web: Receiver) -> None:
    web.hangs.set()
    stop = threading.Event()
    stop.set()
    (target,) = targets.of(Notifications.model_validate({"webhook": web.url()}))
    begun = time.monotonic()
    (done,) = courier.deliver([Parcel(target, MESSAGE)], 60, stop)
    assert done.problem
    assert time.monotonic() - begun < 40
