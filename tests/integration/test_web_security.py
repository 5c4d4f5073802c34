"""Tries each threat of docs/security.md for real; its numbers are in the names."""

import asyncio
import contextlib
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from daemons import ZoneOfTest, wait_for, zone_on
from dropzone import pauses
from dropzone.embedded import ServiceAddresses
from dropzone.settings import Settings
from dropzone.web import (
    accounts,
    app,
    attempts,
    guard,
    listening,
    neighbours,
    proxies,
    server,
    sessions,
    tls,
)
from dropzone.web.page import site
from dropzone.web.server import WebServer
from dropzone.web_settings import Web
from faultproxy import FaultProxy, proxy_to
from uploading import Sender
from webclient import Answer, ask, connect, get, post, submit

TOKEN = "an-operator-4f1c01b3a08f2dd9"
OTHER = "a-reader-4f1c01b3a08f2dd9a7ce"
SCRAPER = "a-scraper-4f1c01b3a08f2dd9a7ce"
TOKENS = f"anna operate {TOKEN}\nrita read {OTHER}"
DROPPER = "a-dropper-4f1c01b3a08f2dd9a7ce"
EVIL = b"<script>alert(1)</script>"
SOURCES = app.Sources(stale=dict, not_ready=list, metrics=lambda _: (b"m 1\n", ""))


@contextlib.contextmanager
def serving(settings: Web, known: accounts.Accounts | None = None) -> Iterator[str]:
    stop = threading.Event()
    web = WebServer(settings, lambda: app.make(settings, SOURCES, known), stop)
    web.start()
    try:
        yield wait_for(lambda: web.report()["url"], "the page is served")
    finally:
        stop.set()
        assert web.join(30)


@pytest.fixture
def url() -> Iterator[str]:
    with serving(Web(port=0, tokens=TOKENS, token=SCRAPER)) as url:
        yield url


def cookies_of(answer: Answer) -> str:
    return "; ".join(cookie.partition(";")[0] for cookie in answer.cookies)


def log_in(url: str, token: str = TOKEN, after: str = "/", **headers: str) -> Answer:
    form = get(f"{url}/login", **headers)
    mark = re.search(r'name="csrf" value="(\w+)"', form.text)
    assert mark
    fields = {"csrf": mark[1], "token": token, "next": after}
    return submit(f"{url}/login", fields, cookie=cookies_of(form), **headers)


@pytest.fixture(scope="module")
def local(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[tuple[ZoneOfTest, str]]:
    """A daemon that asks for no token, and its address."""
    zone = zone_on(tmp_path_factory.mktemp("local"), services)
    process = zone.start()
    zone.drop("a.txt", b"a word")
    zone.wait_for_ends(1)
    yield zone, zone.url()
    zone.stop(process)
    zone.close()


@pytest.fixture(scope="module")
def postgres(services: ServiceAddresses) -> Iterator[FaultProxy]:
    """The way of the guarded daemon to its database."""
    parts = conninfo_to_dict(services.database_url)
    with proxy_to(f"{parts['host']}/.s.PGSQL.{parts['port']}") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory,
    services: ServiceAddresses,
    postgres: FaultProxy,
) -> Iterator[tuple[ZoneOfTest, str]]:
    """A daemon with a token for each role and one for scrapers, and its address."""
    zone = zone_on(tmp_path_factory.mktemp("guarded"), services)
    direct = zone.environment["DATABASE_URL"]
    zone.environment["DATABASE_URL"] = make_conninfo(
        direct, host="127.0.0.1", port=postgres.port
    )
    zone.environment["DROPZONE_WEB_TOKENS"] = f"{TOKENS}\ndora drop {DROPPER}"
    zone.environment["DROPZONE_WEB_TOKEN"] = SCRAPER
    process = zone.start()
    zone.drop("evil.html", EVIL)
    zone.wait_for_ends(1)
    yield zone, zone.url()
    zone.stop(process)
    zone.close()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def session_of(url: str, token: str) -> tuple[str, str]:
    """Log in; return the cookie and the mark."""
    cookie = cookies_of(log_in(url, token))
    return cookie, get(f"{url}/api/v1/me", cookie=cookie).json["csrf"]


def job_in(url: str) -> str:
    (job,) = get(f"{url}/api/v1/jobs", **bearer(TOKEN)).json["jobs"]
    return str(job["id"])


@pytest.mark.parametrize(
    "given",
    [{"host": "0.0.0.0"}, {"trusted_proxies": "127.0.0.1"}],  # noqa: S104
)
def test_1_strangers_are_not_served_without_a_token(given):
    with pytest.raises(ValidationError, match="takes a token"):
        Settings.model_validate({"web": given})
    assert Settings.model_validate({"web": {**given, "tokens": TOKENS}}).web.asks


def test_2_a_name_that_was_rebound_to_this_machine_gets_nothing(local):
    _, url = local
    refused = get(f"{url}/api/v1/jobs", host="evil.example")
    assert (refused.status, "a.txt" in refused.text) == (421, False)
    assert post(f"{url}/api/v1/pause", host="evil.example").status == 421


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_3_other_users_of_this_machine_see_metrics_and_no_file(local):
    _, url = local
    asked = (
        "import sys, urllib.request, urllib.error\n"
        "def ask(url):\n"
        "    try: return urllib.request.urlopen(url, timeout=30).status\n"
        "    except urllib.error.HTTPError as error: return error.code\n"
        "print(*[ask(url) for url in sys.argv[1:]])"
    )
    paths = ("/metrics", "/healthz", "/api/v1/jobs", "/api/v1/events")
    done = subprocess.run(
        ["/usr/bin/python3", "-c", asked, *(url + path for path in paths)],
        user=65534, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if not done.stdout:
        pytest.skip(f"another user cannot ask here: {done.stderr[-200:]}")
    assert done.stdout.split() == ["200", "200", "403", "403"]
    assert get(f"{url}/api/v1/jobs").status == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_3_the_kernel_tells_whose_connection_it_is(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.create_server((address, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2], timeout=30) as client,
    ):
        served, _ = listener.accept()
        with served:
            ends = served.getpeername()[:2], served.getsockname()[:2]
            assert neighbours.user_of(*ends) == os.geteuid()
            assert neighbours.is_our_own(*ends)
            client.close()
    # Who cannot be found is nobody of ours.
    assert not neighbours.is_our_own(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert not neighbours.is_our_own(None, ("127.0.0.1", 2))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "content_type": "application/json"},
        {"origin": "null", "content_type": "application/json"},
        {"sec_fetch_site": "cross-site", "content_type": "application/json"},
        {"sec_fetch_site": "same-site", "content_type": "application/json"},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
    ],
)
def test_4_a_foreign_page_changes_nothing_without_tokens(local, headers):
    zone, url = local
    assert post(f"{url}/api/v1/pause", {"steps": ["store"]}, **headers).status == 403
    assert not pauses.read(zone.root)


def test_4_a_foreign_page_cannot_use_the_session_of_a_browser(url):
    cookie = cookies_of(log_in(url))
    assert get(f"{url}/metrics", cookie=cookie).status == 200
    for headers in ({}, {"x_csrf_token": "guessed"}, {"origin": "http://evil.example"}):
        assert post(f"{url}/logout", cookie=cookie, **headers).status == 403
        assert submit(f"{url}/logout", {"csrf": "x"}, cookie=cookie).status == 403
    assert get(f"{url}/metrics", cookie=cookie).status == 200
    # Nor can it log the browser in under a name of its own.
    assert submit(f"{url}/login", {"token": TOKEN, "csrf": "x"}).status == 403


def test_4_a_tab_that_is_led_to_the_login_makes_no_other_form_too_old(url):
    form = get(f"{url}/login")
    mark = re.search(r'name="csrf" value="(\w+)"', form.text)
    assert mark
    kept = cookies_of(form)
    led = ask("HEAD", f"{url}/login", headers={"cookie": kept})
    assert cookies_of(led) == kept
    fields = {"csrf": mark[1], "token": TOKEN}
    assert submit(f"{url}/login", fields, cookie=cookies_of(led)).status == 303
    # What we never gave is not taken over.
    odd = cookies_of(get(f"{url}/login", cookie=kept.partition("=")[0] + "=x"))
    assert len(odd) == len(kept)


def test_4_every_form_takes_the_mark_and_a_page_of_ours(guarded):
    zone, url = guarded
    cookie, mark = session_of(url, TOKEN)
    for form in site.FORMS:
        to = f"{url}/do/{form.operation}"
        assert get(to, cookie=cookie).status == 405
        assert submit(f"{to}?csrf={mark}", {}, cookie=cookie).status == 403
        for foreign in ({"origin": "null"}, {"sec_fetch_site": "same-site"}):
            answer = submit(to, {"csrf": mark}, cookie=cookie, **foreign)
            assert answer.status == 403, form.operation
    for question in ("pause", "resume", "reload", "retry_all"):
        asked = get(f"{url}/ask/{question}?step=store&zone=default", cookie=cookie)
        assert asked.status == 200
    assert not pauses.read(zone.root)
    assert zone.report().get("reload") is None


def test_4_who_is_refused_is_told_on_a_page(guarded, local):
    _, url = guarded
    cookie, mark = session_of(url, TOKEN)
    for sent, told in (
        ({"cookie": cookie}, "Nothing was done: the mark"),
        ({"cookie": cookie, "origin": "null"}, "A page of another site"),
        ({}, "You are not logged in any more, so nothing was done."),
    ):
        answer = submit(f"{url}/do/pause", {}, accept="text/html", **sent)
        assert answer.headers["content-type"].startswith("text/html")
        assert (told in answer.text, mark in answer.text) == (True, False), told
        # Nobody is named to whom this may not be meant.
        assert "anna" not in answer.text
    assert submit(f"{url}/logout", {}, accept="text/html").status == 303
    answer = get(f"{local[1]}/files", host="evil.example", accept="text/html")
    assert answer.status == 421
    assert "under the names localhost" in answer.text
    assert "a.txt" not in answer.text
    answer = get(f"{local[1]}/api/v1/jobs", host="evil.example", accept="text/html")
    assert answer.json["status"] == 421


@pytest.mark.parametrize("path", ["/api/v1/search?q=a", "/api/v1/events", "/metrics"])
def test_4_another_site_leads_here_but_loads_nothing(local, path):
    _, url = local
    for mode, dest in (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")):
        sent = {"sec-fetch-mode": mode, "sec-fetch-dest": dest}
        assert get(url + path, **sent, **{"sec-fetch-site": "same-site"}).status == 403
    led = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    led["sec-fetch-site"] = "cross-site"
    assert get(f"{url}/files", **led).status == 200
    # Nor does it put a question under a hand that is about to click.
    assert get(f"{url}/ask/pause", **led).status == 403


def test_5_guessing_makes_the_address_wait_and_takes_bounded_memory(url):
    answers = [
        get(f"{url}/metrics", authorization=f"Bearer guess-{number}").status
        for number in range(12)
    ]
    assert answers == [401] * 10 + [429] * 2
    refused = get(f"{url}/metrics", authorization=f"Bearer {TOKEN}")
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert get(f"{url}/healthz").status == 200
    assert "Too many" in log_in(url).text
    now = [0.0]
    counted = attempts.Attempts(lambda: now[0])
    for number in range(10_000):
        counted.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(counted) <= 4096
    for _ in range(10):
        counted.failed("2001:db8::1")
    assert counted.wait_seconds("2001:db8::2") > 0
    now[0] = 61.0
    assert counted.wait_seconds("2001:db8::2") == 0


def test_5_the_password_of_a_proxy_is_no_guess_and_ends_no_session(url):
    basic = {"authorization": "Basic YTpi"}
    cookie = cookies_of(log_in(url, **basic))
    answers = {get(f"{url}/metrics", cookie=cookie, **basic).status for _ in range(12)}
    assert answers == {200}
    assert get(f"{url}/metrics", **basic).status == 401


def test_6_who_lost_a_role_is_told_nothing_more():
    settings = Web(port=0, tokens=f"anna operate {TOKEN}")
    known, goes_on = accounts.Accounts(settings), []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        goes_on.append(scope["goes_on"])

    async def never(*_: Any) -> Any:
        pytest.fail("nothing is read or sent")

    asked = guard.Guard(
        inner, settings, known, sessions.Sessions(known), attempts.Attempts()
    )
    token = f"Bearer {TOKEN}".encode()
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http"}
    asyncio.run(asked({**scope, "headers": [(b"authorization", token)]}, never, never))
    assert goes_on[0]()
    fewer = {"web": {"tokens": f"anna read {TOKEN}"}}
    known.update(Settings.model_validate(fewer))
    assert not goes_on[0]()


def test_6_a_session_ends_by_logout_by_time_and_with_its_token():
    settings = Web(port=0, tokens=TOKENS)
    known = accounts.Accounts(settings)
    with serving(settings, known) as url:
        answer = log_in(url)
        (cookie,) = [c for c in answer.cookies if "_form=" not in c]
        assert {"HttpOnly", "SameSite=strict"} <= {p.strip() for p in cookie.split(";")}
        named = cookies_of(answer)
        again = cookies_of(log_in(url))
        # Each login has a name of its own, whatever the browser brought.
        assert again != named
        known.update(Settings(web=Web(tokens=f"rita read {OTHER}")))
        assert get(url, cookie=named).status == 401
    now = [0.0]
    kept = sessions.Sessions(known, lambda: now[0])
    account = known.of_token(OTHER)
    assert account
    name = kept.begin(account)
    for hours in (0, 11, 22):
        now[0] = hours * 3600.0
        assert kept.caller(name)
    now[0] += sessions.IDLE_SECONDS
    assert kept.caller(name) is None
    name = kept.begin(account)
    for _ in range(200):
        now[0] += 3600.0
        kept.caller(name)
    assert kept.caller(name) is None


def test_6_who_logs_in_again_and_again_logs_out_nobody_else():
    known = accounts.Accounts(Web(tokens=TOKENS))
    kept = sessions.Sessions(known)
    mine, other = known.of_token(OTHER), known.of_token(TOKEN)
    assert mine
    assert other
    name, last = kept.begin(other), ""
    for _ in range(1500):
        last = kept.begin(mine)
    assert len(kept) == 101
    assert kept.goes_on(name)
    assert kept.goes_on(last)


def test_6_what_was_ended_is_unknown_to_the_server():
    settings = Web(port=0, tokens=TOKENS)
    known = accounts.Accounts(settings)
    kept = sessions.Sessions(known)
    account = known.of_token(TOKEN)
    assert account
    name = kept.begin(account)
    caller = kept.caller(name)
    assert caller
    assert caller.csrf
    kept.end(name)
    assert kept.caller(name) is None
    assert not kept.goes_on(name)


ELSEWHERE = [
    *("//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb: c"),
    *("javascript:alert(1)", "/.//evil.example", "/%2f/evil.example", ""),
    # Behind a prefix this is another program's.
    *("/../other", "/a/%2E%2e/../other", "/a\\..\\..\\other", "/..?a"),
]


def test_7_the_login_leads_to_no_other_site(url):
    for after in ELSEWHERE:
        answer = log_in(url, after=after)
        assert (answer.status, answer.headers["location"]) == (303, "/"), after
    assert log_in(url, after="/files?q=..").headers["location"] == "/files?q=.."


def test_7_a_question_and_a_form_lead_to_no_other_site(guarded):
    _, url = guarded
    for after in ELSEWHERE:
        asked = get(f"{url}/ask/pause?next={quote(after, safe='')}", **bearer(TOKEN))
        assert 'href="/" data-close' in asked.text, after
        answer = submit(f"{url}/do/resume", {"next": after}, **bearer(TOKEN))
        assert re.fullmatch(r"/\?told=[\w-]+", answer.headers["location"]), after


def test_7_what_a_request_holds_is_escaped_in_the_page(url):
    page = get(f"{url}/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        # What a foreign page may send without asking first.
        ("POST", {"content-type": "text/plain"}),
        ("POST", {"content-type": "multipart/form-data"}),
        ("POST", {}),
        # A browser says where it comes from, whatever its page may send.
        ("POST", {"tus-resumable": "1.0.0", "origin": "https://evil.example"}),
        ("PATCH", {"tus-resumable": "1.0.0", "sec-fetch-site": "cross-site"}),
        ("DELETE", {"tus-resumable": "1.0.0", "origin": "null"}),
        ("POST", {"x-http-method-override": "PATCH"}),
    ],
)
def test_16_a_foreign_page_uploads_nothing_without_tokens(local, method, headers):
    zone, url = local
    sent = {"upload-length": "1", "upload-metadata": "filename ZXZpbA==", **headers}
    refused = ask(method, f"{url}/api/v1/uploads", b"x", sent)
    assert refused.status == 403, refused.text
    allowed = ask("OPTIONS", f"{url}/api/v1/uploads", headers=headers)
    assert not [name for name in allowed.headers if name.startswith("access-control")]
    assert not (zone.input / "evil").exists()


def test_16_uploads_take_no_byte_before_it_is_known_who_sends_them(local):
    """The answer comes although the body never does."""
    _, url = local
    length = str(1 << 40)
    streamed = {"content-type": "application/offset+octet-stream"}
    for headers, status in (
        ({"host": "evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"x-forwarded-for": "10.0.0.1"}, 403),
    ):
        connection = connect(url)
        connection.putrequest("PATCH", "/api/v1/uploads/" + "0" * 32, skip_host=True)
        sent = {"host": url.partition("//")[2], "tus-resumable": "1.0.0", **streamed}
        for name, value in {**sent, **headers, "content-length": length}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()


def test_16_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(local, tmp_path):
    zone, url = local
    sender = Sender(url)
    upload = sender.begun(1, relativePath="turned/x.txt", filename="x.txt")
    link = zone.input / "turned"
    link.symlink_to(tmp_path)
    try:
        assert sender.add(upload, 0, b"x").status == 409
        refused = sender.begin(1, relativePath="turned/y.txt", filename="y.txt")
        assert refused.status == 409
        assert list(tmp_path.iterdir()) == []
    finally:
        link.unlink()
    # What came is kept, and lands once its folder is one.
    assert sender.ask("GET", upload).json["state"] == "landed"


def test_8_no_page_runs_foreign_script_or_is_framed(url):
    headers = get(f"{url}/login").headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"):
        assert part in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    # No other site may read an answer.
    assert "access-control-allow-origin" not in headers


def test_8_every_kind_of_answer_has_its_policy(guarded):
    _, url = guarded
    job, page = job_in(url), {"accept": "text/html", **bearer(TOKEN)}
    style = re.search(r'href="(/static/\w+/base.css)"', get(f"{url}/login").text)
    assert style
    answers = [
        *(get(url + path, **page) for path in ("/", "/nothing", "/files?state=x")),
        get(f"{url}/files", accept="text/html"),
        get(f"{url}/api/v1/jobs", **bearer(TOKEN)),
        get(f"{url}/api/v1/jobs"),
        get(f"{url}/files/{job}/file", **page),
        *(get(url + path) for path in (style[1], "/static/x/app.js", "/static/x/y")),
        ask("PUT", f"{url}/files", headers=page),
        submit(f"{url}/do/resume", {}, **page),
    ]
    told = [200, 404, 422, 303, 200, 401, 200, 200, 200, 404, 405, 303]
    assert [answer.status for answer in answers] == told
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        assert ("script-src 'self'" in policy) == is_page


def test_9_what_was_dropped_is_saved_and_never_shown(guarded):
    _, url = guarded
    job = job_in(url)
    for path in (f"/files/{job}/file", f"/api/v1/jobs/{job}/file"):
        saved = get(url + path, **bearer(OTHER))
        assert saved.body == EVIL
        assert saved.headers["content-type"] == "application/octet-stream"
        assert saved.headers["content-disposition"].startswith("attachment")
        assert saved.headers["content-security-policy"].endswith("sandbox")
        assert ask("HEAD", url + path, headers=bearer(OTHER)).status == 200
    # Nor does S3, whose address may be another port of ours.
    link = post(f"{url}/api/v1/jobs/{job}/link", {}, **bearer(OTHER)).json["url"]
    saved = get(link)
    assert saved.body == EVIL
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"].startswith("attachment")


def test_9_a_file_that_was_swapped_for_a_link_is_not_followed(local):
    zone, url = local
    zone.drop("swapped.txt", b"soon to be swapped")
    zone.wait_for_ends(2)
    (job,) = get(f"{url}/api/v1/jobs?text=swapped").json["jobs"]
    placed = zone.root / "processed" / "swapped.txt"
    placed.unlink()
    placed.symlink_to("/etc/passwd")
    refused = get(f"{url}/api/v1/jobs/{job['id']}/file")
    assert refused.status == 409
    assert "root:" not in refused.text
    for path in ("..%2f..%2fetc%2fpasswd", "..", "%00"):
        assert get(f"{url}/api/v1/jobs/{path}/file").status == 404


def test_10_each_token_does_what_its_role_says_and_the_scraper_only_scrapes(url):
    # That each operation takes its role is tried in test_web_api.
    assert get(f"{url}/metrics", authorization=f"Bearer {SCRAPER}").status == 200
    assert "scrapers" in log_in(url, SCRAPER).text
    known = accounts.Accounts(Web(tokens=TOKENS, token=SCRAPER))
    scraper, reader = known.of_token(SCRAPER), known.of_token(OTHER)
    assert scraper
    assert reader
    assert scraper.role is None
    caller = accounts.Caller(reader.name, reader.role, "bearer")
    assert [caller.may(role) for role in accounts.Role] == [True, False, False]


def test_10_no_form_or_question_does_more_than_its_role(guarded):
    zone, url = guarded
    for token in (OTHER, DROPPER, SCRAPER):
        for form in site.FORMS:
            if form.operation != "link":
                done = submit(
                    f"{url}/do/{form.operation}", {"job": "x"}, **bearer(token)
                )
                assert done.status == 403, form.operation
        for question in ("pause", "resume", "reload", "retry_all", "set_aside?job=x"):
            assert get(f"{url}/ask/{question}", **bearer(token)).status == 403
        assert get(f"{url}/api/v1/settings", **bearer(token)).status == 403
        shown = get(f"{url}/settings/configuration", **bearer(token))
        assert "web.tokens</bdi>" not in shown.text
    for view in site.VIEWS:
        path = re.sub(r"{\w+}", "x", view.path)
        assert get(url + path, **bearer(SCRAPER)).status == 403, path
    assert not pauses.read(zone.root)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    _certify(tmp_path, "one")
    return tmp_path


def _certify(folder: Path, name: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *(
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
                "-subj",
                f"/CN={name}",
            ),
            *("-keyout", str(folder / "new.key"), "-out", str(folder / "new.pem")),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    (folder / "new.key").replace(folder / "tls.key")
    (folder / "new.pem").replace(folder / "tls.pem")


def _name_shown(url: str) -> bytes:
    host, port = url.removeprefix("https://").split(":")
    return ssl.get_server_certificate((host, int(port)), timeout=30).encode()


def test_11_over_tls_nobody_listens_and_a_renewed_certificate_is_taken(
    certificates, monkeypatch
):
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0.1)
    settings = Web(
        port=0,
        tokens=TOKENS,
        tls_certificate=certificates / "tls.pem",
        tls_key=certificates / "tls.key",
    )
    with serving(settings) as url, structlog.testing.capture_logs() as logged:
        assert url.startswith("https://")
        assert all("Secure" in cookie for cookie in log_in(url).cookies[:1])
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        host, port = url.removeprefix("https://").split(":")
        with (
            socket.create_connection((host, int(port)), timeout=30) as plain,
            pytest.raises(OSError),  # noqa: PT011 how a refusal shows differs
        ):
            old.wrap_socket(plain)
        before = _name_shown(url)
        # Half of a pair, as while it is being renewed, changes nothing.
        (certificates / "tls.pem").write_text("not yet")
        wait_for(
            lambda: any(one["event"] == "certificate not renewed" for one in logged),
            "it is told",
        )
        assert _name_shown(url) == before
        _certify(certificates, "two")
        wait_for(lambda: _name_shown(url) != before, "the renewed one is shown")
        assert get(f"{url}/healthz").status == 200


def test_12_only_a_known_proxy_says_who_asks():
    network = ("10.0.0.0/8",)
    headers = app.Request(
        {
            "type": "http",
            "headers": [
                (b"host", b"inner"),
                (b"x-forwarded-for", b"1.1.1.1, 203.0.113.9, 10.0.0.7"),
                (b"x-forwarded-proto", b"https"),
                (b"x-forwarded-host", b"drop.example"),
            ],
        }
    ).headers
    known = proxies.Proxies(network)
    # What came before our proxies may be a lie.
    assert known.origin("10.0.0.1", "http", headers) == proxies.Origin(
        "203.0.113.9", "https", "drop.example"
    )
    stranger = known.origin("192.0.2.1", "http", headers)
    assert stranger == proxies.Origin("192.0.2.1", "http", "inner")


def test_12_a_proxy_before_a_daemon_that_asks_for_no_token_gets_nothing(local):
    _, url = local
    refused = get(f"{url}/api/v1/jobs", **{"x-forwarded-for": "203.0.113.9"})
    assert refused.status == 403
    assert "web.tokens" in refused.json["what_to_do"]


def test_12_behind_a_proxy_with_a_prefix_links_and_cookies_stay_below_it():
    settings = Web(
        port=0, tokens=TOKENS, path_prefix="/drop/", trusted_proxies="127.0.0.1"
    )
    with serving(settings) as url:
        asked = {"accept": "text/html", "x-forwarded-proto": "https"}
        answer = get(f"{url}/drop/", **asked)
        assert answer.headers["location"] == "/drop/login?next=/"
        # A proxy may take the prefix off, too.
        assert get(f"{url}/login", **asked).status == 200
        answer = log_in(f"{url}/drop", **asked)
        assert answer.headers["location"] == "/drop/"
        assert all("Path=/drop" in cookie for cookie in answer.cookies)
        left = submit(f"{url}/drop/logout", {}, **bearer(TOKEN), **asked)
        # What other programs behind the proxy keep in the browser is theirs.
        assert (left.status, left.headers["clear-site-data"]) == (303, '"cache"')
        assert "Secure" in answer.cookies[0]
        for _ in range(11):
            get(
                f"{url}/metrics",
                authorization="Bearer x",
                **{"x-forwarded-for": "203.0.113.9"},
            )
        # Who guesses behind the proxy keeps nobody else out.
        other = {"x-forwarded-for": "203.0.113.10"}
        assert (
            get(f"{url}/metrics", authorization=f"Bearer {TOKEN}", **other).status
            == 200
        )


def test_13_what_is_too_much_is_refused(url):
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert ask("POST", f"{url}/login", b"x" * 70_000, bearer).status == 413
    many = {f"x-{number}": "1" for number in range(70)}
    assert get(url, **many).status == 431
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000)
        assert b" 400 " in connection.recv(1000)


def test_13_who_is_too_slow_or_too_many_is_cut_off(monkeypatch):
    monkeypatch.setattr(server, "_IDLE_SECONDS", 1)
    monkeypatch.setattr(listening, "_MOST_OF_ONE_ADDRESS", 5)
    with serving(Web(port=0, tokens=TOKENS)) as url:
        host, port = url.removeprefix("http://").split(":")
        where = (host, int(port))
        for begun in (b"", b"GET / HTTP/1.1\r\nho", b"GET /healthz HTTP/1.1\r\n"):
            with socket.create_connection(where, timeout=30) as slow:
                slow.sendall(begun)
                with contextlib.suppress(ConnectionError):
                    assert slow.recv(100) == b""
        monkeypatch.setattr(server, "_IDLE_SECONDS", 30)
        with contextlib.ExitStack() as stack:
            opened = [
                stack.enter_context(socket.create_connection(where, timeout=30))
                for _ in range(5)
            ]
            for one in opened:
                one.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
                assert b" 200 " in one.recv(1000)
            sixth = stack.enter_context(socket.create_connection(where, timeout=30))
            with contextlib.suppress(ConnectionError):
                assert sixth.recv(100) == b""
        wait_for(lambda: _answers(url), "there is room again")


def test_13_who_never_ends_a_handshake_is_counted_too(certificates, monkeypatch):
    monkeypatch.setattr(listening, "_MOST_OF_ONE_ADDRESS", 5)
    settings = Web(
        port=0,
        tokens=TOKENS,
        tls_certificate=certificates / "tls.pem",
        tls_key=certificates / "tls.key",
    )
    with serving(settings) as url, contextlib.ExitStack() as stack:
        host, port = url.removeprefix("https://").split(":")
        where = (host, int(port))
        for _ in range(5):
            stack.enter_context(socket.create_connection(where, timeout=30))
        sixth = stack.enter_context(socket.create_connection(where, timeout=30))
        with contextlib.suppress(ConnectionError):
            assert sixth.recv(100) == b""
        stack.close()
        wait_for(lambda: _answers(url), "there is room again")


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return get(f"{url}/healthz").status == 200
    return False


def test_13_one_who_follows_much_leaves_room_for_others(guarded):
    _, url = guarded
    with contextlib.ExitStack() as stack:

        def follow(token: str) -> int:
            connection = stack.enter_context(contextlib.closing(connect(url)))
            connection.request("GET", "/api/v1/events", headers=bearer(token))
            return connection.getresponse().status

        # One whom no other test lets follow: that it went may be noticed later.
        assert {follow(DROPPER) for _ in range(60)} == {200}
        assert follow(DROPPER) == 503
        assert follow(OTHER) == 200


def test_13_searches_that_hang_hold_up_nothing_else(guarded, postgres):
    _, url = guarded
    anna, rita = bearer(TOKEN), bearer(OTHER)
    search = f"{url}/api/v1/search?q=alert"
    # What is known of the collections is told on while Postgres hangs.
    assert get(f"{url}/drop", **anna).status == get(search, **anna).status == 200
    answers: list[Answer] = []
    asking = [
        threading.Thread(target=lambda: answers.append(get(search, **anna)))
        for _ in range(8)
    ]
    postgres.freeze()
    try:
        for one in asking:
            one.start()
        wait_for(lambda: answers, "one is refused")
        for path in ("/", "/failures", "/files", "/settings", "/drop"):
            assert get(url + path, **anna).status == 200, path
        assert get(f"{url}/api/v1/jobs", **rita).status == 200
        for change in ("pause", "resume"):
            given = {"steps": ["track"]}
            assert post(f"{url}/api/v1/{change}", given, **anna).status == 200
        # None of them was answered: it still hangs.
        assert {answer.status for answer in answers} <= {429, 503}
        assert all(int(answer.headers["retry-after"]) for answer in answers)
    finally:
        postgres.heal()
        for one in asking:
            one.join(60)
    told = [answer.json["detail"] for answer in answers if answer.status == 429]
    assert told
    assert "2 are worked on at once" in told[0]
    wait_for(lambda: get(search, **anna).status == 200, "it answers again")


def test_13_a_form_or_a_header_without_end_is_no_fault_of_ours(url):
    fields = {f"x{number}": "1" for number in range(300)}
    with structlog.testing.capture_logs() as logged:
        assert submit(f"{url}/login", fields).status == 422
        assert submit(f"{url}/logout", fields, **bearer(TOKEN)).status == 422
        cookie = cookies_of(log_in(url))
        assert submit(f"{url}/logout", fields, cookie=cookie).status == 422
        assert get(f"{url}/login", x="y" * 20_000).status in {400, 431}
    assert not [one for one in logged if one["log_level"] in {"warning", "error"}]


def test_14_words_that_look_like_statements_are_words(local):
    _, url = local
    for word in ("'; DROP TABLE jobs; --", "%", "_", "\\", '"', "\x00", "\u202e"):
        quoted = "".join(f"%{byte:02x}" for byte in word.encode())
        assert get(f"{url}/api/v1/jobs?text={quoted}").status == 200
        assert get(f"{url}/api/v1/lookup?q={quoted}").status == 200
        assert get(f"{url}/api/v1/search?q={quoted}").status in {200, 422}
    assert get(f"{url}/api/v1/jobs").json["jobs"]


def test_15_no_answer_and_no_log_tells_a_token(url):
    with structlog.testing.capture_logs() as logged:
        for path in ("/", "/login", "/metrics", "/nothing"):
            answer = get(url + path, authorization=f"Bearer {TOKEN}x")
            assert TOKEN not in answer.text + str(answer.headers)
        log_in(url, f"{TOKEN}y")
    assert TOKEN not in str(logged)


def test_6_who_logged_out_is_told_nothing_more(guarded):
    _, url = guarded
    cookie, mark = session_of(url, OTHER)
    with contextlib.closing(connect(url)) as connection:
        connection.request("GET", "/api/v1/events", headers={"cookie": cookie})
        events = connection.getresponse()
        assert events.status == 200
        while line := events.readline():
            if line.startswith(b"data: "):
                break
        assert line
        assert submit(f"{url}/logout", {"csrf": mark}, cookie=cookie).status == 303
        pause = {"steps": ["track"], "reason": "for those who stay"}
        post(f"{url}/api/v1/pause", pause, **bearer(TOKEN))
        try:
            assert b"for those who stay" not in events.read()
        finally:
            post(f"{url}/api/v1/resume", **bearer(TOKEN))


@pytest.mark.parametrize(
    "ending",
    [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    ],
)
def test_17_of_a_request_whose_end_is_in_doubt_no_other_is_made(url, ending):
    hidden = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        sent = f"POST /login HTTP/1.1\r\nhost: a\r\n{ending}{hidden}"
        connection.sendall(sent.encode())
        told = b""
        while more := connection.recv(4096):
            told += more
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1 ") == 1


def test_18_what_a_form_did_is_told_once_and_to_who_sent_it(guarded):
    _, url = guarded
    fields = {"job": job_in(url), "next": "/files"}
    told = submit(f"{url}/do/link", fields, **bearer(OTHER)).headers["location"]
    assert "X-Amz" not in told
    shown = [
        "X-Amz-Signature" in get(url + told, **bearer(token)).text
        for token in (TOKEN, OTHER, OTHER)
    ]
    assert shown == [False, True, False]


def test_19_caches_keep_nothing_that_is_private(guarded):
    _, url = guarded
    job, page = job_in(url), get(f"{url}/login")
    style = re.search(r'href="(/static/\w+/base.css)"', page.text)
    assert style
    for path in ("/", "/files", f"/files/{job}", f"/files/{job}/file", "/nothing"):
        answer = get(url + path, accept="text/html", **bearer(OTHER))
        assert answer.headers["cache-control"] == "no-store"
    assert page.headers["cache-control"] == "no-store"
    listed = get(f"{url}/api/v1/jobs", **bearer(OTHER))
    assert listed.headers["cache-control"] == "private, no-cache"
    assert "immutable" in get(url + style[1]).headers["cache-control"]
    assert get(f"{url}/static/old/app.js").headers["cache-control"] == "no-store"


def test_20_a_link_to_an_object_takes_a_role_ends_and_is_logged_nowhere(guarded):
    zone, url = guarded
    to = f"{url}/api/v1/jobs/{job_in(url)}/link"
    assert post(to).status == 401
    assert post(to, **bearer(SCRAPER)).status == 403
    assert post(to, {"expires_seconds": 86_401}, **bearer(OTHER)).status == 422
    assert "X-Amz-Signature" in post(to, **bearer(OTHER)).json["url"]
    assert "X-Amz" not in zone.log()


def test_21_no_child_takes_code_from_the_folder_it_runs_in(local):
    zone, url = local
    came = zone.base / "came"
    for name in ("json", "structlog", "dropzone"):
        planted = f"import pathlib\npathlib.Path({str(came)!r}).touch()\n"
        (zone.base / f"{name}.py").write_text(planted)
    try:
        assert post(f"{url}/api/v1/doctor").status == 200
        ended = wait_for(
            lambda: get(f"{url}/api/v1/doctor").json["ended_at"], "it was examined"
        )
    finally:
        for name in ("json", "structlog", "dropzone"):
            (zone.base / f"{name}.py").unlink()
    assert ended
    assert not came.exists()


def test_the_page_names_every_threat_and_every_threat_is_tried():
    text = Path(__file__).read_text()
    docs = Path(__file__).parents[2] / "docs" / "security.md"
    listed = set(re.findall(r"^\| (\d+) \|", docs.read_text(), re.MULTILINE))
    tried = set(re.findall(r"^def test_(\d+)_", text, re.MULTILINE))
    assert listed == tried
