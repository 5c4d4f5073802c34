"""The settings in a browser: services, steps, the doctor, the configuration, roles."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from accessibility import check_accessible
from browsing import TOKENS, Site, site_of
from daemons import wait_for
from dropzone.embedded import ServiceAddresses
from outages import Outage, behind_proxies
from webclient import post

_CONFIG = """\
retry:
  longest_pause_seconds: 200
aws:
  encryption: none
"""
_SIZE = 200
_TABS = ("", "/configuration", "/about", "/doctor")


@pytest.fixture(scope="module")
def outage(
    tmp_path_factory: pytest.TempPathFactory, services: ServiceAddresses
) -> Iterator[Outage]:
    base = tmp_path_factory.mktemp("settings")
    (base / "config.yaml").write_text(_CONFIG.ljust(_SIZE))
    # Nobody is there: the doctor has something to find, and need not make a database.
    nobody = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    with behind_proxies(base, services, nobody) as outage:
        yield outage


@pytest.fixture(scope="module")
def site(outage: Outage) -> Iterator[Site]:
    with site_of(outage.zone) as site:
        yield site


@pytest.fixture
def config(site: Site) -> Iterator[Path]:
    """The configuration file, which is as it was and in force after the test."""
    path = site.zone.base / "config.yaml"
    yield path
    _edit(path, _CONFIG)
    token = f"Bearer {TOKENS['operate']}"
    assert post(f"{site.url}/api/v1/reload", authorization=token).json["ok"]


def _edit(path: Path, text: str) -> None:
    """Write the file so that it looks as before: the daemon reads it when asked only.

    It would read an edited file by itself a second later, and tell of that.
    """
    before = path.stat()
    with path.open("r+") as file:
        file.write(text.ljust(_SIZE))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _setting(page, key):
    return page.locator(".made > li").filter(has=page.get_by_text(key, exact=True))


def test_services_say_that_they_answer_and_how_fast(pages):
    page = pages.open("/settings")
    for name in ("S3", "Postgres"):
        card = page.locator(".service-list > li").filter(
            has=page.get_by_role("heading", name=name)
        )
        expect(card).to_contain_text("answers")
        expect(card).to_contain_text("ms")
        expect(card).to_contain_text("127.0.0.1" if name == "S3" else "Postgres")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_step_is_paused_with_its_reason_and_resumed(pages, scripts):
    page = pages.open("/settings", scripts=scripts)
    page.get_by_role("link", name="Pause index").click()
    page.get_by_label("Why, so that others know").fill("<b>Postgres</b> moves")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("Paused: index")
    row = page.locator(".step-list > [data-key=index]")
    expect(row).to_contain_text("<b>Postgres</b> moves. It stays paused")
    expect(row).to_contain_text("by anna")
    page.get_by_role("link", name="Resume index").click()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(row).to_contain_text("runs")


def test_a_wrong_configuration_is_told_with_its_line_and_changes_nothing(pages, config):
    page = pages.open("/settings/configuration")
    _edit(config, "retry:\n  longest_pause_seconds: 100\n  longest_pauses: 3\n")
    page.get_by_role("link", name="Reload").click()
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("alert")).to_contain_text("line 3")
    expect(_setting(page, "retry.longest_pause_seconds")).to_contain_text("200")
    page.goto(f"{pages.url}/settings")
    told = page.locator(".note.bad")
    expect(told).to_contain_text("All settings stayed as they were")
    expect(told).to_contain_text("longest_pauses")


def test_what_changed_is_told_and_what_waits_for_a_restart(pages, config):
    page = pages.open("/settings")
    _edit(config, "retry:\n  longest_pause_seconds: 150\naws:\n  encryption: AES256\n")
    page.get_by_role("link", name="Reload").click()
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("#services")).to_contain_text(
        "retry.longest_pause_seconds: 200.0 -> 150.0"
    )
    page.goto(f"{pages.url}/settings/configuration")
    page.get_by_role("link", name="Show it").click()
    row = _setting(page, "aws.encryption")
    expect(row).to_contain_text("none after a restart: AES256")
    expect(row).to_contain_text("config.yaml, line 4")


def test_a_setting_is_found_by_part_of_its_name_without_scripts(pages):
    page = pages.open("/settings/configuration", scripts=False)
    expect(_setting(page, "zones.0.name")).to_contain_text("DROPZONE__ZONES")
    search = page.get_by_label("Find a setting")
    search.fill("Token")
    page.get_by_role("button", name="Find", exact=True).click()
    expect(_setting(page, "web.tokens.0.token")).to_contain_text("********")
    for token in TOKENS.values():
        assert token not in page.content()
    search.fill("<i>nothing")
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page.locator(".empty")).to_contain_text("No setting fits <i>nothing")


def test_the_doctor_examines_and_its_findings_appear(pages):
    page = pages.open("/settings/doctor")
    page.get_by_role("button", name="Examine now").click()
    expect(page.locator("main")).to_contain_text("is being examined")
    expect(page.locator(".checks")).to_contain_text("Postgres schema", timeout=90_000)
    found = page.locator(".diagnosis").filter(has_text="MLflow").first
    expect(found).to_contain_text("127.0.0.1:9")
    expect(found).to_contain_text("What to do:")
    expect(page.locator("#heard")).not_to_be_empty()
    check_accessible(page)


def test_a_doctor_that_fails_says_why(pages, config):
    # Only the command reads it.
    _edit(config, "webb: {}\n")
    page = pages.open("/settings/doctor")
    page.get_by_role("button", name="Examine now").click()
    failed = page.get_by_role("heading", name="The examination failed")
    expect(failed).to_be_visible(timeout=90_000)
    expect(page.locator("pre.ill")).to_contain_text("did you mean 'web'?")


def test_who_may_only_read_is_told_so(pages):
    page = pages.open("/settings", role="read")
    expect(page.locator("main")).to_contain_text("yours has the role read")
    expect(page.get_by_role("link", name="Pause")).to_have_count(0)
    page.goto(f"{pages.url}/settings/configuration")
    expect(page.locator("main")).to_contain_text("The configuration is for operators")
    expect(page.locator(".made")).to_have_count(0)
    page.goto(f"{pages.url}/settings/doctor")
    expect(page.get_by_role("button", name="Examine now")).to_have_count(0)
    page.goto(f"{pages.url}/settings/about")
    expect(page.locator("main")).to_contain_text("rita")


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_all_of_it_is_accessible(pages, phone):
    page = pages.open("/login", phone=phone, dark=phone)
    for number, tab in enumerate(_TABS):
        page.goto(f"{pages.url}/settings{tab}")
        if number % 2 == int(phone):
            check_accessible(page)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, tab


def test_a_service_that_is_away_is_told_with_what_stands_still(pages, outage):
    outage.postgres.refuse()
    try:
        outage.zone.drop("late.txt", b"a late file")
        outage.wait_for_pause("postgres")
        page = pages.open("/settings")
        card = page.locator(".service-list > li").filter(
            has=page.get_by_role("heading", name="Postgres")
        )
        expect(card).to_contain_text("does not answer")
        expect(card).to_contain_text("For it stands still: index")
        expect(page.locator(".step-list")).to_contain_text("stands still")
        check_accessible(page)
    finally:
        outage.postgres.heal()
    wait_for(lambda: outage.zone.outcomes().get("late.txt"), "the file ends")
