"""Measures the pages over 100,000 jobs; see README.md. Usage: page.py NAME."""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page
from run import memory_mb, text

import addresses
import many_jobs
from browsing import TOKENS, Pages, a_browser, site_of
from daemons import ZoneOfTest, wait_for, zone_on
from following import following
from servers import servers
from webclient import Answer, get

_REQUESTS = 20
_TABS = 10


class Measured:
    """A daemon over a zone with many jobs and a few hundred real files."""

    def __init__(self, zone: ZoneOfTest, pid: int, url: str) -> None:
        self.zone, self.pid, self.url = zone, pid, url
        self._token = {"authorization": f"Bearer {TOKENS['operate']}"}

    def get(self, path: str) -> Answer:
        return get(self.url + path, accept="text/html,*/*", **self._token)


@contextlib.contextmanager
def measured(jobs: int, real: int, failed: float = 0.02) -> Iterator[Measured]:
    """Run a daemon over so many jobs, of which some were really processed."""
    with tempfile.TemporaryDirectory() as made, servers(Path(made)) as addresses:
        zone = zone_on(Path(made) / "base", addresses)
        many_jobs.fill(zone.root, jobs, failed)
        with site_of(zone) as site:
            for number in range(real):
                collection = many_jobs.COLLECTIONS[number % 4]
                zone.drop(f"{collection}/real-{number}.txt", text(number).encode())
            wait_for(lambda: len(zone.receipts()) >= real, "the real files", 300)
            yield Measured(zone, site.process.pid, site.url)


def views(options: argparse.Namespace) -> dict:
    with measured(options.jobs, 300, options.failed) as daemon:
        told = {}
        for path in addresses.of_all(lambda path: daemon.get(path).json):
            status, millis = _asked(daemon, path)
            told[path] = {"status": status, **_summary(millis)}
            print(f"{path:60} {told[path]}", flush=True)
    slowest = max((view["max_ms"], path) for path, view in told.items())
    return {"jobs": options.jobs, "views": len(told), "slowest": slowest}


def _asked(daemon: Measured, path: str) -> tuple[int, list[float]]:
    millis, status = [], 0
    for _ in range(_REQUESTS):
        # What is kept for a second has to be made anew in some of them.
        time.sleep(0.1)  # noqa: TID251 a rate
        begun = time.perf_counter()
        status = daemon.get(path).status
        millis.append((time.perf_counter() - begun) * 1000)
    return status, millis


def _summary(millis: list[float]) -> dict[str, float]:
    ordered = sorted(millis)
    return {
        "median_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(len(ordered) * 0.95) - 1], 1),
        "max_ms": round(ordered[-1], 1),
    }


def scroll(options: argparse.Namespace) -> dict:
    """Scroll the list of files in Chromium, until it has so many rows."""
    with _chromium() as browser, measured(options.jobs, 30) as daemon:
        pages = Pages(browser, daemon.url)
        page = pages.open("/files")
        rows, begun = page.locator(".row"), time.perf_counter()
        millis = []
        while (before := rows.count()) < options.rows:
            asked = time.perf_counter()
            _scroll_on(page, before)
            millis.append((time.perf_counter() - asked) * 1000)
        keys = rows.evaluate_all("all => new Set(all.map(one => one.dataset.key)).size")
        assert keys == rows.count(), "rows came twice"
        seconds = time.perf_counter() - begun
        pages.close()
    return {"rows": keys, "seconds": round(seconds, 1), **_summary(millis)}


def _scroll_on(page: Page, before: int) -> None:
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function(
        "before => document.querySelectorAll('.row').length > before", arg=before
    )


def memory(options: argparse.Namespace) -> dict:
    """Open pages, of which some are real, and let files flow."""
    with _chromium() as browser, measured(options.jobs, 30) as daemon:
        before = memory_mb(daemon.pid)
        count = options.pages - _TABS
        with following(daemon.url, TOKENS["read"], count) as followers:
            pages = Pages(browser, daemon.url)
            tabs = [pages.open(path) for path in ("/", "/files") * (_TABS // 2)]
            found = _while_files_flow(daemon, tabs, options)
        for one in followers:
            one.join()
        found["events"] = sum(one.events for one in followers)
        found["loads"] = sum(one.loads for one in followers)
        pages.close()
    return {"pages": options.pages, "before_mb": _rounded(before), **found}


def _while_files_flow(
    daemon: Measured, tabs: list[Page], options: argparse.Namespace
) -> dict:
    most: dict[str, float] = {}
    millis, dropped, end = [], 0, time.monotonic() + options.seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        for _ in range(options.rate):
            dropped += 1
            words = text(1_000_000 + dropped)
            daemon.zone.drop(f"letters/flow-{dropped}.txt", words.encode())
        asked = time.perf_counter()
        daemon.get("/")
        millis.append((time.perf_counter() - asked) * 1000)
        now = memory_mb(daemon.pid)
        most = {name: max(now[name], most.get(name, 0.0)) for name in now}
        # The tabs hear what was told to them meanwhile.
        tabs[dropped % len(tabs)].evaluate("1")
        time.sleep(max(0.0, 1 - (time.perf_counter() - begun)))  # noqa: TID251 a rate
    newest = f"flow-{dropped}.txt"
    tabs[0].get_by_text(newest).first.wait_for(timeout=60_000)
    return {
        "files": dropped,
        "most_mb": _rounded(most),
        "one_more_page": _summary(millis),
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in figures.items()}


@contextlib.contextmanager
def _chromium() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory() as aside, a_browser(Path(aside)) as browser:
        yield browser


def main() -> None:
    names = {f.__name__: f for f in (views, scroll, memory)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--failed", type=float, default=0.02, help="share of them")
    parser.add_argument("--rows", type=int, default=1_000, help="to scroll to")
    parser.add_argument("--pages", type=int, default=50, help="that are open")
    parser.add_argument("--rate", type=int, default=10, help="files a second")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    figures = names[options.name](options)
    print(json.dumps({"benchmark": options.name, **figures}, indent=2))


if __name__ == "__main__":
    main()
