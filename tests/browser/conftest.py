"""The daemon and the browser of a file of tests; how to use them: browsing.py."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import samples
from browsing import Fill, Pages, Site, a_browser, a_site
from daemons import ZoneOfTest
from dropzone.embedded import ServiceAddresses


def drop_a_few(zone: ZoneOfTest) -> None:
    """Drop two collections of files, of which one cannot be read."""
    for number in range(3):
        zone.drop(f"notes/note-{number}.txt", f"Note {number} on trains.".encode())
    zone.drop("birds/heron.pdf", samples.pdf(["A heron stands in the river."]))
    zone.drop("birds/secret.pdf", samples.encrypted_pdf())
    zone.wait_for_ends(5)


@pytest.fixture(scope="module")
def fill() -> Fill:
    return drop_a_few


@pytest.fixture(scope="module")
def environment() -> Mapping[str, str]:
    return {}


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    services: ServiceAddresses,
    environment: Mapping[str, str],
    fill: Callable[[ZoneOfTest], None],
) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("site")
    with a_site(base, services, environment) as site:
        fill(site.zone)
        yield site


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with a_browser(Path(tmp_path_factory.mktemp("chromium"))) as browser:
        yield browser


@pytest.fixture
def pages(chromium: Browser, site: Site) -> Iterator[Pages]:
    """Pages of the site; at the end they must not have complained of anything."""
    pages = Pages(chromium, site.url)
    yield pages
    pages.close()
