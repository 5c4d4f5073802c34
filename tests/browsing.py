"""Chromium over the pages of a running daemon: what each browser test is made of.

In ``tests/browser/`` a test asks for ``site`` (a daemon, one for a file) and ``pages``
(the browser, one for a file) and opens what it wants to see:

    def test_a_file_is_found(site, pages):
        page = pages.open("/files", phone=True, dark=True, role="read")
        page.get_by_role("searchbox").fill("heron")
        expect(page.get_by_role("row", name="heron.pdf")).to_be_visible()
        check_accessible(page)                     # accessibility.py: axe-core

- Each page has a context of its own and is logged in as ``role``: "read", "drop",
  "operate", or None for nobody. ``scripts=False`` is JavaScript off. ``size`` is any.
- Whatever the browser complains of fails the test by itself: console errors and
  warnings, errors of scripts, failed requests, answers of 500 and above. A test that
  provokes one says so before: ``pages.expects("status of 404")``, a part of a regular
  expression; then it must come.
- What lies in the zone: override the fixture ``fill`` in the file (scope module), a
  function that gets the zone with its daemon running. The one of conftest.py drops a
  few files and one that fails. ``environment`` (scope module) adds settings.
- Wait by locators and ``expect`` (from playwright.sync_api), which wait by themselves,
  and by ``daemons.wait_for`` for what the daemon does; never for a time.
- Look while you write: ``page.screenshot(path=...)``, or tests/browser/screenshots.py.
- Everything of a file runs on one worker. Files of tests cost a start of a daemon and
  of Chromium each (2 s): put what belongs together into one.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    Response,
    WebError,
    expect,
    sync_playwright,
)

from daemons import DEADLINE, ZoneOfTest, zone_on
from dropzone.embedded import ServiceAddresses

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP = (1280, 800)
PHONE = (390, 844)
TOKENS = {
    role: f"{name}-{role}-4f1c01b3a08f2dd9a7ce"
    for name, role in {"rita": "read", "dora": "drop", "anna": "operate"}.items()
}
#: Milliseconds that a locator waits; a machine may be busy.
PATIENCE = DEADLINE * 1000
_WRONG = {"error", "warning", "assert"}
_FAULT = 500


@dataclass(frozen=True)
class Site:
    """A running daemon and the address of its pages."""

    zone: ZoneOfTest
    url: str

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        return self.zone.started[-1]


@contextmanager
def site_of(zone: ZoneOfTest) -> Iterator[Site]:
    """Run a daemon over the zone, with a token for each role."""
    zone.environment["DROPZONE_WEB_TOKENS"] = "\n".join(
        f"{token.partition('-')[0]} {role} {token}" for role, token in TOKENS.items()
    )
    # A worker of the tests that is killed takes its daemon with it.
    zone.before = ("setpriv", "--pdeathsig", "TERM", *zone.before)
    try:
        zone.start()
        yield Site(zone, zone.url())
        # A test may have started another.
        zone.stop(zone.started[-1])
    finally:
        zone.close()


@contextmanager
def a_site(
    base: Path, services: ServiceAddresses, environment: Mapping[str, str]
) -> Iterator[Site]:
    """Run a daemon over a new zone in ``base``, with a database of its own."""
    zone = zone_on(base, services)
    zone.environment |= environment
    with site_of(zone) as site:
        yield site


@contextmanager
def a_browser(aside: Path) -> Iterator[Browser]:
    """Run Chromium, which writes below ``aside`` only; skip where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(f"There is no {CHROMIUM}: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            # Playwright starts it without a sandbox, which would refuse root.
            args=["--font-render-hinting=none", "--disable-lcd-text"],
            env={**os.environ, "HOME": str(aside)},
            downloads_path=aside,
            timeout=DEADLINE * 1000,
        )
        with browser:
            yield browser


class Complaints:
    """What the browser complains of, held against what a test expects."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._expected: list[str] = []
        self._allowed: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._said)
        context.on("weberror", self._failed)
        context.on("requestfailed", self._got_nothing)
        context.on("response", self._answered)

    def expect(self, pattern: str) -> None:
        self._expected.append(pattern)

    def allow(self, pattern: str) -> None:
        self._allowed.append(pattern)

    def check(self) -> None:
        """Fail on what came and was not expected, or was expected and did not come."""
        told, expected = self._told, self._expected
        self._told, self._expected = [], []
        known = [*expected, *self._allowed]
        wrong = [t for t in told if not any(re.search(one, t) for one in known)]
        assert not wrong, "the browser complains:\n" + "\n".join(wrong)
        missing = [e for e in expected if not any(re.search(e, t) for t in told)]
        assert not missing, f"the browser did not complain of {missing}"

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in _WRONG:
            where = message.location
            place = f"{where['url']}:{where['lineNumber']}"
            self._told.append(f"console {message.type}: {message.text} ({place})")

    def _failed(self, error: WebError) -> None:
        self._told.append(f"script: {error.error.stack or error.error.message}")

    def _got_nothing(self, request: Request) -> None:
        # Aborted is what the page gave up by itself: it was left, or a file is saved.
        if request.failure != "net::ERR_ABORTED":
            told = f"request failed: {request.method} {request.url}: {request.failure}"
            self._told.append(told)

    def _answered(self, response: Response) -> None:
        if response.status >= _FAULT:
            told = f"answer {response.status}: {response.request.method} {response.url}"
            self._told.append(told)


class Pages:
    """Opens pages of a site; see the top of this file."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._contexts = ExitStack()
        self._complaints = Complaints()
        self.url = url

    def open(
        self,
        path: str = "/",
        *,
        role: str | None = "operate",
        phone: bool = False,
        dark: bool = False,
        scripts: bool = True,
        size: tuple[int, int] | None = None,
        **more: Any,
    ) -> Page:
        """Return a page at ``path``; ``more`` is for Playwright's new_context."""
        width, height = size or (PHONE if phone else DESKTOP)
        wanted = {
            "viewport": {"width": width, "height": height},
            "color_scheme": "dark" if dark else "light",
            "java_script_enabled": scripts,
            "has_touch": phone,
            "reduced_motion": "reduce",
            "locale": "en-GB",
            "timezone_id": "Europe/Berlin",
            **more,
        }
        context = self._browser.new_context(**wanted)
        self._contexts.callback(context.close)
        context.set_default_timeout(PATIENCE)
        context.set_default_navigation_timeout(PATIENCE)
        self._complaints.watch(context)
        if role is not None:
            self._log_in(context, TOKENS[role])
        page = context.new_page()
        page.goto(self.url + path)
        return page

    def expects(self, pattern: str) -> None:
        """Let the test pass only if the browser complains of what matches."""
        self._complaints.expect(pattern)

    def allows(self, pattern: str) -> None:
        """Let the test pass also if the browser complains of what matches."""
        self._complaints.allow(pattern)

    def close(self) -> None:
        """Close all pages, then check; what they still had to say is heard before."""
        try:
            self._contexts.close()
        except Error as error:
            raise AssertionError("the browser has gone") from error
        self._complaints.check()

    def check(self) -> None:
        """Check now what is checked at the end, with the pages open."""
        for context in self._browser.contexts:
            for page in context.pages:
                # Its answer comes after all that was said before.
                page.evaluate("new Promise(done => setTimeout(done))")
        self._complaints.check()

    def _log_in(self, context: BrowserContext, token: str) -> None:
        """Get the cookie of a session, as the form does."""
        form = context.request.get(f"{self.url}/login").text()
        found = re.search(r'name="csrf" value="(\w+)"', form)
        assert found, form
        fields = {"csrf": found[1], "token": token, "next": "/healthz"}
        answer = context.request.post(f"{self.url}/login", form=fields)
        assert answer.url.endswith("/healthz"), answer.text()


Fill = Callable[[ZoneOfTest], None]
