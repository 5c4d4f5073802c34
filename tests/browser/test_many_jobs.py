"""The page over 100,000 jobs: it answers at once, scrolls, and fifty may be open."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import addresses
import many_documents
import many_jobs
from browsing import TOKENS, Site, site_of
from daemons import DEADLINE, wait_for, zone_on
from dropzone.embedded import ServiceAddresses
from dropzone.journal import Wanted
from following import following
from webclient import Answer, get

JOBS = 100_000
REAL = 6
SECONDS = 0.3
#: Seconds for which the daemon keeps what it tells of all.
KEPT = 1.0
PAGES, ROWS, SHOWN = 5, 50, "[data-rows] > [data-key]"
TABS = ("/", "/files", "/files?collection=letters")
#: Each of these is open on a desktop and a phone; the others follow without a browser.
FOLLOWERS, FLOWING = 50 - 2 * len(TABS), 30
MEGABYTES = 150


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[Site]:
    zone = zone_on(tmp_path_factory.mktemp("many"), services)
    many_jobs.fill(zone.root, JOBS)
    with site_of(zone) as site:
        for number in range(REAL):
            text = f"A red house stands at gauge {number}."
            zone.drop(f"letters/real-{number}.txt", text.encode())
        zone.wait_for_ends(REAL)
        many_documents.index(zone)
        yield site


class Answers:
    """Asks the daemon as an operator, and keeps how long each answer took."""

    def __init__(self, site: Site) -> None:
        self._url, self._token = site.url, f"Bearer {TOKENS['operate']}"
        self.best: dict[str, float] = {}

    def tell(self, path: str) -> Any:
        return self._ask(path).json

    def time(self, paths: Iterable[str]) -> None:
        for path in paths:
            begun = time.monotonic()
            answer = self._ask(path)
            took = time.monotonic() - begun
            assert answer.status == 200, (path, answer.text)
            self.best[path] = min(took, self.best.get(path, took))

    def _ask(self, path: str) -> Answer:
        return get(self._url + path, accept="*/*", authorization=self._token)

    @property
    def slow(self) -> list[str]:
        return [path for path, took in self.best.items() if took > SECONDS]


def _wait_until_all_is_made_anew() -> None:
    until = time.monotonic() + KEPT
    wait_for(lambda: time.monotonic() > until, "what is kept is old")


def test_every_page_and_list_answers_in_time(site):
    answers = Answers(site)
    paths = addresses.of_all(answers.tell)
    for _ in range(2):
        answers.time(paths)
        _wait_until_all_is_made_anew()
    until = time.monotonic() + DEADLINE
    while answers.slow and time.monotonic() < until:
        # The machine may have been busy with something else.
        answers.time(answers.slow)
    slowest = max(answers.best, key=answers.best.__getitem__)
    print(f"{len(paths)} asked, slowest {slowest}: {answers.best[slowest]:.3f} s")
    assert not answers.slow, answers.best
    (zone,) = answers.tell("/api/v1/overview")["zones"]
    assert sum(zone["outcomes"].values()) >= JOBS + REAL


def test_the_list_scrolls_through_them_and_shows_each_once(pages, site):
    page = pages.open("/files", phone=True, dark=True)
    for number in range(1, PAGES + 1):
        expect(page.locator(SHOWN).nth(number * ROWS - 1)).to_be_attached()
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
    keys = "all => all.map(one => one.dataset.key)"
    shown = page.locator(SHOWN).evaluate_all(keys)
    with site.zone.journal() as journal:
        newest = [job.id for job in journal.listed(Wanted(), len(shown))]
    assert shown == newest


def test_fifty_open_pages_stay_within_the_memory(pages, site):
    pid = site.process.pid
    before = memory(pid)
    with following(site.url, TOKENS["read"], FOLLOWERS) as others:
        tabs = [
            pages.open(path, phone=phone) for path in TABS for phone in (False, True)
        ]
        wait_for(lambda: all(one.loads for one in others), "all are open")
        for number in range(FLOWING):
            site.zone.drop(f"letters/flow-{number}.txt", f"It flows {number}.".encode())
        for tab in tabs:
            row = tab.locator(".row", has_text="flow-").first
            expect(row).to_contain_text("indexed")
        wait_for(lambda: all(one.loads > 1 for one in others), "all show what flowed")
    # What is told of it ends all that wait.
    site.zone.drop("letters/last.txt", b"The last one.")
    for one in others:
        one.join(DEADLINE)
        assert not one.is_alive()
    loads = sum(one.loads for one in others)
    print(f"{before} MB at most before, {memory(pid)} MB after {loads} loads")
    assert memory(pid) < MEGABYTES
    site.zone.wait_for_ends(REAL + FLOWING + 1)


def memory(pid: int) -> float:
    """Return the highest resident memory of a process so far in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000
