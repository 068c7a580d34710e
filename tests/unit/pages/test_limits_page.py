"""The page "Limits of a user": what it shows, its structure, and what it lets nobody do."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from consumer.api.reading import MOST
from consumer.pages import layout
from consumer.pages.layout import CONTENT_SECURITY_POLICY
from tests.support.emulators.issuer import Issuer, issuer
from tests.support.generators.events import BRAND, DAY, START, USER, created, progress_changed
from tests.support.simulation.api import Answer, Api
from tests.support.simulation.pages import Browser, Document, document, served

HOUR = 3_600_000
OTHER_BRAND = "000000000000000000000002"
MARKUP = "\"><script>alert(1)</script><b a='&amp;"


@pytest.fixture
def site() -> tuple[Api, Browser]:
    api, browser = served(now=START + HOUR)
    api.store(
        created(1, userLimitId="l-1", value="200"),
        progress_changed(2, userLimitId="l-1", amount="250"),
        created(3, userLimitId="l-2", type="SESSION", value="7200", nextResetTime=START + DAY),
        created(4, userLimitId="l-3", type="LOSS", status="CANCELED", brandId=OTHER_BRAND),
        progress_changed(5, userLimitId="l-4", amount="10"),
    )
    return api, browser


@pytest.fixture
def browser(site: tuple[Api, Browser]) -> Browser:
    return site[1]


@pytest.fixture(scope="module")
def op() -> Iterator[Issuer]:
    with issuer() as served_issuer:
        yield served_issuer


def about(user: str) -> str:
    return f"/?{urlencode({'user': user})}"


PAGE = about(USER)


# what it shows


def test_first_there_is_only_the_search_field(browser: Browser) -> None:
    page = browser.page("/")
    assert page.texts("h1") == ["Limits of a user"]
    assert page.texts("label", for_="user") == ["User id"]
    field = page.one("input")
    assert (field["id"], field["name"], field["value"]) == ("user", "user", "")
    assert page.one("form", role="search")["action"] == "/"
    assert page.all("article") == []


def test_the_limits_of_a_user(browser: Browser) -> None:
    page = browser.page(PAGE)
    assert page.texts("h1") == [f"Limits of {USER}"]
    assert page.one("input")["value"] == USER
    assert page.texts("h2") == [
        "Limit of unknown type with unknown period",
        "Deposit limit per day",
        "Session limit per day",
        "Loss limit per day",
    ]
    assert page.texts("p", class_="summary")[1:3] == [
        "250 SEK of 200 SEK used: 50 SEK over the limit",
        "0 minutes of 2 hours used, 2 hours remaining",
    ]
    assert page.texts("p", class_="mark")[0].startswith("Incomplete. The event that set this limit has not arrived.")
    assert "in 23 hours: 2 January 2026, 00:00 UTC" in page.texts("dd")


def test_a_bar_is_a_meter_with_words(browser: Browser) -> None:
    page = browser.page(PAGE)
    over, within, _ = page.all("div", role="meter")
    named = {each["id"]: each.text for each in page.all("h2")}
    assert named[over["aria-labelledby"]] == "Deposit limit per day"
    assert over["aria-valuetext"].replace("\N{NO-BREAK SPACE}", " ") == "250 SEK of 200 SEK used: 50 SEK over the limit"
    assert [(each["aria-valuemin"], each["aria-valuenow"], each["aria-valuemax"]) for each in (over, within)] == [
        ("0", "100", "100"),
        ("0", "0", "100"),
    ]
    (part,) = page.all("rect", class_="over")
    assert (part["x"], part["width"]) == ("800", "200")
    assert all(each["aria-hidden"] == "true" for each in page.all("svg"))


def test_a_user_without_limits_gets_a_sentence(browser: Browser) -> None:
    assert browser.page(about("u-nobody")).texts("p", id="none") == [
        "This user has no limits. Somebody who never set one has none: check the id if you expected some."
    ]


def test_rows_that_cannot_be_read_are_said(site: tuple[Api, Browser]) -> None:
    api, browser = site
    api.rows.odd = frozenset({"l-1"})
    (said,) = browser.page(PAGE).texts("p", id="unreadable")
    assert said.startswith("1 stored limit cannot be read. What is below is not everything")
    api.rows.odd = frozenset({"l-1", "l-2", "l-3", "l-4"})
    page = browser.page(PAGE)
    assert page.texts("p", id="unreadable")[0].startswith("4 stored limits cannot be read.")
    assert page.texts("p", id="none") == ["There is no other limit."]


def test_numbers_are_in_the_readers_form(site: tuple[Api, Browser]) -> None:
    api, browser = site
    api.store(created(1, userId="u-rich", value="1234567.5"))
    page = browser.page(about("u-rich"), accept_language="sv-SE,sv;q=0.9")
    assert "1 234 567,5 SEK" in page.texts("dd")


def test_without_dynamodb_the_page_says_so(site: tuple[Api, Browser]) -> None:
    api, browser = site
    api.rows.is_away = True
    answer = browser.get(PAGE)
    page = document(answer)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert page.texts("h1") == ["Service Unavailable"]
    assert "The limits cannot be read at the moment." in page.texts("p")


def test_a_long_list_goes_on_behind_a_link() -> None:
    api, browser = served()
    api.store(*(created(count, userLimitId=f"l-{count:04}") for count in range(1, MOST + 3)))
    page = browser.page(PAGE)
    assert len(page.all("article")) == MOST
    (link,) = [each["href"] for each in page.all("a") if each.text == "Show further limits of this user"]
    rest = browser.page(link)
    assert len(rest.all("article")) == 2
    assert rest.one("div", class_="limits")["data-refresh"] == link.replace("/?", "/limits?")


# what it lets nobody do


@pytest.mark.parametrize("user", [MARKUP, "{{ 7 * 7 }}", "\u202eu", "javascript:alert(1)", "a&b=c", "é \U0001f3b2"])
def test_an_id_is_text_wherever_it_stands(site: tuple[Api, Browser], user: str) -> None:
    api, browser = site
    api.store(created(1, userId=user, userLimitId=MARKUP, brandId=MARKUP))
    page = browser.page(about(user))
    assert page.texts("h1") == [f"Limits of {user}"]
    assert page.one("input")["value"] == user
    assert page.texts("dd")[-2:] == [MARKUP, MARKUP]
    assert [each["src"].partition("?")[0] for each in page.all("script")] == ["/static/refresh.js"]
    assert page.all("b") == []
    refreshed = browser.page(page.one("div", class_="limits")["data-refresh"])
    assert refreshed.texts("dd") == page.texts("dd")


@pytest.mark.parametrize(
    "query",
    [
        f"user={'x' * 129}",
        "user=a%00b",
        "user=a%0d%0aSet-Cookie:x",
        "user=%ff",
        "user=%ed%a0%80",
        "user=\xff",
        "user=a&user=b",
        "user=a&other=b",
        "user=a&after=%21",
        "user=a&after=bC1",
    ],
)
def test_what_is_not_valid_is_refused_on_a_page(site: tuple[Api, Browser], query: str) -> None:
    api, browser = site
    for path in ("/", "/limits"):
        answer = browser.get(f"{path}?{query}")
        assert answer.status == 422
        assert document(answer).texts("h1") == [HTTPStatus.UNPROCESSABLE_ENTITY.phrase]
    assert api.rows.reads == []


def test_an_empty_field_is_a_search_without_result(browser: Browser) -> None:
    assert browser.page("/?user=").texts("h1") == ["Limits of a user"]
    assert browser.get("/limits").status == 422


def test_a_page_can_only_be_read(browser: Browser) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = browser.get("/", method)
        assert (answer.status, document(answer).texts("h1")) == (405, ["Method Not Allowed"])


# its frame


def pages(browser: Browser) -> Iterator[Answer]:
    for target in ("/", PAGE, about("u-nobody"), "/?user=%00", "/sign-in"):
        yield browser.get(target)


def test_every_page_is_protected(browser: Browser) -> None:
    for answer in pages(browser):
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers


def test_the_policy_allows_what_the_server_has_and_nothing_else() -> None:
    policy = dict(part.strip().split(" ", 1) for part in CONTENT_SECURITY_POLICY.split(";"))
    own = ("style-src", "script-src", "img-src", "connect-src", "form-action")
    assert policy == {
        **dict.fromkeys(("default-src", "base-uri", "frame-ancestors"), "'none'"),
        **dict.fromkeys(own, "'self'"),
    }


def test_every_page_has_landmarks_one_heading_and_nothing_inline(browser: Browser) -> None:
    for answer in pages(browser):
        page = document(answer)
        assert page.one("html")["lang"] == "en"
        assert page.one("main")["id"] == page.one("a", class_="skip")["href"].removeprefix("#")
        assert len(page.all("h1")) == len(page.all("header")) == len(page.all("title")) == 1
        assert page.one("h1").within("main")
        assert page.all("style") == []
        names = {name for each in page.elements for name in each.attributes}
        assert not {name for name in names if name == "style" or name.startswith("on")}
        found = [each["id"] for each in page.elements if "id" in each.attributes]
        assert len(found) == len(set(found))


def test_what_names_an_element_is_there(browser: Browser) -> None:
    page = browser.page(PAGE)
    found = {each["id"] for each in page.elements if "id" in each.attributes}
    named = {each[name] for each in page.elements for name in ("aria-labelledby", "for") if name in each.attributes}
    assert named
    assert named <= found


def test_the_page_that_is_shown_is_marked_in_the_navigation(browser: Browser) -> None:
    page = browser.page("/")
    links = [each for each in page.all("a") if each.within("nav")]
    assert [(each["href"], each.text) for each in links] == [("/", "Limits of a user"), ("/consumer", "The consumer")]
    assert [each["href"] for each in links if "aria-current" in each.attributes] == ["/"]


def test_without_sign_in_the_page_says_so(browser: Browser) -> None:
    page = browser.page("/")
    assert page.texts("p", class_="notice") == [
        "Nobody signs in here: everybody who can use this machine sees every limit."
    ]
    assert page.all("form", action="/sign-out") == []


def test_behind_a_gateway_it_says_that() -> None:
    _, browser = served(api_trusted_proxy=True, pages_url="https://limits.example.com")
    page = browser.page("/", host="limits.example.com")
    assert page.texts("p", class_="notice") == [
        "Nobody signs in here: a gateway in front of this server decides who sees these pages."
    ]


def test_every_file_of_a_page_is_served(browser: Browser) -> None:
    page = browser.page(PAGE)
    files = [each["href"] for each in page.all("link")] + [each["src"] for each in page.all("script")]
    types = {}
    for file in files:
        answer = browser.get(file)
        assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        types[file.partition("?")[0]] = answer.headers["content-type"].partition(";")[0]
    assert types == {
        "/static/icon.svg": "image/svg+xml",
        "/static/pages.css": "text/css",
        "/static/refresh.js": "text/javascript",
    }
    assert browser.get("/static/../layout.py").status == 404
    assert browser.get("/static/%2e%2e/layout.py").status == 404


def test_paths_for_programs_keep_their_errors(browser: Browser) -> None:
    for target in ("/user-limits/u-1/l-1", "/nothing", "/limitsx"):
        answer = browser.get(target)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert document(browser.get("/limits/nothing")).texts("h1") == ["Not Found"]


# refreshing


def test_the_part_that_is_refreshed_is_what_the_page_has(browser: Browser) -> None:
    page = browser.page(PAGE)
    region = page.one("div", class_="limits")
    part = browser.page(region["data-refresh"])
    inside = [(each.tag, each.attributes, each.text) for each in page.elements if _is_inside(each, region)]
    assert [(each.tag, each.attributes, each.text) for each in part.elements] == inside
    assert int(region["data-refresh-seconds"]) > 0


def _is_inside(element: object, region: object) -> bool:
    parent = getattr(element, "parent", None)
    return parent is not None and (parent is region or _is_inside(parent, region))


def test_nothing_in_it_can_have_the_focus_and_each_of_its_elements_has_a_name(browser: Browser) -> None:
    part = browser.page(browser.page(PAGE).one("div", class_="limits")["data-refresh"])
    assert not {"a", "button", "input", "select", "textarea", "details", "summary"} & {
        each.tag for each in part.elements
    }
    assert not [each for each in part.elements if "tabindex" in each.attributes]
    assert all("id" in each.attributes for each in part.elements if each.parent is None)
    assert all(each["data-spoken"] for each in part.all("article"))


def test_changes_are_said_politely_and_updates_can_be_paused(browser: Browser) -> None:
    page = browser.page(PAGE)
    controls = page.one("div", class_="refresh")
    status = page.one("p", role="status")
    assert (status["aria-live"], status.parent) == ("polite", controls)
    assert [each["aria-pressed"] for each in page.all("button") if each.parent is controls] == ["false"]
    assert "hidden" in controls.attributes  # the script shows it


def test_only_what_has_changed_is_said_differently(site: tuple[Api, Browser]) -> None:
    api, browser = site

    def spoken() -> dict[str, str]:
        return {each["id"]: each["data-spoken"] for each in browser.page(PAGE).all("article")}

    before = spoken()
    api.now += 60_000
    assert spoken() == before
    api.store(progress_changed(9, userLimitId="l-1", previousProgress="250", amount="1"))
    after = spoken()
    (said,) = [text for name, text in after.items() if before[name] != text]
    words = "Deposit limit per day: 251 SEK of 200 SEK used: 51 SEK over the limit. Active"
    assert said.replace("\N{NO-BREAK SPACE}", " ") == words


# who sees what


def signed_in(op: Issuer, sub: str, scope: str = "") -> tuple[Api, Browser]:
    op.person, op.scope = {"sub": sub, "name": f"Name of {sub}"}, scope
    api, browser = served(op, now=START + HOUR)
    api.store(created(1, userLimitId="l-1"), created(2, userLimitId="l-3", brandId=OTHER_BRAND))
    assert browser.sign_in(op).status == 303
    return api, browser


@pytest.mark.parametrize(("sub", "scope", "lines"), [(USER, "", 0), ("u-agent", "limits:read", 1)])
def test_a_read_of_somebody_elses_limits_writes_one_line(
    op: Issuer, caplog: pytest.LogCaptureFixture, sub: str, scope: str, lines: int
) -> None:
    _, browser = signed_in(op, sub, scope)
    for target in (PAGE, PAGE.replace("/?", "/limits?")):
        caplog.clear()
        with caplog.at_level("INFO", "consumer"):
            browser.page(target)
        found = [record for record in caplog.records if record.name == "consumer.api.audit"]
        assert [(record.__dict__["who"], record.__dict__["whose"]) for record in found] == [(sub, USER)] * lines


def test_a_user_sees_only_own_limits_and_no_search_field(op: Issuer) -> None:
    api, browser = signed_in(op, USER, "limits:readx")
    page = browser.page("/")
    assert page.texts("h1") == ["Your limits"]
    assert len(page.all("article")) == 2
    assert page.all("input") == []
    assert [each.text for each in page.all("a") if each.within("nav")] == ["Your limits"]
    api.rows.reads.clear()
    for target in (about("u-other"), about(USER.upper()), "/limits?user=u-other"):
        answer = browser.get(target)
        assert (answer.status, document(answer).texts("h1")) == (403, ["Forbidden"])
        assert "www-authenticate" not in answer.headers
    assert api.rows.reads == []


def test_an_own_page_without_limits_is_a_sentence(op: Issuer) -> None:
    _, browser = signed_in(op, "u-new")
    assert browser.page("/").texts("p", id="none") == ["You have no limits."]


def test_somebody_who_reads_every_limit_searches(op: Issuer) -> None:
    _, browser = signed_in(op, "u-agent", "limits:read operations:read")
    page = browser.page("/")
    assert len(page.all("input")) == 1
    assert [each.text for each in page.all("a") if each.within("nav")] == ["Limits of a user", "The consumer"]
    assert len(browser.page(PAGE).all("article")) == 2


def test_a_brand_narrows_what_is_seen(op: Issuer) -> None:
    _, browser = signed_in(op, "u-agent", f"limits:read limits:brand:{BRAND}")
    page = browser.page(PAGE)
    assert len(page.all("article")) == 1
    assert BRAND in page.texts("dd")
    assert OTHER_BRAND not in page.texts("dd")
    assert browser.page(about("u-new")).texts("p", id="none") == [
        "This user has no limits at the brands that you may see."
    ]


def test_a_name_is_text(op: Issuer) -> None:
    op.person, op.scope = {"sub": USER, "name": MARKUP}, ""
    _, browser = served(op)
    browser.sign_in(op)
    page = browser.page("/")
    assert page.texts("bdi")[0] == MARKUP
    assert [each.within("body") for each in page.all("script")] == [False]


def test_with_a_session_any_name_of_the_server_works(op: Issuer) -> None:
    _, browser = signed_in(op, USER)
    assert browser.get("/", host="limits.example.com").status == 200


# its colours

CSS = (Path(layout.__file__).parent / "static" / "pages.css").read_text(encoding="utf-8")
PAIRS = (
    ("text", "page", 4.5),
    ("text", "surface", 4.5),
    ("text", "mark", 4.5),
    ("quiet", "page", 4.5),
    ("quiet", "surface", 4.5),
    ("link", "page", 4.5),
    ("used", "rest", 3.0),
    ("over", "rest", 3.0),
    ("line", "page", 3.0),
    ("line", "surface", 3.0),
)


def schemes() -> Iterator[dict[str, str]]:
    """The colours by name: light ones, and dark ones."""
    for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL):
        yield dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_can_be_told_apart_in_both_schemes() -> None:
    found = list(schemes())
    assert len(found) == 2
    for colours in found:
        for front, back, least in PAIRS:
            dark, light = sorted((luminance(colours[front]), luminance(colours[back])))
            assert (light + 0.05) / (dark + 0.05) >= least, (front, back, colours)


def test_the_address_of_a_user_can_be_kept_and_sent(browser: Browser) -> None:
    assert browser.page(f"/?user={quote(USER, safe='')}").texts("h1") == [f"Limits of {USER}"]


def test_the_parser_of_these_tests_finds_what_is_not_closed() -> None:
    with pytest.raises(AssertionError):
        Document("<p><b></p>")
