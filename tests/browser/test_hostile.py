"""Names, words and links that try to become code: no page lets them."""

import json
import os
import urllib.parse

import pytest
from playwright.sync_api import Page, expect

import samples
from browsing import TOKENS, Fill, Pages, Site
from daemons import ZoneOfTest
from webclient import get, post

IMAGE = "<img src=x onerror=hacked=1>"
QUOTES = '"\'><svg onload=hacked=1> autofocus onfocus=hacked=1 x="'
CLOSING = "</title></textarea></script><script>hacked=1</script>"
LINK = "javascript:hacked=1"
TEMPLATE = "{{ 7 * 191 }} {% raw %} ${hacked=1}"
ALL = f"{IMAGE} {QUOTES} {CLOSING} {LINK} {TEMPLATE}"
OPERATOR = {"authorization": f"Bearer {TOKENS['operate']}"}


def drop_hostile(zone: ZoneOfTest) -> None:
    """Drop files whose names, collections, words and metadata are code."""
    zone.drop(f"{IMAGE}/{QUOTES}.txt", f"heron {ALL}".encode())
    zone.drop(f"{LINK}/{TEMPLATE}.md", f"# {ALL}\n\nheron {ALL}".encode())
    zone.drop(f"{QUOTES}/{IMAGE}.pdf", samples.encrypted_pdf())
    zone.drop(f"{QUOTES}/{IMAGE}2.pdf", samples.encrypted_pdf() + b"\n")
    told = zone.base / "told.txt"
    told.write_text(f"heron {ALL} again")
    given = {CLOSING: CLOSING, QUOTES: LINK, "url": LINK}
    os.setxattr(told, "user.dropzone.metadata", json.dumps(given).encode())
    told.rename(zone.input / f"{LINK}.txt")
    zone.wait_for_ends(5)


@pytest.fixture(scope="module")
def fill() -> Fill:
    return drop_hostile


def word(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def addresses(site: Site) -> list[str]:
    """Return every page, with code wherever an address may hold words."""
    code = word(ALL)
    jobs = get(f"{site.url}/api/v1/jobs", **OPERATOR).json["jobs"]
    collections = get(f"{site.url}/api/v1/collections", **OPERATOR).json["collections"]
    names = [word(one["collection"]) for one in collections]
    (read,) = (job["id"] for job in jobs if job["path"].endswith(".md"))
    return [
        *("/", "/failures", "/collections", "/settings"),
        *(f"/files/{job['id']}" for job in jobs[::3]),
        f"/files/{read}/text",
        *(f"/collections/default/{name}" for name in names[:1]),
        f"/files?q={code}",
        f"/files?text={code}&reason={code}",
        f"/drop?zone={code}&collection={code}",
        *(f"/{at}={code}" for at in ("collections?q", "settings/configuration?q")),
        f"/files?collection={names[0]}&type={code}&zone=default&step={code}",
        f"/search?q=heron&told={code}",
        f"/search?q={code}&collection={code}",
        *(
            f"/ask/pause?zone={code}&step={code}&next={word(one)}"
            for one in (LINK, "//evil.example")
        ),
        f"/ask/set_aside?job={jobs[-1]['id']}&job={code}&next={word(LINK)}",
    ]


def check_harmless(page: Page, where: str) -> None:
    found = page.evaluate(
        """() => ({
            hacked: typeof hacked,
            links: [...document.querySelectorAll("[href], [action], [formaction]")]
                .flatMap((one) => [one.href, one.action, one.formAction])
                .filter((to) => typeof to === "string" && to)
                .filter((to) => new URL(to).origin !== location.origin),
            handlers: [...document.querySelectorAll("*")].flatMap((one) =>
                [...one.attributes].filter(({ name }) => name.startsWith("on")
                    || name === "style").map(({ name }) => name)),
            scripts: [...document.querySelectorAll("script, img, iframe, object")]
                .filter((one) => !one.src?.startsWith(`${location.origin}/static/`))
                .length,
        })"""
    )
    assert found == {
        "hacked": "undefined", "links": [], "handlers": [], "scripts": 0
    }, where  # fmt: skip
    assert "1337" not in page.title() + page.locator("body").inner_text(), where


def test_names_and_words_stay_what_they_are_on_every_page(pages: Pages, site: Site):
    page = pages.open("/healthz")
    for address in addresses(site):
        page.goto(site.url + address)
        expect(page.locator("main")).to_be_visible()
        check_harmless(page, address)
    page.goto(f"{site.url}/files")
    expect(page.get_by_role("link", name=IMAGE).first).to_be_visible()


def test_what_comes_live_stays_words_too(pages: Pages, site: Site):
    page = pages.open("/")
    paused = post(
        f"{site.url}/api/v1/pause",
        {"steps": ["track"], "reason": ALL[:500]},
        **OPERATOR,
    )
    assert paused.status == 200
    try:
        expect(page.get_by_text(IMAGE).first).to_be_visible()
        check_harmless(page, "live")
        page.goto(f"{site.url}/settings")
        expect(page.get_by_text(IMAGE).first).to_be_visible()
        check_harmless(page, "settings")
    finally:
        post(f"{site.url}/api/v1/resume", {}, **OPERATOR)


def test_an_error_and_the_login_repeat_no_code(pages: Pages):
    pages.expects("status of 422")
    page = pages.open(f"/files?state={word(ALL[:90])}")
    check_harmless(page, "error")
    page.context.clear_cookies()
    page.goto(f"{page.url.partition('/files')[0]}/login?next={word(ALL)}")
    check_harmless(page, "login")
