"""What holds for every page: each size, both colours, with and without scripts."""

import contextlib
import re
from collections.abc import Mapping

import pytest
from playwright.sync_api import Page, expect

from accessibility import check_accessible
from browsing import Pages, Site
from daemons import free_port, wait_for
from dropzone.web.page.site import VIEWS
from webclient import get

# As many tabs as a browser opens connections to one server, and two more.
_TABS = 8
# What some views need, and what else is worth looking at in others.
_QUERIES = {"/ask/set_aside": "?job={failed}"}
_MORE = {"/search": "?q=heron", "/files": "?state=failed"}


@pytest.fixture(scope="module")
def environment() -> Mapping[str, str]:
    # A daemon that starts anew is found where it was.
    return {"DROPZONE__WEB__PORT": str(free_port())}


def _addresses(pages: Pages) -> list[str]:
    """Return an address of every view there is, with something in it to show."""
    page = pages.open("/")
    filled = {
        "job": _job(page, "heron.pdf"),
        "failed": _job(page, "secret.pdf"),
        "zone": "default",
        "collection": "birds",
        "operation": "pause",
    }
    # Those without a template are no pages.
    views = [view.path for view in VIEWS if view.template]
    wanted = [path + _QUERIES.get(path, "") for path in views]
    wanted += [path + query for path, query in _MORE.items() if path in views]
    return [re.sub(r"{(\w+)(:\w+)?}", lambda m: filled[m[1]], one) for one in wanted]


def _job(page: Page, name: str) -> str:
    row = page.locator(".row", has_text=name).first
    return row.get_attribute("data-key") or ""


def _fits(page: Page) -> bool:
    """Return whether nothing sticks out sideways."""
    width = "document.documentElement.scrollWidth <= innerWidth"
    return bool(page.evaluate(width))


# Colours hardly depend on the size, so two of the four tell all.
@pytest.mark.parametrize("phone", [False, True], ids=["light desktop", "dark phone"])
def test_every_page_is_accessible_and_fits(pages, site, phone):
    page = pages.open("/", phone=phone, dark=phone)
    for path in _addresses(pages):
        page.goto(site.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert _fits(page), f"{path} is wider than the window"
        check_accessible(page)


def test_every_page_tells_the_same_without_scripts(pages, site):
    page = pages.open("/", scripts=False)
    for path in _addresses(pages):
        page.goto(site.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("navigation", name="Pages")).to_be_visible()


def test_the_keyboard_reaches_the_content_first_and_then_every_page(pages):
    page = pages.open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_what_changes_shows_by_itself_in_every_tab_of_a_browser(pages, site):
    first = pages.open("/")
    tabs = [first, *(first.context.new_page() for _ in range(_TABS - 1))]
    for tab in tabs[1:]:
        tab.goto(site.url)
    site.zone.drop("notes/arrives.txt", b"What arrives while somebody looks.")
    for tab in tabs:
        row = tab.locator(".row", has_text="arrives.txt")
        expect(row).to_contain_text("indexed")


def test_an_unknown_address_is_told_as_a_page(pages):
    pages.expects("status of 404")
    page = pages.open("/nothing-here")
    expect(page.get_by_role("main")).to_contain_text("nothing at this address")
    check_accessible(page)


def test_forms_of_a_page_work_after_the_daemon_was_away(pages):
    pages.allows("net::ERR_")
    page = pages.open("/healthz")
    # A shared worker would ask past the route.
    page.add_init_script("delete window.SharedWorker")
    page.route("**/api/v1/events", lambda route: route.abort())
    page.goto(f"{pages.url}/ask/pause?step=track")
    expect(page.get_by_text("No connection to the daemon.")).to_be_visible()
    mark = page.locator("main input[name=csrf]")
    # What a daemon that was started again would make of it.
    mark.evaluate("mark => mark.value = 'old'")
    page.unroute("**/api/v1/events")
    expect(mark).not_to_have_value("old")


def test_a_page_tells_that_the_daemon_is_away_and_leads_to_the_login(pages, site):
    # The sessions end with the daemon.
    # Whether the page asks just then depends on the moment.
    pages.allows("ERR_(CONNECTION|EMPTY|INCOMPLETE)|answer 503|status of 503")
    page = pages.open("/")
    site.zone.stop(site.process)
    expect(page.get_by_text("No connection to the daemon.")).to_be_visible()
    site.zone.start()
    wait_for(lambda: _is_served(site), "it is served again")
    expect(page.get_by_label("Token")).to_be_visible()


def _is_served(site: Site) -> bool:
    with contextlib.suppress(OSError):
        return get(f"{site.url}/login").status == 200
    return False
