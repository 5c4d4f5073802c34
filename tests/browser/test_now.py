"""The first page: all is well or not, at a glance, live, with and without scripts."""

import re

import pytest
from playwright.sync_api import expect

from accessibility import check_accessible
from daemons import wait_for
from dropzone import pauses


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_failed_and_why_is_seen_first(pages, phone, dark):
    page = pages.open("/", phone=phone, dark=dark)
    headline = page.get_by_role("heading", level=1)
    expect(headline).to_have_text("1 file failed and needs you.")
    expect(headline).to_be_in_viewport()
    reason = page.get_by_role("listitem").filter(has_text="secret.pdf").first
    expect(reason).to_contain_text("password")
    expect(reason).to_be_in_viewport()
    expect(page.get_by_role("link", name=re.compile(r"Failures\s*, 1"))).to_be_visible()
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(wide), "it must not scroll sideways"
    check_accessible(page)


def test_a_dropped_file_shows_up_by_itself_and_in_the_zone_of_the_viewer(pages, site):
    page = pages.open("/healthz", timezone_id="Asia/Tokyo")
    # The clock of the viewer is slow, and nobody has noticed.
    page.add_init_script("const now = Date.now; Date.now = () => now() - 7.2e6;")
    page.goto(pages.url)
    latest = page.get_by_role("region", name="Latest files")
    expect(latest.get_by_role("listitem")).to_have_count(5)
    site.zone.drop("notes/while-looking.txt", b"It came while somebody looked.")
    row = latest.get_by_role("listitem").filter(has_text="while-looking.txt")
    expect(row).to_contain_text("indexed")
    expect(row.locator("time")).to_have_text(re.compile(r"^(just now|\d+ s ago)$"))
    told = row.locator("time").get_attribute("title") or ""
    shown = page.evaluate(
        "at => new Intl.DateTimeFormat('en-GB', {timeZone: 'Asia/Tokyo',"
        " dateStyle: 'medium', timeStyle: 'medium'}).format(Date.parse(at))",
        row.locator("time").get_attribute("datetime"),
    )
    assert told == shown


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_step_is_paused_with_a_reason_and_goes_on(pages, site, scripts):
    page = pages.open("/", scripts=scripts)
    track = page.get_by_role("listitem").filter(has_text="logs runs in MLflow")
    track.get_by_role("link", name="Pause", exact=True).click()
    asked = page.get_by_role("dialog") if scripts else page.get_by_role("main")
    expect(asked.get_by_role("heading")).to_have_text(
        "Pause the step track of the zone default?"
    )
    check_accessible(page) if scripts else None
    asked.get_by_label("For how long").select_option("1 hour")
    asked.get_by_label("Why, so that others know").fill("MLflow <b>moves</b>")
    asked.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("Paused: track.")
    stands = page.get_by_role("region", name="What stands still")
    expect(stands).to_contain_text("Paused by anna: MLflow <b>moves</b>")
    expect(stands).to_contain_text("it resumes by itself at")
    (paused,) = wait_for(lambda: site.zone.report()["paused"], "the pause is told")
    assert (paused["step"], paused["by"]) == ("track", "anna")
    stands.get_by_role("link", name="Resume now").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status").first).to_contain_text("Goes on: track.")
    expect(stands).to_have_count(0)


def test_leaving_a_question_changes_nothing_and_gives_the_focus_back(pages, site):
    page = pages.open("/")
    page.get_by_role("link", name="Pause all").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name="Pause all")).to_be_focused()
    assert not pauses.read(site.zone.root)


def test_who_may_only_read_sees_all_and_changes_nothing(pages):
    page = pages.open("/", role="read", scripts=False)
    expect(page.get_by_role("heading", level=1)).to_contain_text("failed")
    expect(page.get_by_role("link", name="Pause", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="Drop", exact=True)).to_have_count(0)
    pages.expects("status of 403")
    page.goto(f"{pages.url}/ask/pause")
    expect(page.get_by_role("heading", level=1)).to_contain_text("may not do that")


def test_the_range_of_the_chart_is_chosen_and_told_to_the_blind(pages):
    page = pages.open("/?range=week")
    chart = page.get_by_role("img", name=re.compile(r"over the last week: \d+ files"))
    expect(chart).to_be_visible()
    page.get_by_role("link", name="Hour").click()
    expect(
        page.get_by_role("img", name=re.compile("over the last hour"))
    ).to_be_visible()
    pages.expects("status of 422")
    page.goto(f"{pages.url}/?range=century")
    expect(page.get_by_role("heading", level=1)).to_contain_text("range")


def test_a_slash_leads_to_the_field_that_finds_files(pages):
    page = pages.open("/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("")
