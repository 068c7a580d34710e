"""Signing in: the whole way, the cookies, and how each attack ends."""

import json
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from starlette.responses import Response

from consumer.api.callers import Caller
from consumer.pages.provider import FRESH_SECONDS, Provider
from consumer.pages.session import COOKIE_CHARACTERS, Cookie, Visitor, begin
from consumer.pages.sign_in import ATTEMPT_SECONDS, SignIn
from tests.support.emulators.issuer import AUDIENCE, LIFETIME, METADATA, TOKEN, Issuer, issuer, new_key, signed
from tests.support.generators.events import USER, created
from tests.support.simulation.api import Answer
from tests.support.simulation.pages import CLIENT, KEY, URL, Browser, document, served

HTTPS = "https://limits.example.com"


@pytest.fixture
def op() -> Iterator[Issuer]:
    with issuer() as made:
        made.person = {"sub": USER, "name": "Anna"}
        yield made


@pytest.fixture
def browser(op: Issuer) -> Browser:
    return served(op)[1]


def door(browser: Browser) -> SignIn:
    made: SignIn = browser.app.state.sign_in
    return made


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/").status == 200


def failure(answer: Answer) -> str:
    """What the page of a failed sign-in says. It never leads to a session."""
    assert answer.status == 400
    assert not any(
        "session=" in header and "Max-Age=0" not in header for header in answer.headers.getlist("set-cookie")
    )
    page = document(answer)
    assert page.texts("h1") == ["You are not signed in"]
    return next(text for text in page.texts("p") if text.startswith("The sign-in failed"))


def changed(target: str, **parameters: str | None) -> str:
    """The address with these parameters of its query. None removes one."""
    path, _, query = target.partition("?")
    found = {name: value for name, value in {**dict(parse_qsl(query)), **parameters}.items() if value is not None}
    return f"{path}?{urlencode(found)}"


# the whole way


def test_a_page_leads_to_the_issuer_and_back_to_itself(op: Issuer, browser: Browser) -> None:
    first = browser.get("/?user=u%2F1")
    assert (first.status, first.headers["location"]) == (303, "/sign-in?back=%2F%3Fuser%3Du%252F1")
    last = browser.sign_in(op, "/?user=u%2F1")
    assert (last.status, last.headers["location"]) == (303, "/?user=u%2F1")
    assert browser.page("/").texts("p")[0] == "Signed in as Anna"


def test_the_issuer_is_asked_for_a_code_with_all_that_protects_it(op: Issuer, browser: Browser) -> None:
    page = browser.page("/sign-in")
    (link,) = [each["href"] for each in page.all("a") if each.within("main")]
    assert page.one("meta", http_equiv="refresh")["content"] == f"0; url={link}"
    asked = parse_qs(urlsplit(link).query, strict_parsing=True)
    assert link.startswith(f"{op.url}/authorize?")
    assert {name: asked[name] for name in ("response_type", "client_id", "redirect_uri", "audience")} == {
        "response_type": ["code"],
        "client_id": [CLIENT],
        "redirect_uri": [f"{URL}/sign-in/callback"],
        "audience": [AUDIENCE],
    }
    assert asked["scope"] == ["openid profile limits:read operations:read"]
    assert asked["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", asked[name][0])


def test_nothing_of_a_sign_in_is_used_for_another(browser: Browser) -> None:
    asked = [parse_qs(urlsplit(browser.page("/sign-in").all("a")[1]["href"]).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]


@pytest.mark.parametrize("methods", [None, ["client_secret_basic", "client_secret_post"], ["private_key_jwt"]])
def test_a_client_with_a_secret_says_it_to_the_issuer_alone(op: Issuer, methods: list[str] | None) -> None:
    op.secret = "s3cr3t"
    add_metadata(op, token_endpoint_auth_methods_supported=methods)
    _, browser = served(op, pages_client_secret="s3cr3t")
    assert "s3cr3t" not in browser.get("/sign-in").body.decode()
    assert browser.sign_in(op).headers["location"] == "/"


def test_a_wrong_secret_ends_the_sign_in(op: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    op.secret = "s3cr3t"
    _, browser = served(op, pages_client_secret="other")
    assert "the issuer refused" in failure(browser.sign_in(op))
    assert [record.__dict__["cause"] for record in caplog.records if record.message == "a sign-in failed"] == [
        "the token endpoint: invalid_client"
    ]


def add_metadata(op: Issuer, **changes: Any) -> None:
    found = json.loads(op.body(METADATA) or b"")
    kept = {name: value for name, value in {**found, **changes}.items() if value is not None}
    op.bodies[METADATA] = json.dumps(kept).encode()


@pytest.mark.parametrize(
    ("person", "name"),
    [
        ({"name": "Anna"}, "Anna"),
        ({"name": "", "preferred_username": "anna"}, "anna"),
        ({"name": 7, "email": "anna@example.com"}, "anna@example.com"),
        ({"name": "a\nb"}, USER),
        ({"name": "x" * 200}, "x" * 100),
    ],
)
def test_the_page_names_who_has_signed_in(op: Issuer, browser: Browser, person: dict[str, Any], name: str) -> None:
    op.person = {"sub": USER, **person}
    browser.sign_in(op)
    assert browser.page("/").texts("bdi")[0] == name


def test_the_scopes_are_those_of_the_access_token(op: Issuer, browser: Browser) -> None:
    op.scope, op.id_changes = "", {"scope": "limits:read"}
    browser.sign_in(op)
    assert browser.get("/?user=u-other").status == 403
    op.scope = "openid limits:read"
    browser.cookies.clear()
    browser.sign_in(op)
    assert browser.get("/?user=u-other").status == 200


def test_the_user_may_be_in_another_claim(op: Issuer) -> None:
    op.access_changes = {"player": "u-player"}
    api, browser = served(op, api_user_claim="player")
    api.store(created(1, userId="u-player"), created(2, userId=USER), created(3, userId=USER, userLimitId="l-2"))
    browser.sign_in(op)
    assert len(browser.page("/").all("article")) == 1


# the cookies


def attributes(answer: Answer, name: str) -> set[str]:
    """Of a cookie that the answer sets: everything but its value."""
    (header,) = [each for each in answer.headers.getlist("set-cookie") if re.match(rf"{name}(-\d)?=", each)]
    return {part.strip().lower() for part in header.split(";")[1:]}


@pytest.mark.parametrize(("url", "prefix"), [(URL, ""), (HTTPS, "__Host-")])
def test_cookies_are_for_this_server_alone(op: Issuer, url: str, prefix: str) -> None:
    _, browser = served(op, pages_url=url, pages_session_seconds=100)
    usual = {"httponly", "samesite=lax", "path=/"} | ({"secure"} if prefix else set())
    assert attributes(browser.get("/sign-in"), f"{prefix}sign-in") == usual | {f"max-age={ATTEMPT_SECONDS}"}
    answer = answered(browser, op, url)
    (age,) = attributes(answer, f"{prefix}session") - usual
    assert age in ("max-age=100", "max-age=99")
    assert "max-age=0" in attributes(answer, f"{prefix}sign-in")
    assert answer.headers["cache-control"] == "no-store"


def answered(browser: Browser, op: Issuer, url: str) -> Answer:
    """The last answer of a sign-in at pages with this address."""
    link = next(each["href"] for each in browser.page("/sign-in").all("a") if each.within("main"))
    address = op.authorized(link)
    assert address.startswith(f"{url}/sign-in/callback?")
    return browser.get(address.removeprefix(url))


def test_a_session_ends_with_the_access_token(op: Issuer, browser: Browser) -> None:
    answer = browser.sign_in(op)
    (age,) = [part for part in attributes(answer, "session") if part.startswith("max-age=")]
    assert LIFETIME - 5 <= int(age.removeprefix("max-age=")) <= LIFETIME


def test_a_cookie_says_nothing_to_who_reads_it(op: Issuer, browser: Browser) -> None:
    browser.sign_in(op)
    value = browser.cookies["session"].value
    assert re.fullmatch(r"[A-Za-z0-9_-]+=*", value)
    assert USER.encode() not in urlsafe_b64decode(value)
    assert len(value) < COOKIE_CHARACTERS


def test_signing_in_again_replaces_the_session(op: Issuer, browser: Browser) -> None:
    browser.sign_in(op)
    planted = browser.cookies["session"].value
    op.person = {"sub": "u-other", "name": "Olga"}
    page = browser.page("/sign-in")
    link = next(each["href"] for each in page.all("a") if each.within("main"))
    browser.get(op.authorized(link).removeprefix(URL))
    assert browser.cookies["session"].value != planted
    assert browser.page("/").texts("bdi")[0] == "Olga"


def test_two_servers_with_one_key_know_the_same_sessions(op: Issuer, browser: Browser) -> None:
    browser.sign_in(op)
    other = Browser(served(op)[1].app, browser.cookies)
    assert is_signed_in(other)
    stranger = Browser(served(op, pages_session_key=KEY[::-1])[1].app, browser.cookies)
    assert not is_signed_in(stranger)


def test_without_a_key_each_server_makes_its_own_and_says_so(op: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    _, browser = served(op, pages_session_key=None)
    said = [record for record in caplog.records if record.name == "consumer.pages.compose"]
    assert [record.__dict__["unset"] for record in said] == ["CONSUMER_PAGES_SESSION_KEY"]
    browser.sign_in(op)
    assert is_signed_in(browser)
    assert not is_signed_in(Browser(served(op, pages_session_key=None)[1].app, browser.cookies))


def test_signing_out_ends_the_session(op: Issuer, browser: Browser) -> None:
    browser.sign_in(op)
    answer = browser.get("/sign-out", "POST", sec_fetch_site="same-origin")
    assert (answer.status, answer.headers["location"]) == (303, "/signed-out")
    assert "session" not in browser.cookies
    assert browser.page("/signed-out").texts("h1") == ["You are signed out"]
    assert not is_signed_in(browser)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "x"])
def test_another_site_cannot_sign_out(op: Issuer, browser: Browser, site: str) -> None:
    browser.sign_in(op)
    assert browser.get("/sign-out", "POST", sec_fetch_site=site).status == 403
    assert browser.get("/sign-out").status == 405
    # As browsers do it: a form from another site brings no cookie.
    assert "set-cookie" not in Browser(browser.app).get("/sign-out", "POST").headers
    assert is_signed_in(browser)


# forged, stolen and old sessions


def sealed(cookie: Cookie, caller: Caller, until: float) -> str:
    """What the value of the cookie would be for this caller."""
    response = Response()
    begin(cookie, response, Visitor(caller, "Anna"), until)
    return response.headers["set-cookie"].partition("=")[2].partition(";")[0]


AGENT = Caller("u-agent", frozenset({"limits:read"}))


def with_cookie(browser: Browser, name: str, value: str) -> Answer:
    return Browser(browser.app).get("/?user=u-1", cookie=f"{name}={value}")


def test_a_cookie_that_was_made_here_is_accepted(browser: Browser) -> None:
    value = sealed(door(browser).sessions, AGENT, time.time() + 60)
    assert with_cookie(browser, "session", value).status == 200


@pytest.mark.parametrize(
    "forge",
    [
        lambda _: "",
        lambda _: "{}",
        lambda _: '{"subject": "u-agent", "scopes": ["limits:read"], "name": "x"}',
        lambda value: value[:-4],
        lambda value: value[:20] + ("A" if value[20] != "A" else "B") + value[21:],
        lambda value: value[::-1],
        lambda _: "gAAAAA",
        lambda _: "\xe9\xff",
        lambda _: "A" * 10_000,
    ],
)
def test_a_forged_cookie_is_no_session(browser: Browser, forge: Any) -> None:
    value = sealed(door(browser).sessions, AGENT, time.time() + 60)
    answer = with_cookie(browser, "session", forge(value))
    assert (answer.status, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")


def test_a_cookie_of_another_key_or_for_another_purpose_is_no_session(browser: Browser) -> None:
    sessions = door(browser).sessions
    foreign = replace(sessions, key=b"another key of at least 32 bytes")
    attempts = replace(door(browser).attempts, seconds=sessions.seconds)
    for cookie in (foreign, attempts):
        value = sealed(cookie, AGENT, time.time() + 60)
        assert with_cookie(browser, "session", value).status == 303


def test_an_expired_session_is_none(browser: Browser) -> None:
    sessions = door(browser).sessions
    hour_ago = time.time() - 3_600
    old = replace(sessions, now=lambda: hour_ago)
    ended = sealed(old, AGENT, hour_ago + 3_599)
    lasting = sealed(old, AGENT, hour_ago + 3_660)
    assert with_cookie(browser, "session", ended).status == 303
    assert with_cookie(browser, "session", lasting).status == 200


def test_a_shorter_session_counts_for_those_that_exist(op: Issuer) -> None:
    long, short = served(op)[1], served(op, pages_session_seconds=60)[1]
    minute_ago = time.time() - 120
    value = sealed(replace(door(long).sessions, now=lambda: minute_ago), AGENT, minute_ago + 900)
    assert with_cookie(long, "session", value).status == 200
    assert with_cookie(short, "session", value).status == 303


def test_an_expired_session_leads_to_signing_in_and_back(op: Issuer, browser: Browser) -> None:
    browser.sign_in(op)
    browser.cookies["session"].set("session", "x", "x")
    answer = browser.get(f"/?user={USER}")
    assert answer.headers["location"] == f"/sign-in?back=%2F%3Fuser%3D{USER}"
    assert browser.sign_in(op, f"/?user={USER}").headers["location"] == f"/?user={USER}"
    assert is_signed_in(browser)


def test_the_part_that_is_refreshed_needs_a_session_too(browser: Browser) -> None:
    assert browser.get(f"/limits?user={USER}").status == 303


def test_a_session_is_no_token_and_a_token_is_no_session(op: Issuer, browser: Browser) -> None:
    assert browser.get("/", authorization=f"Bearer {op.token(scope='limits:read')}").status == 303
    browser.sign_in(op)
    assert browser.get(f"/user-limits/{USER}").status == 401


def test_more_scopes_than_a_cookie_holds_end_the_sign_in(op: Issuer, browser: Browser) -> None:
    op.scope = " ".join(f"limits:brand:{number:024}" for number in range(90))
    assert "more scopes" in failure(browser.sign_in(op))


def test_every_brand_of_a_token_narrows_the_session(op: Issuer, browser: Browser) -> None:
    op.scope = "limits:read limits:brand:b-1 limits:brand:"
    api, browser = served(op)
    api.store(created(1, brandId="b-1"), created(2, userLimitId="l-2", brandId="b-2"))
    browser.sign_in(op)
    assert len(browser.page(f"/?user={USER}").all("article")) == 1


# attacks on the answer


def test_a_wrong_state_ends_the_sign_in(op: Issuer, browser: Browser) -> None:
    back = browser.back_from(op)
    for state in ("other", "", None):
        assert "did not begin in this browser" in failure(browser.get(changed(back, state=state)))
    assert browser.get(back).status == 303


def test_tabs_of_one_browser_sign_in_side_by_side(op: Issuer, browser: Browser) -> None:
    """An attempt replaces an earlier one of the same number."""
    backs: list[str] = []
    while len(browser.cookies) < 3:
        before = dict(browser.cookies)
        backs.append(browser.back_from(op))
        if len(browser.cookies) == len(before):
            browser.cookies = before
            backs.pop()
    assert [browser.get(back).status for back in backs] == [303, 303, 303]


def test_an_answer_is_accepted_only_in_the_browser_that_asked(op: Issuer, browser: Browser) -> None:
    back = browser.back_from(op)
    assert "did not begin in this browser" in failure(Browser(browser.app).get(back))
    victim = Browser(browser.app)
    victim.page("/sign-in")
    assert "did not begin in this browser" in failure(victim.get(back))
    assert not is_signed_in(victim)


def test_an_answer_works_once(op: Issuer, browser: Browser) -> None:
    back = browser.back_from(op)
    stolen = dict(browser.cookies)
    assert browser.get(back).status == 303
    assert "has ended already" in failure(browser.get(back))
    # With the cookie as well, the issuer refuses the code.
    assert "the issuer refused" in failure(Browser(browser.app, stolen).get(back))


def test_a_code_of_another_sign_in_is_refused(op: Issuer, browser: Browser) -> None:
    """Somebody who injects a code has not the verifier that belongs to it."""
    theirs = dict(parse_qsl(urlsplit(Browser(browser.app).back_from(op)).query))["code"]
    assert "the issuer refused" in failure(browser.get(changed(browser.back_from(op), code=theirs)))


@pytest.mark.parametrize("nonce", ["other", "", None, 7])
def test_a_wrong_nonce_ends_the_sign_in(op: Issuer, browser: Browser, nonce: object) -> None:
    op.id_changes = {"nonce": nonce}
    assert "another sign-in" in failure(browser.sign_in(op))


@pytest.mark.parametrize("named", ["https://evil.example", "", None])
def test_an_answer_of_another_issuer_ends_the_sign_in(op: Issuer, browser: Browser, named: str | None) -> None:
    assert "another issuer" in failure(browser.get(changed(browser.back_from(op), iss=named)))


def test_an_issuer_that_does_not_name_itself_in_answers_works(op: Issuer, browser: Browser) -> None:
    add_metadata(op, authorization_response_iss_parameter_supported=None)
    assert browser.get(changed(browser.back_from(op), iss=None)).status == 303


@pytest.mark.parametrize("query", ["&state=x", "&code=x", "&code=", "&%ff=1"])
def test_an_answer_with_a_parameter_twice_or_odd_bytes_ends_the_sign_in(
    op: Issuer, browser: Browser, query: str
) -> None:
    assert "twice" in (said := failure(browser.get(browser.back_from(op) + query))) or "cannot be read" in said


@pytest.mark.parametrize(("error", "said"), [("access_denied", "access_denied"), ("<b>x</b>", "an error")])
def test_an_error_of_the_issuer_is_shown_by_its_name_alone(op: Issuer, browser: Browser, error: str, said: str) -> None:
    op.refusal = error
    assert failure(browser.sign_in(op)) == f"The sign-in failed: the issuer answered {said}."


def test_an_answer_without_code_ends_the_sign_in(op: Issuer, browser: Browser) -> None:
    assert "no code" in failure(browser.get(changed(browser.back_from(op), code=None)))


def test_a_sign_in_may_take_ten_minutes(op: Issuer, browser: Browser) -> None:
    attempts = door(browser).attempts
    for seconds, status in ((ATTEMPT_SECONDS - 60, 303), (ATTEMPT_SECONDS + 60, 400)):
        at = time.time() - seconds
        browser.cookies.clear()
        browser.app.state.sign_in = replace(door(browser), attempts=replace(attempts, now=partial(float, at)))
        back = browser.back_from(op)
        browser.app.state.sign_in = replace(door(browser), attempts=attempts)
        assert browser.get(back).status == status


# tokens that are not for these pages


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"aud": "another-api"}, "not for the audience"),
        ({"iss": "https://evil.example"}, "not from the issuer"),
        ({"exp": 1}, "has expired"),
        ({"exp": None}, "has no exp"),
        ({"sub": None}, "no user id"),
        ({"sub": "u-other"}, "names two people"),
    ],
)
def test_an_access_token_must_be_for_the_api(op: Issuer, browser: Browser, changes: dict[str, Any], said: str) -> None:
    op.access_changes = changes
    assert said in failure(browser.sign_in(op))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"aud": AUDIENCE}, "not for the audience"),
        ({"aud": "another-client"}, "not for the audience"),
        ({"azp": "another-client"}, "for another application"),
        ({"iss": "https://evil.example"}, "not from the issuer"),
        ({"exp": 1}, "has expired"),
        ({"sub": "u-other"}, "names two people"),
    ],
)
def test_an_id_token_must_be_for_the_pages(op: Issuer, browser: Browser, changes: dict[str, Any], said: str) -> None:
    op.id_changes = changes
    assert said in failure(browser.sign_in(op))


def test_a_token_with_a_foreign_signature_ends_the_sign_in(op: Issuer, browser: Browser) -> None:
    back = browser.back_from(op)
    now = int(time.time())
    claims = {"iss": op.url, "aud": AUDIENCE, "sub": USER, "exp": now + 60}
    foreign = signed(op.header(), claims, new_key())
    op.bodies[TOKEN] = json.dumps({"access_token": foreign, "id_token": foreign, "token_type": "Bearer"}).encode()
    assert "the signature is wrong" in failure(browser.get(back))


def test_a_token_that_expires_at_once_does_not_send_the_browser_round(op: Issuer, browser: Browser) -> None:
    op.access_changes = {"exp": int(time.time()) - 5}  # the clocks may differ by 30 s
    assert "expired already" in failure(browser.sign_in(op))


# addresses to return to


@pytest.mark.parametrize(
    ("back", "leads"),
    [
        ("/", "/"),
        ("/consumer", "/consumer"),
        ("/?user=a%26b&after=bC0x", "/?user=a%26b&after=bC0x"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        (" //evil.example", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
        ("user", "/"),
        ("/\u20ac", "/"),
        ("/" + "x" * 1_000, "/"),
        ("/sign-out", "/"),
        ("/sign-in?back=/sign-in", "/"),
        ("/sign-in/callback?code=x", "/"),
    ],
)
def test_a_sign_in_leads_only_to_own_pages(op: Issuer, browser: Browser, back: str, leads: str) -> None:
    page = browser.page(f"/sign-in?{urlencode({'back': back})}")
    link = next(each["href"] for each in page.all("a") if each.within("main"))
    answer = browser.get(op.authorized(link).removeprefix(URL))
    assert (answer.status, answer.headers["location"]) == (303, leads)


# an issuer that fails


def test_while_the_issuer_is_away_the_page_says_so(op: Issuer, browser: Browser) -> None:
    op.is_away = True
    answer = browser.get("/sign-in")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "The issuer, where people sign in, does not answer." in document(answer).texts("p")
    op.is_away = False
    assert browser.sign_in(op).status == 303


def test_an_issuer_that_goes_away_before_the_tokens_is_said_too(op: Issuer, browser: Browser) -> None:
    back = browser.back_from(op)
    op.is_away = True
    assert browser.get(back).status == 503


@pytest.mark.parametrize(
    "changes",
    [
        {"authorization_endpoint": None},
        {"token_endpoint": 7},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://login.example.com/authorize"},
        {"token_endpoint": "https://user@login.example.com/token"},
        {"issuer": "https://evil.example"},
    ],
)
def test_metadata_that_cannot_be_used_let_nobody_sign_in(op: Issuer, browser: Browser, changes: dict[str, Any]) -> None:
    add_metadata(op, **changes)
    assert browser.get("/sign-in").status == 503


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b" ", 503),
        (b"[]", 503),
        (b'{"access_token": "a", "id_token": "b", "expires_in": "soon"}', 503),
        (b"{}", 400),
        (b'{"access_token": 7, "id_token": "b"}', 400),
        (b'{"access_token": "a"}', 400),
        (b'{"error": "invalid_grant"}', 400),
        (b'{"access_token": "a", "id_token": "b"}', 400),
    ],
)
def test_an_odd_answer_with_tokens_leads_to_no_session(op: Issuer, browser: Browser, body: bytes, status: int) -> None:
    back = browser.back_from(op)
    op.bodies[TOKEN] = body
    assert browser.get(back).status == status
    assert not is_signed_in(browser)


def test_metadata_are_fetched_once_an_hour(op: Issuer, browser: Browser) -> None:
    now = [0.0]
    known: Provider = door(browser).provider
    known.clock = lambda: now[0]
    for _ in range(3):
        browser.get("/sign-in")
    assert op.fetched[METADATA] == 1
    now[0] = FRESH_SECONDS + 1
    browser.get("/sign-in")
    assert op.fetched[METADATA] == 2
