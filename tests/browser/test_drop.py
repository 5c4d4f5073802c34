"""Dropping files in a browser: chosen or dragged, cut off and gone on with, refused."""

import hashlib
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accessibility import check_accessible
from browsing import TOKENS
from daemons import free_port, wait_for

LARGE = 12_000_000
#: Bytes a second: a large file then takes so long that it can be cut off, also where
#: the machine is busy. Nobody waits for its end like this.
SLOWLY = 250_000


@pytest.fixture(scope="module")
def fill():
    return lambda _zone: None


@pytest.fixture(scope="module")
def environment() -> Mapping[str, str]:
    # A daemon that starts anew is found where it was.
    return {"DROPZONE__WEB__PORT": str(free_port())}


@pytest.fixture
def large(tmp_path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(random.randbytes(LARGE))
    return path


def row(page: Page, name: str):
    return page.locator("#drop-lists li.upload").filter(has_text=name)


def choose(page: Page, *paths: Path) -> None:
    page.locator("#drop-files").set_input_files(paths)


class Line:
    """The connection of a page: slow at first, so that it can be cut off in time."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Network.enable")
        self.let(SLOWLY)

    def let(self, speed: float, *, offline: bool = False) -> None:
        """Let it send so many bytes a second; -1: as fast as it can."""
        given = {"offline": offline, "latency": 0, "downloadThroughput": -1}
        self._session.send(
            "Network.emulateNetworkConditions", {**given, "uploadThroughput": speed}
        )


def wait_for_bytes(site) -> None:
    """Wait until the daemon has the first bytes of an upload, and not all."""
    folder = site.zone.root / "state" / "uploads" / "open"
    wait_for(
        lambda: any(one.stat().st_size > 100_000 for one in folder.glob("*/data")),
        "the first bytes came",
    )


def landed(site, path: str) -> str:
    """Return the hash of a file that came to its end."""
    return wait_for(
        lambda: {r["path"]: r["sha256"] for r in site.zone.receipts()}.get(path), path
    )


def test_chosen_files_are_seen_to_arrive_with_what_was_said_of_them(
    pages, site, tmp_path
):
    hostile = tmp_path / "<img src=x>'\u202e&amp;.txt"
    hostile.write_text("A heron stands in the river.")
    empty = tmp_path / "empty.txt"
    empty.touch()
    page = pages.open("/drop", role="drop")
    expect(page.get_by_text(re.compile("can be used"))).to_be_visible()
    check_accessible(page)
    page.get_by_label("Collection").fill("birds & more")
    expect(page.get_by_text("new collection “birds & more”")).to_be_visible()
    page.get_by_text("Add metadata").click()
    page.get_by_label("Name, such as author").fill("Verfasser in")
    page.get_by_label("Value").fill("Ada Löwe")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").press("Enter")
    chooser.value.set_files([hostile, empty])
    expect(row(page, "<img").locator(".tag")).to_have_text("indexed")
    expect(row(page, "empty.txt").locator(".tag")).to_have_text("empty")
    expect(page.get_by_role("heading", name="All 2 files are uploaded")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="uploaded")).to_have_count(1)
    link = page.get_by_role("link", name="<img src=x>")
    expect(link).to_have_attribute("href", re.compile("^/files/[0-9a-f-]{36}$"))
    check_accessible(page)
    [found] = site.zone.query(
        "SELECT metadata FROM dropzone.documents WHERE collection = 'birds & more'"
        " AND status = 'indexed'"
    )
    assert found["metadata"]["given"]["Verfasser in"] == "Ada Löwe"
    path = os.path.join(b"birds & more", os.fsencode(hostile.name))
    arrived = wait_for(
        lambda: site.zone.files("processed").get(path), "it lies in processed/"
    )
    assert arrived == _hash(hostile)


def test_a_dragged_folder_keeps_its_folders_and_leaves_litter_behind(
    pages, site, tmp_path
):
    trip = tmp_path / "trip"
    for name in ("map.txt", "2026/day.txt", ".DS_Store", ".git/config", "x~"):
        (trip / name).parent.mkdir(parents=True, exist_ok=True)
        (trip / name).write_text(name)
    page = pages.open("/drop", phone=True, dark=True)
    page.get_by_label("Collection").fill("album")
    drag = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(trip)], "dragOperationsMask": 1}
    place = {"x": 200, "y": 300, "data": data}
    for kind in ("dragEnter", "dragOver"):
        drag.send("Input.dispatchDragEvent", {"type": kind, **place})
    expect(page.locator("body")).to_have_class("dragging")
    drag.send("Input.dispatchDragEvent", {"type": "drop", **place})
    expect(page.get_by_role("heading", name="All 2 files are uploaded")).to_be_visible()
    expect(page.get_by_text("3 hidden or temporary names")).to_be_visible()
    assert landed(site, "album/trip/map.txt")
    assert landed(site, "album/trip/2026/day.txt")
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(wide), "it must not scroll sideways"
    check_accessible(page)


def test_a_refused_file_says_why_and_can_be_tried_again(pages, tmp_path):
    pages.expects("status of 507")
    pages.expects("answer 507")
    pages.expects("status of 422")
    huge = tmp_path / "huge.iso"
    huge.touch()
    os.truncate(huge, 5 * 10**12)
    litter = tmp_path / "letter.tmp"
    litter.write_text("half")
    page = pages.open("/drop")
    choose(page, huge, litter)
    expect(row(page, "huge.iso")).to_contain_text("The file needs 5.0 TB")
    expect(row(page, "letter.tmp")).to_contain_text("Rename the file")
    check_accessible(page)
    row(page, "huge.iso").get_by_role("button", name="Try again").click()
    expect(row(page, "huge.iso")).to_contain_text("Free some space")
    page.get_by_role("button", name="Leave out: letter.tmp").click()
    expect(row(page, "letter.tmp")).to_have_count(0)


def test_what_is_wrong_about_all_files_is_told_before_any_goes_up(pages, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("half")
    page = pages.open("/drop")
    for name, told in (
        ("a/b", "its name has no slash"),
        ("a.part", "are left alone"),
        ("\N{GREEK SMALL LETTER ALPHA}" * 128, "The name is too long"),
    ):
        page.get_by_label("Collection").fill(name)
        choose(page, letter)
        expect(page.get_by_text(told)).to_be_visible()
    page.get_by_label("Collection").fill("")
    page.get_by_text("Add metadata").click()
    page.get_by_role("button", name="Add a line").click()
    for number, said in enumerate(("Ada", "Grace")):
        page.get_by_label("Name, such as author").nth(number).fill("author")
        page.get_by_label("Value").nth(number).fill(said)
    choose(page, letter)
    wrong = page.locator("#drop-metadata input:invalid")
    expect(wrong).to_have_count(1)
    assert "given above" in wrong.evaluate("input => input.validationMessage")
    expect(row(page, "letter.txt")).to_have_count(0)
    words = "url => import(url).then(words => words.size(648.4981))"
    url = page.evaluate(
        "performance.getEntriesByType('resource')"
        ".find(one => one.name.endsWith('/drop-words.js')).name"
    )
    assert page.evaluate(words, url) == "648 B", "speeds are no whole numbers"


def test_an_upload_is_paused_goes_on_and_is_cancelled(pages, site, large):
    page = pages.open("/drop")
    Line(page)
    choose(page, large)
    wait_for_bytes(site)
    page.get_by_role("button", name="Pause: large.bin").focus()
    page.keyboard.press("Enter")
    expect(row(page, "large.bin")).to_contain_text("paused")
    expect(page.get_by_role("button", name="Resume: large.bin")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row(page, "large.bin")).to_contain_text("uploading")
    expect(page.get_by_role("button", name="Pause: large.bin")).to_be_focused()
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Cancel the uploads").click()
    expect(row(page, "large.bin")).to_have_count(0)
    folder = site.zone.root / "state" / "uploads" / "open"
    wait_for(lambda: not os.listdir(folder), "what came of it is removed")
    assert not site.zone.files("input")


def test_a_page_that_was_left_goes_on_when_the_file_is_chosen_again(pages, site, large):
    page = pages.open("/drop")
    page.get_by_label("Collection").fill("left")
    line = Line(page)
    choose(page, large)
    wait_for_bytes(site)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    assert asked == ["beforeunload"]
    before = page.get_by_role("region", name="Unfinished from before")
    expect(before).to_contain_text("left/large.bin")
    expect(before).to_contain_text("the last of it")
    check_accessible(page)
    line.let(-1)
    with page.expect_request(lambda one: one.method == "PATCH") as first:
        choose(page, large)
    assert int(first.value.headers["upload-offset"]) > 0
    expect(before).to_be_hidden()
    assert landed(site, "left/large.bin") == _hash(large)


def test_an_upload_outlives_the_network_the_daemon_and_the_session(pages, site, large):
    pages.expects("net::ERR_INTERNET_DISCONNECTED")
    pages.expects("net::ERR_|answer 50[03]|status of 50[0-9]")
    pages.expects("status of 401")
    page = pages.open("/drop", role="drop")
    line = Line(page)
    choose(page, large)
    wait_for_bytes(site)
    line.let(SLOWLY, offline=True)
    expect(row(page, "large.bin")).to_contain_text("The connection was lost")
    line.let(SLOWLY)
    expect(row(page, "large.bin")).to_contain_text("uploading")
    site.zone.stop(site.process)
    expect(page.get_by_text("The daemon does not answer")).to_be_visible()
    site.zone.start()
    # It knows no session any more; the page must stay, as its files are here.
    expect(page.get_by_role("alert")).to_contain_text("The session has ended")
    line.let(-1)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Log in in a new tab").click()
    other = opened.value
    other.get_by_label("Token").fill(TOKENS["drop"])
    other.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="The file is uploaded")).to_be_visible()
    assert landed(site, "large.bin") == _hash(large)


def test_without_scripts_and_without_the_role_the_page_says_what_to_do(pages):
    page = pages.open("/drop", scripts=False)
    expect(page.get_by_text("Dropping files here takes JavaScript")).to_be_visible()
    page.get_by_text("Other ways to bring files in").click()
    expect(page.get_by_text("/input/").first).to_be_visible()
    expect(page.get_by_text("dropzone add")).to_be_visible()
    pages.expects("status of 403")
    page = pages.open("/drop", role="read")
    expect(page.get_by_role("heading", level=1)).to_contain_text("the role read")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
