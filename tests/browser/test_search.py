"""Search and the collections, in a browser: what is found, what is told when not."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

import samples
from accessibility import check_accessible
from browsing import Site, site_of
from daemons import wait_for
from dropzone.embedded import ServiceAddresses
from outages import Outage, behind_proxies

HOSTILE = (
    "<script>alert(1)<",
    "%2f",
    "a..%2e",
    "papers & 'reports' \"#?",
    "שלום",
    "l" * 200,
)
SHELVES = 200


@pytest.fixture(scope="module")
def outage(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[Outage]:
    with behind_proxies(tmp_path_factory.mktemp("search"), services, {}) as outage:
        yield outage


@pytest.fixture(scope="module")
def site(outage: Outage) -> Iterator[Site]:
    with site_of(outage.zone) as site:
        _fill(site)
        yield site


def _fill(site: Site) -> None:
    zone = site.zone
    pages = [f"The heron waits at gauge {number}." for number in range(3)]
    zone.drop("birds/heron.pdf", samples.pdf([*pages, "The river is high."]))
    for number in range(12):
        text = f"# Report {number}\n\nThe night train {number} was late."
        zone.drop(f"trains/report-{number}.md", text.encode())
    for name in HOSTILE:
        zone.drop(f"{name}/note.txt", f"A note of {name} itself.".encode())
    # Of these only that they are there matters.
    for number in range(SHELVES - len(HOSTILE) - 2):
        zone.drop(f"shelf-{number:03}/x.bin", b"\0\1\2")
    zone.wait_for_ends(13 + SHELVES - 2)


def test_words_lead_to_passages_and_these_to_their_file(pages):
    page = pages.open("/search")
    expect(page.locator("h2")).to_contain_text("documents can be searched")
    expect(page.get_by_role("searchbox", name="Words to search")).to_be_focused()
    page.keyboard.type("heron gauge")
    page.keyboard.press("Enter")
    first = page.locator(".hits > li").first
    expect(first.locator("mark").first).to_have_text("heron")
    expect(first).to_contain_text("page 1")
    expect(first).to_contain_text("has your words")
    link = first.get_by_role("link", name="heron.pdf")
    assert re.search(r"/files/[0-9a-f-]{36}$", link.get_attribute("href") or "")
    first.get_by_role("link", name="birds").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("birds")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_filters_and_more_hits_work_with_and_without_scripts(pages, scripts):
    page = pages.open("/search?q=night+train", scripts=scripts)
    hits = page.locator(".hits > li")
    expect(hits).to_have_count(10)
    expect(hits.first).to_contain_text("Report")
    page.get_by_role("link", name="Show more").click()
    expect(hits).to_have_count(12)
    expect(page.get_by_role("link", name="Show more")).to_have_count(0)
    page.get_by_text("Filters").click()
    page.get_by_label("Collection", exact=True).select_option("birds")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator(".empty h2")).to_contain_text("Nothing was found for")
    page.get_by_role("link", name="Search without filters").click()
    expect(hits).to_have_count(10)
    page.get_by_text("Filters").click()
    page.get_by_label("Type").fill("md")
    page.get_by_label("Part of the file's name").fill("report-11")
    page.get_by_label("Taken within").select_option("the last hour")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(hits).to_have_count(1)
    expect(hits).to_contain_text("report-11.md")


def test_each_way_to_search_says_what_it_does(pages):
    page = pages.open("/search?q=train")
    told = page.locator(".ways p")
    expect(told).to_contain_text("similar ones")
    page.get_by_label("Words", exact=True).check()
    expect(page.locator("#mode-text")).to_be_visible()
    expect(page.locator("#mode-hybrid")).to_be_hidden()
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**mode=text**")
    expect(page.get_by_label("Words", exact=True)).to_be_checked()
    page.goto(f"{pages.url}/search?q=train&mode=vector")
    expect(page.locator("main")).to_contain_text("knows no synonyms")


def test_odd_addresses_are_told_or_ignored(pages):
    page = pages.open("/search?q=x&mode=mean")
    expect(page.get_by_role("alert")).to_contain_text("mode")
    for address in ("q=%00&limit=x", "q=%22", "q=%20", "q=train&limit=99999&within=1"):
        page.goto(f"{pages.url}/search?{address}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Search")


def test_hostile_names_are_names_only(pages):
    page = pages.open("/collections")
    expect(page.locator(".shelf > li")).to_have_count(SHELVES)
    for name in HOSTILE:
        page.goto(f"{pages.url}/collections")
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(page.locator(".rows")).to_contain_text("note.txt")
        page.get_by_label("Words to search for in this collection").fill("itself")
        page.get_by_role("button", name="Search").click()
        expect(page.locator(".hits > li")).to_have_count(1)
        expect(page.get_by_label("Collection", exact=True)).to_have_value(name)
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0


def test_a_collection_among_many_is_found_by_part_of_its_name(pages):
    page = pages.open("/collections", scripts=False)
    page.get_by_label("Part of the name").fill("Shelf-01")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".shelf > li")).to_have_count(10)
    page.goto(f"{pages.url}/collections?q=<b>nowhere")
    expect(page.locator(".empty h2")).to_contain_text("<b>nowhere")


def test_a_collection_that_does_not_exist_is_told(pages):
    pages.expects("status of 404")
    page = pages.open("/search")
    for path in ("default/nowhere", "nowhere/birds", "default/%2e%2e", "default/%2f"):
        page.goto(f"{pages.url}/collections/{path}")
        expect(page.locator("main")).to_contain_text("There is no")


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_all_of_it_is_accessible(pages, phone):
    paths = ("/search?q=heron&collection=birds", "/collections?q=<")
    page = pages.open("/login", phone=phone, dark=phone)
    for path in ("/search", "/collections/default/birds") if phone else paths:
        page.goto(f"{pages.url}{path}")
        check_accessible(page)


def test_while_postgres_is_away_the_rest_of_the_page_stays(pages, outage):
    outage.postgres.refuse()
    try:
        page = pages.open("/search?q=heron")
        expect(page.get_by_role("alert")).to_contain_text("Postgres")
        expect(page.get_by_role("searchbox", name="Words to search")).to_have_value(
            "heron"
        )
        expect(
            page.get_by_label("Collection", exact=True).locator("option")
        ).to_have_count(SHELVES + 1)
        check_accessible(page)
        # What was counted before is told for a while.
        wait_for(lambda: _is_unknown(page, pages), "the count is unknown")
        expect(page.locator(".rows > li")).to_have_count(12)
    finally:
        outage.postgres.heal()
    wait_for(lambda: _answers(page, pages), "the search answers again")


def _is_unknown(page, pages) -> bool:
    page.goto(f"{pages.url}/collections/default/trains")
    return "unknown" in page.locator(".facts").inner_text()


def _answers(page, pages) -> bool:
    page.goto(f"{pages.url}/collections?q=trains")
    if page.locator("main .note").count():
        # That nobody could count is told for a while, too.
        return False
    page.goto(f"{pages.url}/search?q=heron")
    return bool(page.locator(".hits > li").count())
