"""Finding a file, following its way, and dealing with what failed, in a browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

import many_jobs
import samples
from accessibility import check_accessible
from browsing import Pages, Site, site_of
from daemons import wait_for
from dropzone.embedded import ServiceAddresses
from outages import Outage, behind_proxies
from webclient import get

OLD = 120
SCRIPT = "<script>alert(1)<b>.txt"
HOSTILE: tuple[bytes, ...] = (
    SCRIPT.encode(),
    "\u202egnp.exe.txt".encode(),
    b"two\nlines.txt",
    b"w\xffhale.txt",
    b"x" * 251 + b".txt",
)
NEWER = 4 + len(HOSTILE)


@pytest.fixture(scope="module")
def outage(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[Outage]:
    base = tmp_path_factory.mktemp("files")
    with behind_proxies(base, services, {}) as outage:
        yield outage


@pytest.fixture(scope="module")
def site(outage: Outage) -> Iterator[Site]:
    """A zone with many files that ended long ago, and a few new ones."""
    zone = outage.zone
    many_jobs.fill(zone.root, OLD, failed=0.0)
    with site_of(zone) as site:
        zone.drop("birds/heron.pdf", samples.pdf(["A heron stands in the river."] * 2))
        for name in HOSTILE:
            zone.drop(b"odd/" + name, b"words of " + name[:20])
        for number in range(3):
            content = samples.encrypted_pdf() + b"\n" * number
            zone.drop(f"birds/secret-{number}.pdf", content)
        zone.wait_for_ends(NEWER)
        yield site


def listen(page: Page) -> None:
    """Keep what is said to who does not see: the next word may follow at once."""
    page.evaluate(
        """() => {
            const heard = document.getElementById("heard");
            window.said = [];
            new MutationObserver(() => window.said.push(heard.textContent))
                .observe(heard, {childList: true, characterData: true, subtree: true});
        }"""
    )


def wait_for_words(page: Page, words: str) -> None:
    """Wait until that was said; a page's policy lets no code of Playwright's wait."""
    wait_for(lambda: words in page.evaluate("said"), f"{words!r} is said")


def rows(page: Page) -> Locator:
    return page.locator("[data-rows] > [data-key]")


def test_a_file_is_found_by_a_part_of_its_name_and_its_way_is_told(pages):
    page = pages.open("/files", phone=True)
    page.get_by_role("searchbox", name="Name, part of the path").fill("HERON")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    check_accessible(page)
    rows(page).get_by_role("link", name="heron.pdf").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("heron.pdf")
    expect(page.get_by_text("Done. Search finds its text, in 2 pieces.")).to_have_count(
        2
    )
    steps = page.locator(".way > li.done")
    expect(steps).to_have_count(6)
    expect(steps.nth(2)).to_contain_text(
        re.compile(r"Stored in S3.* (ms|s)\b", re.DOTALL)
    )
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    check_accessible(page)
    page.get_by_role("link", name="Read its text").first.click()
    expect(page.get_by_role("article").first).to_contain_text("A heron stands")
    expect(page.get_by_text("page 1, piece 1")).to_be_visible()
    check_accessible(page)


def test_what_names_one_file_exactly_leads_to_it(pages, site):
    (receipt,) = (r for r in site.zone.receipts() if r["name"] == "heron.pdf")
    page = pages.open("/", scripts=False)
    job, sha256 = receipt["job"], receipt["sha256"]
    for words in (job, job[-12:], sha256, "birds/heron.pdf"):
        page.get_by_label("Find a file").fill(words)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/files/{job}")
        expect(page.get_by_role("heading", level=1)).to_contain_text("heron.pdf")
        page.goto(site.url)


def test_what_lies_in_input_is_found_and_said_why_it_stays(pages, site):
    (site.zone.input / "birds/.hidden.pdf").write_bytes(b"")
    page = pages.open("/files?q=HIDDEN")
    lying = page.get_by_role("region", name="Still in input/")
    expect(lying).to_contain_text("has a hidden or temporary name")
    check_accessible(page)


def test_the_list_grows_at_its_end_stays_live_and_is_found_as_it_was_left(pages, site):
    page = pages.open("/files")
    expect(rows(page)).to_have_count(50)
    listen(page)
    page.mouse.wheel(0, 100_000)
    expect(rows(page)).to_have_count(100)
    wait_for_words(page, "50 older files came, 100 are shown.")
    page.mouse.wheel(0, 100_000)
    with site.zone.journal() as journal:
        expect(rows(page)).to_have_count(sum(journal.counts().states.values()))
    expect(page.get_by_text("That is all.")).to_be_visible()
    keys = rows(page).evaluate_all("all => all.map(one => one.dataset.key)")
    assert keys == sorted(set(keys), reverse=True)
    seen = rows(page).nth(90)
    seen.scroll_into_view_if_needed()
    before = seen.bounding_box()
    assert before
    site.zone.drop("later.txt", b"It came while somebody read the list.")
    expect(rows(page).first).to_contain_text("later.txt")
    found = rows(page).evaluate_all("all => all.map(one => one.dataset.key)")
    assert found[1:] == keys
    after = rows(page).nth(91).bounding_box()
    assert after
    assert after["y"] == pytest.approx(before["y"], abs=1), "the list jumped"
    rows(page).nth(91).get_by_role("link").click()
    page.wait_for_url("**/files/0*")
    page.go_back()
    expect(rows(page).nth(91)).to_be_in_viewport()
    assert rows(page).nth(91).get_attribute("data-key") == keys[90]


def test_without_a_script_the_list_has_pages_and_filters(pages, site):
    page = pages.open("/files?collection=odd", scripts=False)
    page.get_by_label("State").select_option("indexed")
    page.get_by_role("button", name="Show").click()
    expect(rows(page)).to_have_count(len(HOSTILE))
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="No file fits")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    page.get_by_role("link", name="Older files").click()
    expect(rows(page)).to_have_count(50)
    expect(rows(page).first).to_contain_text("Report-")
    expect(page.get_by_role("link", name="To the newest")).to_be_visible()
    pages.expects("status of 422")
    page.goto(f"{site.url}/files?state=lost")
    expect(page.get_by_role("heading", level=1)).to_contain_text("state 'lost'")


def test_hostile_names_are_shown_as_they_are_and_do_nothing(pages, site):
    page = pages.open("/files?collection=odd")
    expect(rows(page)).to_have_count(len(HOSTILE))
    for shown in (SCRIPT, r"\u202egnp.exe.txt", r"two\nlines.txt", r"w\xffhale.txt"):
        rows(page).get_by_text(shown, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(shown)
        page.go_back()
    page.goto(f"{site.url}/files?q=w%5Cxffhale.txt")
    expect(rows(page)).to_have_count(1)
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_what_failed_is_tried_again_and_set_aside_with_a_word_on_each(pages, site):
    page = pages.open("/failures", phone=True, dark=True)
    group = page.get_by_role("region", name="This PDF needs a password to be opened.")
    expect(group).to_contain_text("3 files")
    expect(group).to_contain_text("Save a copy without the password")
    check_accessible(page)
    (site.zone.root / "failed/birds/secret-0.pdf").rename(site.zone.base / "taken")
    group.get_by_label("Choose secret-0.pdf").check()
    group.get_by_label("Choose secret-1.pdf").check()
    group.get_by_role("button", name="Try the ticked again").click()
    told = page.locator(".note").first
    expect(told).to_contain_text("1 file is back in input/ and tried from the start.")
    expect(told).to_contain_text("1 could not:")
    expect(told).to_contain_text("birds/secret-0.pdf: its file is not in failed/ any")
    expect(group).to_contain_text("3 files")
    row = group.get_by_role("listitem").filter(has_text="secret-2.pdf")
    row.get_by_role("link", name="Set aside").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("Nothing is deleted")
    check_accessible(page)
    asked.get_by_role("button", name="Set aside").click()
    expect(told).to_contain_text("1 file is set aside in state/set-aside/")
    expect(group.get_by_text("secret-2.pdf")).to_have_count(0)
    assert list((site.zone.root / "state/set-aside").glob("*/secret-2.pdf"))


def test_without_a_script_all_are_tried_again_after_a_question(pages, site):
    page = pages.open("/failures", scripts=False)
    failed, ended = len(site.zone.files("failed")), len(site.zone.receipts())
    page.get_by_role("link", name="Try all").click()
    page.get_by_role("button", name="Try all again").click()
    told = re.compile(rf"{failed} files? (is|are) back in input/")
    expect(page.locator(".note").first).to_contain_text(told)
    site.zone.wait_for_receipts(ended + failed)
    pages.expects("status of 422")
    page.goto(f"{site.url}/ask/set_aside")
    expect(page.get_by_role("heading", level=1)).to_have_text("No file was chosen.")


def test_who_may_only_read_sees_all_and_changes_nothing(pages):
    page = pages.open("/failures", role="read")
    expect(page.get_by_text("needs a password")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(1)  # to log out
    expect(page.get_by_role("checkbox")).to_have_count(0)
    pages.expects("status of 403")
    page.evaluate(
        """() => {
            const form = document.createElement("form");
            const mark = document.querySelector('meta[name="dropzone"]').dataset.csrf;
            Object.assign(form, {method: "post", action: "/do/retry_all"});
            form.innerHTML = `<input name="csrf" value="${mark}">`;
            document.body.append(form);
            form.submit();
        }"""
    )
    expect(page.get_by_role("heading", level=1)).to_contain_text("has the role read")


def test_a_link_to_the_object_opens_it_and_the_hash_can_be_copied(pages, site):
    (receipt,) = (r for r in site.zone.receipts() if r["name"] == "heron.pdf")
    granted = ["clipboard-read", "clipboard-write"]
    page = pages.open(f"/files/{receipt['job']}", role="read", permissions=granted)
    listen(page)
    page.get_by_role("button", name="Copy the SHA-256").click()
    wait_for_words(page, "Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == receipt["sha256"]
    page.get_by_role("button", name="Make a link to it").click()
    link = page.get_by_role("link", name="Open the object in S3").get_attribute("href")
    assert get(link).body.startswith(b"%PDF")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename == "heron.pdf"


def test_while_a_service_is_away_the_rest_is_told(pages, site, outage):
    (receipt,) = (r for r in site.zone.receipts() if r["name"] == "heron.pdf")
    outage.s3.refuse()
    site.zone.drop("stored-later.txt", b"It waits for S3.")
    outage.wait_for_pause("s3")
    page = pages.open(f"/files/{receipt['job']}")
    page.get_by_role("button", name="Make a link to it").click()
    expect(page.locator(".note").first).to_contain_text("It does not work just now.")
    outage.s3.heal()
    outage.postgres.refuse()
    page.goto(f"{site.url}/files/{receipt['job']}")
    expect(page.get_by_text("cannot be told now")).to_be_visible()
    expect(page.locator(".way > li.done")).to_have_count(6)
    site.zone.drop("waits.txt", b"It waits for Postgres.")
    wait_for(lambda: list(site.zone.work.rglob("waits.txt")), "it is claimed")
    page.goto(f"{site.url}/files?text=waits.txt")
    rows(page).get_by_role("link").click()
    held = page.locator(".way > li.held")
    expect(held).to_contain_text("Stands still:")
    check_accessible(page)
    outage.postgres.heal()
    expect(page.get_by_text("Search finds its text").first).to_be_visible()


def test_an_unknown_file_is_told_as_such(pages: Pages):
    pages.expects("status of 404")
    page = pages.open("/files/01a1fd26-7c92-7000-9842-0c19c1250c8e")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such job.")
