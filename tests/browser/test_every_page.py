"""What holds for every page: each size, both colours, with and without scripts."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

import addresses
import samples
from accessibility import check_accessible
from browsing import TOKENS, Pages, Site
from daemons import free_port, wait_for
from faultproxy import proxy_to
from webclient import get

# As many tabs as a browser opens connections to one server, and two more.
_TABS = 8
# What else is worth looking at.
_MORE = ("/search?q=heron", "/files?state=failed")
# What each of them tells also without scripts, by the end of its address.
_TOLD = {
    "/": "secret.pdf",
    "/files": "heron.pdf",
    "/files?state=failed": "secret.pdf",
    "/text": "A heron stands in the river.",
    "/ask/set_aside": "secret.pdf",
    "/failures": "needs a password",
    "/drop": "Dropping files here takes JavaScript",
    "/ask/pause": "Why, so that others know",
    "/search": "Words to search for",
    "/search?q=heron": "A heron stands in the river.",
    "/collections": "birds",
    "/birds": "heron.pdf",
    "/settings": "Postgres",
    "/doctor": "Examine now",
    "/configuration": "DROPZONE__ZONES",
    "/about": "anna",
}
_SIZES = pytest.mark.parametrize(
    "phone", [False, True], ids=["light desktop", "dark phone"]
)


@pytest.fixture(scope="module")
def environment() -> Mapping[str, str]:
    # A daemon that starts anew is found where it was.
    return {"DROPZONE__WEB__PORT": str(free_port())}


def _addresses(site: Site) -> list[str]:
    """Return an address of every view there is, with something in it to show."""
    known = {
        "job": _job(site, "heron.pdf"),
        "failed": _job(site, "secret.pdf"),
        "zone": "default",
        "collection": "birds",
        "operation": "pause",
    }
    return [*addresses.of_pages(known), *_MORE]


def _job(site: Site, name: str) -> str:
    jobs = f"{site.url}/api/v1/jobs?text={name}"
    told = get(jobs, authorization=f"Bearer {TOKENS['read']}").json
    job: str = told["jobs"][0]["id"]
    return job


def _fits(page: Page) -> bool:
    """Return whether nothing sticks out sideways."""
    width = "document.documentElement.scrollWidth <= innerWidth"
    return bool(page.evaluate(width))


# Colours hardly depend on the size, so two of the four tell all.
@_SIZES
def test_every_page_is_accessible_and_fits(pages, site, phone):
    page = pages.open("/", phone=phone, dark=phone)
    for path in _addresses(site):
        page.goto(site.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert _fits(page), f"{path} is wider than the window"
        check_accessible(page)


def test_every_page_tells_what_matters_without_scripts(pages, site):
    page = pages.open("/", scripts=False)
    for path in _addresses(site):
        page.goto(site.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
        ends = (path, path.partition("?")[0])
        told = [w for one in ends for end, w in _TOLD.items() if one.endswith(end)]
        # What has no words of its own is the way of a file.
        words = told[0] if told else "Stored in S3"
        expect(page.get_by_role("main")).to_contain_text(words)


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


def test_what_changed_before_a_page_heard_anything_shows_too(pages, site):
    page = pages.open("/healthz")
    # What a shared worker asks cannot be held back.
    page.add_init_script("delete window.SharedWorker")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/v1/events", hold)
    page.goto(site.url)
    wait_for(lambda: page.title() and held, "it asks for what happens")
    site.zone.drop("notes/meanwhile.txt", b"What came while the page was under way.")
    wait_for(lambda: "notes/meanwhile.txt" in site.zone.outcomes(), "it ends")
    with site.zone.journal() as journal:
        wait_for(lambda: not journal.batches_waiting(), "nothing more will change")
    held[0].continue_()
    row = page.locator(".row", has_text="meanwhile.txt")
    expect(row).to_contain_text("indexed")


def test_a_line_that_was_cut_is_told_until_it_is_back(chromium, site):
    with proxy_to(("127.0.0.1", int(site.url.rpartition(":")[2]))) as proxy:
        pages = Pages(chromium, f"http://127.0.0.1:{proxy.port}")
        pages.allows("ERR_")
        page = pages.open("/")
        told = page.get_by_text("No connection to the daemon.")
        proxy.refuse()
        expect(told).to_be_visible()
        # Nothing has changed meanwhile.
        proxy.heal()
        expect(told).to_be_hidden()
        pages.close()


# What a page does whose shared worker cannot be had: its script does not come.
_NO_WORKER = """
const Real = SharedWorker;
window.SharedWorker = function (_, options) { return new Real("/none.js", options); };
"""


def test_a_line_that_says_nothing_any_more_is_lost_and_begun_anew(chromium, site):
    with proxy_to(("127.0.0.1", int(site.url.rpartition(":")[2]))) as proxy:
        pages = Pages(chromium, f"http://127.0.0.1:{proxy.port}")
        pages.allows("ERR_|status of 404")
        page = pages.open("/healthz")
        page.add_init_script(_NO_WORKER)
        page.clock.install()
        page.goto(pages.url)
        expect(page.get_by_text("Live: what changes shows by itself.")).to_be_visible()
        proxy.freeze()
        page.clock.fast_forward(60_000)
        told = page.get_by_text("No connection to the daemon.")
        expect(told).to_be_visible()
        proxy.heal()
        expect(told).to_be_hidden()
        site.zone.drop("notes/after-the-silence.txt", b"it is heard again")
        latest = page.get_by_role("region", name="Latest files")
        expect(latest).to_contain_text("after-the-silence.txt")
        pages.close()


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


@_SIZES
def test_every_flow_works_from_the_login_on(pages, site, tmp_path, phone):
    page = pages.open("/login", role=None, phone=phone, dark=phone)
    page.get_by_label("Token").fill(TOKENS["operate"])
    page.get_by_role("button", name="Log in").click()
    word = "cormorant" if phone else "kingfisher"
    _drop(page, tmp_path / word, word)
    _find(page, word)
    _search(page, word)
    _try_again(page, site)
    _pause_and_resume(page)
    _to(page, "Now")
    expect(page.get_by_role("heading", level=1)).to_contain_text("needs you")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()


def _to(page: Page, name: str) -> None:
    entries = page.get_by_role("navigation", name="Pages")
    entries.get_by_role("link", name=re.compile(f"^{name}")).click()


def _drop(page: Page, folder: Path, word: str) -> None:
    folder.mkdir()
    (folder / f"{word}.pdf").write_bytes(samples.pdf([f"A {word} dives for fish."]))
    _to(page, "Drop")
    page.get_by_label("Collection").fill("waters")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").press("Enter")
    chooser.value.set_files(folder)
    expect(page.locator("li.upload .tag")).to_have_text("indexed")


def _find(page: Page, word: str) -> None:
    page.get_by_label("Find a file by").fill(f"waters/{word}/{word}.pdf")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{word}.pdf")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename == f"{word}.pdf"


def _search(page: Page, word: str) -> None:
    _to(page, "Search")
    page.get_by_label("Words to search for").fill(f"{word} fish")
    page.keyboard.press("Enter")
    hit = page.locator(".hits > li").first
    expect(hit.locator("mark").first).to_have_text(word)
    hit.get_by_role("link", name="waters").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("waters")


def _try_again(page: Page, site: Site) -> None:
    ended = len(site.zone.receipts())
    _to(page, "Failures")
    group = page.get_by_role("region", name="This PDF needs a password to be opened.")
    expect(group).to_contain_text("secret.pdf")
    group.get_by_role("button", name="Try again").click()
    told = page.get_by_role("status").filter(has_text="It is back in input/")
    told.get_by_role("link", name="See how it goes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("secret.pdf")
    page.get_by_role("link", name="See how that went").click()
    expect(page.locator(".lead")).to_contain_text("It failed. This PDF needs")
    assert len(site.zone.receipts()) > ended


def _pause_and_resume(page: Page) -> None:
    _to(page, "Settings")
    step = page.locator(".step-list > [data-key=track]")
    step.get_by_role("link", name="Pause").click()
    asked = page.get_by_role("dialog")
    asked.get_by_label("Why, so that others know").fill("we move")
    asked.get_by_role("button", name="Pause", exact=True).click()
    expect(step).to_contain_text("we move")
    step.get_by_role("link", name="Resume").click()
    asked.get_by_role("button", name="Resume", exact=True).click()
    expect(step).to_contain_text("runs")
