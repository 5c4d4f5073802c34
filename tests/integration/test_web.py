"""The server in a thread, who may ask it, and what it does about a taken port."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest
import structlog

from daemons import wait_for
from dropzone.commands import doctor_web
from dropzone.settings import Settings
from dropzone.web import app, server
from dropzone.web.api.backend import Backend
from dropzone.web.server import WebServer
from dropzone.web_settings import Web
from webclient import get

TOKEN = "4f1c01b3a08f2dd9a7ce55"
WHY = [{"zone": "default", "step": "store", "reason": "S3 is away."}]


@contextmanager
def served(
    settings: Web,
    *,
    stale: dict[str, float] | None = None,
    why: list[dict[str, str]] | None = None,
) -> Iterator[str]:
    """Serve what the arguments tell and return the address."""
    sources = app.Sources(
        stale=lambda: stale or {},
        not_ready=lambda: why or [],
        metrics=lambda _: (b"", "text/plain"),
    )
    stop = threading.Event()
    web = WebServer(settings, lambda: app.make(settings, sources), stop)
    web.start()
    try:
        yield wait_for(lambda: web.report()["url"], "the page is served")
    finally:
        stop.set()
        assert web.join(30)
        assert web.report()["url"] is None


def test_alive_and_ready_say_so_and_say_why_not():
    with served(Web(port=0)) as url:
        assert get(f"{url}/healthz").json == {"alive": True}
        ready = get(f"{url}/readyz")
        assert (ready.status, ready.json) == (200, {"ready": True, "reasons": []})
        assert get(f"{url}/nothing").status == 404
    with served(Web(port=0), stale={"watcher": 99.5}, why=WHY) as url:
        alive = get(f"{url}/healthz")
        assert alive.status == 503
        assert alive.json["standing_still_seconds"] == {"watcher": 99.5}
        ready = get(f"{url}/readyz")
        assert (ready.status, ready.json) == (503, {"ready": False, "reasons": WHY})


def test_every_answer_has_the_headers_that_keep_browsers_careful():
    with served(Web(port=0)) as url:
        for path in ("/", "/healthz", "/nothing"):
            headers = get(url + path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.x:1"])
def test_a_foreign_name_gets_nothing_without_a_token(host):
    with served(Web(port=0), why=WHY) as url:
        assert get(url, host=host).status == 421
        # A probe that comes by another name learns whether, not why.
        assert get(f"{url}/readyz", host=host).json == {"ready": False}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "[::1]:8484", "[::1]"])
def test_the_names_of_this_machine_are_served(host):
    with served(Web(port=0)) as url:
        assert get(f"{url}/metrics", host=host).status == 200


@pytest.mark.parametrize(
    "given",
    [
        *("", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"),
        *(TOKEN, f"Basic {TOKEN}", "Bearer \xe4"),
    ],
)
def test_a_token_that_is_asked_for_must_be_right(given):
    with served(Web(port=0, token=TOKEN), why=WHY) as url:
        refused = get(f"{url}/metrics", authorization=given)
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in refused.text
        assert get(f"{url}/healthz", authorization=given).json == {"alive": True}
        assert get(f"{url}/readyz", authorization=given).json == {"ready": False}


def test_the_token_opens_everything_whatever_the_name():
    with served(Web(host="0.0.0.0", port=0, token=TOKEN), why=WHY) as url:  # noqa: S104
        asked = {"authorization": f"bearer {TOKEN}", "host": "drop.example"}
        assert get(f"{url}/metrics", **asked).status == 200
        assert get(f"{url}/readyz", **asked).json["reasons"] == WHY


def test_it_is_served_on_ipv6_too():
    with served(Web(host="::1", port=0)) as url:
        assert url.startswith("http://[::1]:")
        assert get(f"{url}/metrics").status == 200


def test_a_taken_port_is_told_once_and_taken_when_free(monkeypatch):
    monkeypatch.setattr(server, "_AGAIN_SECONDS", 0.05)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Web(port=other.getsockname()[1])
        with structlog.testing.capture_logs() as logged:
            web = WebServer(settings, lambda: None, stop)
            web.start()
            wait_for(lambda: web.report()["problem"], "the port is seen as taken")
            # The look after the next one would have told it again.
            assert not stop.wait(0.3)
            told = web.report()
    stop.set()
    assert web.join(30)
    assert told["url"] is None
    assert str(settings.port) in told["problem"]
    assert "web.port" in told["what_to_do"]
    refused = [line for line in logged if line["log_level"] == "error"]
    assert [line["hint"] for line in refused] == [told["what_to_do"]]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Web(host="192.0.2.7", token=TOKEN), "no address 192.0.2.7"),
        (Web(host="::2", token=TOKEN), "no address ::2"),
    ],
)
def test_an_address_that_cannot_be_had_is_told(settings, told):
    with pytest.raises(OSError, match="ssign") as error:
        server.bind(settings)
    refusal = server.explained(error.value, settings)
    assert told in refusal.reason
    assert "web.host" in refusal.hint


def test_no_answer_over_a_kept_connection_waits_for_an_acknowledgement():
    with (
        server.bind(Web(port=0)) as listener,
        socket.create_connection(listener.getsockname()[:2], timeout=30),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_request_under_way_does_not_hold_up_the_end():
    begun, release, stop = threading.Event(), threading.Event(), threading.Event()

    def slow() -> list[dict[str, str]]:
        begun.set()
        release.wait(60)
        return []

    settings = Web(port=0)
    sources = app.Sources(stale=dict, not_ready=slow, metrics=lambda _: (b"", ""))
    web = WebServer(settings, lambda: app.make(settings, sources), stop)
    web.start()
    url = wait_for(lambda: web.report()["url"], "the page is served")

    answers = []

    def ask() -> None:
        answers.append(get(f"{url}/readyz"))

    asking = threading.Thread(target=ask)
    asking.start()
    assert begun.wait(30)
    with structlog.testing.capture_logs() as logged:
        stop.set()
        ended = web.join(20)
    # What it waits for has not ended: it is answered all the same.
    asking.join(30)
    release.set()
    assert ended
    (cut_off,) = answers
    assert cut_off.status == 503
    assert cut_off.headers["content-type"] == "application/problem+json"
    assert cut_off.headers["x-content-type-options"] == "nosniff"
    assert cut_off.headers["retry-after"] == "5"
    assert [line["event"] for line in logged] == ["requests were cut off at the end"]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nG",
    ],
)
def test_who_does_not_ask_to_the_end_is_cut_off(sent, monkeypatch):
    monkeypatch.setattr(server, "_IDLE_SECONDS", 1.0)
    with served(Web(port=0)) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 60) as silent:
            silent.sendall(sent)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while part := silent.recv(4096):
                    received += part
        # This one asks, if a busy machine lets it take a second for that.
        monkeypatch.setattr(server, "_IDLE_SECONDS", 30.0)
        assert received.count(b"HTTP/1.1 200") == sent.count(b"\r\n\r\n")
        assert get(f"{url}/healthz").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "10.0.0.1"])  # noqa: S104
def test_an_address_for_others_takes_a_token(host):
    with pytest.raises(ValueError, match="takes a token"):
        Settings.model_validate({"web": {"host": host}})
    assert Web(host=host, token=TOKEN).host == host
    assert not Web(host=host, enabled=False).enabled


@pytest.mark.parametrize("host", ["drop.example", "", "127.0.0.1:80", "*"])
def test_a_host_that_is_no_address_is_refused(host):
    with pytest.raises(ValueError, match="IP address"):
        Web(host=host)


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 19, "x" * 20 + " ", "x" * 20 + "\n"]
)
def test_a_token_that_can_be_guessed_or_not_sent_is_refused(token):
    with pytest.raises(ValueError, match="openssl rand") as error:
        Web(token=token)
    assert not token or token not in str(error.value)


def test_doctor_tells_whether_the_collector_of_traces_is_there():
    def told(url):
        return [
            (str(one.verdict), one.what_to_do)
            for one in doctor_web.traces(Settings(traces={"endpoint": url}))
        ]

    assert told(None) == []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert told(f"http://127.0.0.1:{port}") == [("ok", "")]
    ((verdict, what),) = told(f"http://127.0.0.1:{port}")
    assert verdict == "warning"
    assert "traces.endpoint" in what


def test_a_fault_of_the_server_is_told_and_it_is_served_again(monkeypatch):
    monkeypatch.setattr(server, "_AGAIN_SECONDS", 0.05)
    settings, stop = Web(port=0), threading.Event()
    sources = app.Sources(stale=dict, not_ready=list, metrics=lambda _: (b"", ""))
    made = []

    def make():
        made.append(web.report()["url"])
        if len(made) == 1:
            raise RuntimeError("unforeseen")
        return app.make(settings, sources)

    with structlog.testing.capture_logs() as logged:
        web = WebServer(settings, make, stop)
        web.start()
        wait_for(lambda: len(made) == 2, "it is served again")
        assert get(f"{made[1]}/healthz").status == 200
        stop.set()
        assert web.join(30)
    assert "the page failed; it is served again" in [line["event"] for line in logged]


def test_a_request_that_fails_is_told_and_costs_only_itself():
    def broken(_accept: str) -> tuple[bytes, str]:
        raise RuntimeError("unforeseen")

    settings, stop = Web(port=0), threading.Event()
    sources = app.Sources(stale=dict, not_ready=list, metrics=broken)
    web = WebServer(settings, lambda: app.make(settings, sources), stop)
    with structlog.testing.capture_logs() as logged:
        web.start()
        url = wait_for(lambda: web.report()["url"], "it is served")
        failed = get(f"{url}/metrics")
        assert (failed.status, "a fault of dropzone" in failed.text) == (500, True)
        assert "unforeseen" not in failed.text
        assert get(f"{url}/healthz").status == 200
        stop.set()
        assert web.join(30)
    assert [line["event"] for line in logged][1:] == ["a request failed"]


def test_a_page_that_fails_is_told_as_a_page():
    def broken() -> Any:
        raise RuntimeError("unforeseen")

    stop = threading.Event()
    settings = Web(port=0)
    parts = dict.fromkeys((field.name for field in fields(Backend)), broken)
    backend = Backend(**{**parts, "stop": stop})
    sources = app.Sources(dict, list, lambda _: (b"", ""), api=backend)
    web = WebServer(settings, lambda: app.make(settings, sources), stop)
    with structlog.testing.capture_logs() as logged:
        web.start()
        url = wait_for(lambda: web.report()["url"], "it is served")
        failed = get(f"{url}/files", accept="text/html")
        assert failed.status == 500
        assert failed.headers["content-type"].startswith("text/html")
        assert "This is a fault of dropzone, not of yours." in failed.text
        assert "unforeseen" not in failed.text
        assert get(f"{url}/api/v1/jobs", accept="text/html").json["status"] == 500
        stop.set()
        assert web.join(30)
    assert [line["event"] for line in logged][1:] == ["a request failed"] * 2


@pytest.mark.parametrize(
    ("number", "told", "what"),
    [
        (errno.EACCES, "may not listen", "1024 or higher"),
        (errno.EMFILE, "Too many open files", ""),
    ],
)
def test_what_the_system_refuses_is_a_sentence(number, told, what):
    refusal = server.explained(OSError(number, os.strerror(number)), Web(port=80))
    assert told in refusal.reason
    assert what in refusal.hint
