"""Signing in at an issuer with the browser: there and back, out again, and when a session has expired."""

import time
from collections.abc import Mapping
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.responses import Response

from consumer.api.callers import READ, Caller
from consumer.pages.session import SESSION, Cookie, Visitor, begin
from tests.support.driven.browser import REFUSED, tab
from tests.support.driven.site import VIEWS, Sites, of_user, signs_in
from tests.support.emulators.issuer import AUTHORIZE
from tests.support.generators.events import USER
from tests.support.simulation.pages import KEY

LIFETIME = 600


def keep_session(page: Page, site: str, age: float = 0) -> None:
    """Gives the browser the cookie of a session that began so many seconds ago and lasts LIFETIME."""
    began = time.time() - age
    cookie = Cookie(SESSION, KEY.encode(), LIFETIME, is_secure=False, now=lambda: began)
    response = Response()
    begin(cookie, response, Visitor(Caller("agent-7", frozenset({READ})), "Anna"), began + LIFETIME)
    value = SimpleCookie(response.headers["set-cookie"])[SESSION].value
    page.context.add_cookies([{"name": SESSION, "value": value, "url": site}])


def authorizations(sites: Sites) -> list[Mapping[str, str]]:
    """What the pages have asked the issuer for."""
    return [dict(parse_qsl(urlsplit(path).query)) for path in sites.op.fetched if path.startswith(AUTHORIZE)]


def test_there_and_back_and_out_again(sites: Sites, page: Page) -> None:
    signs_in(sites.op)
    known = len(authorizations(sites))
    page.goto(sites.guarded + of_user(USER), wait_until="commit")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Limits of {USER}")
    expect(page).to_have_url(sites.guarded + of_user(USER))
    expect(page.get_by_text("Signed in as Anna")).to_be_visible()
    (asked,) = authorizations(sites)[known:]
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    (cookie,) = page.context.cookies(sites.guarded)
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (SESSION, True, "Lax")
    assert page.evaluate("() => document.cookie") == ""

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    assert page.context.cookies(sites.guarded) == []
    page.get_by_role("link", name="Sign in again").click()
    expect(page.get_by_text("Signed in as Anna")).to_be_visible()


def test_a_player_sees_own_limits_alone(sites: Sites, page: Page) -> None:
    sites.show(page, VIEWS["own limits"])
    expect(page.get_by_role("article", name="Bet limit per calendar week")).to_be_visible()
    assert page.get_by_role("search").count() == 0
    assert page.get_by_role("link", name="The consumer").count() == 0


@pytest.mark.parametrize("age", [0, LIFETIME + 1], ids=["valid", "expired"])
def test_an_expired_session_leads_to_the_issuer_and_back(sites: Sites, page: Page, age: float) -> None:
    """After a search too: the policy lets a form lead only to this server."""
    signs_in(sites.op)
    known = len(authorizations(sites))
    keep_session(page, sites.guarded)
    page.goto(sites.guarded)
    keep_session(page, sites.guarded, age)
    page.get_by_label("User id").press_sequentially(USER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Limits of {USER}")
    expect(page).to_have_url(sites.guarded + of_user(USER))
    assert len(authorizations(sites)) - known == (1 if age else 0)


def test_a_page_says_when_its_session_has_expired(sites: Sites, page: Page) -> None:
    signs_in(sites.op)
    keep_session(page, sites.guarded)
    page.goto(sites.guarded + of_user(USER))
    keep_session(page, sites.guarded, LIFETIME + 1)
    expect(page.get_by_role("status")).to_have_text("Your session has ended. Reload the page to sign in again.")
    expect(page.get_by_role("article").first).to_be_visible()
    page.reload(wait_until="commit")
    expect(page.get_by_role("status")).to_have_text("")
    expect(page.get_by_text("Signed in as Anna")).to_be_visible()


def test_a_refused_sign_in_says_why(browser: Browser, sites: Sites) -> None:
    signs_in(sites.op)
    sites.op.refusal = "access_denied"
    try:
        with tab(browser, expected=REFUSED) as page:
            page.goto(sites.guarded, wait_until="commit")
            expect(page.get_by_role("main")).to_contain_text("The sign-in failed: the issuer answered access_denied.")
    finally:
        sites.op.refusal = None
