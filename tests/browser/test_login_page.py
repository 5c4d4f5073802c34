"""Logging in, in a browser: by the keyboard, with and without scripts."""

import pytest
from playwright.sync_api import expect

from accessibility import check_accessible
from browsing import TOKENS


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_login_page_is_accessible(pages, phone, dark):
    page = pages.open("/login", role=None, phone=phone, dark=dark)
    check_accessible(page)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_keyboard_alone_logs_in_and_leads_back(pages, scripts):
    page = pages.open("/metrics", role=None, scripts=scripts)
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKENS["read"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/metrics")
    expect(page.locator("body")).to_contain_text("dropzone_")


def test_a_wrong_token_is_told_and_the_right_one_then_works(pages):
    pages.expects("status of 403")
    page = pages.open("/login?next=/readyz", role=None)
    page.get_by_label("Token").fill("somebody-else-4f1c01b3a08f2dd9a7ce")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("no such token")
    check_accessible(page)
    page.get_by_label("Token").fill(TOKENS["drop"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/readyz")


def test_who_logs_out_leaves_no_names_of_files_behind(pages):
    page = pages.open("/files", role="drop")
    page.evaluate(
        """() => {
            localStorage.setItem("dropzone:upload::letter.txt", "{}");
            localStorage.setItem("of another program", "stays");
            const stay = (event) => event.preventDefault();
            document.querySelector("form.leave").addEventListener("submit", stay);
        }"""
    )
    page.get_by_role("button", name="Log out").click()
    assert page.evaluate("Object.keys(localStorage)") == ["of another program"]


def test_an_unknown_address_is_told_as_such(pages):
    pages.expects("status of 404")
    page = pages.open("/nothing-here")
    expect(page.locator("body")).to_contain_text("nothing at this address")


def test_whatever_the_browser_complains_of_fails_a_test(pages):
    page = pages.open("/login", role=None)
    for does, told in {
        "console.warn('hm')": "console warning: hm",
        "console.error('oh')": "console error: oh",
        "setTimeout(() => { throw new Error('boom') })": "boom",
        "fetch('http://127.0.0.1:9/').catch(() => null)": "violates",
        "document.body.setAttribute('style', 'color: red')": "violates",
    }.items():
        page.evaluate(does)
        with pytest.raises(AssertionError, match=told):
            pages.check()
    pages.expects("what never comes")
    with pytest.raises(AssertionError, match="did not complain"):
        pages.check()


def test_what_axe_finds_fails_a_test(pages):
    page = pages.open("/login", role=None)
    page.evaluate("document.querySelector('label').remove()")
    with pytest.raises(AssertionError, match=r"label.*#token"):
        check_accessible(page)
