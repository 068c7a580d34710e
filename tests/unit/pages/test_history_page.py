"""The page "History of a limit": what it says of each event, where it is linked, and who sees it."""

import logging
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from consumer.api.histories import MOST_STEPS
from tests.support.emulators.issuer import Issuer, issuer
from tests.support.generators.events import (
    BRAND,
    DAY,
    LIMIT,
    START,
    USER,
    Event,
    created,
    progress_changed,
    record,
    reset,
)
from tests.support.simulation.api import Api
from tests.support.simulation.archive import Archived, keep
from tests.support.simulation.pages import Browser, document, served

OTHER_BRAND = "000000000000000000000002"
MARKUP = "\"><script>alert(1)</script><b a='&amp;"


def address(user: str = USER, limit: str = LIMIT) -> str:
    return f"/limits/history?{urlencode({'user': user, 'limit': limit})}"


def filled(*events: Event | bytes) -> Archived:
    made = Archived()
    made.deliver(*events)
    return made


def visited(archive: Archived) -> Browser:
    return served(now=START, histories=archive)[1]


@pytest.fixture(scope="module")
def op() -> Iterator[Issuer]:
    with issuer() as served_issuer:
        yield served_issuer


def test_each_event_in_words_the_latest_first() -> None:
    browser = visited(
        filled(
            created(1, nextResetTime=START + DAY),
            progress_changed(2, amount="1250"),
            progress_changed(2, amount="1250"),
            progress_changed(1, "e-0000", amount="1"),
            progress_changed(3, amount="no"),
            reset(4, resetAmount="1250", nextResetTime=START + 2 * DAY),
        )
    )
    page = browser.page(address())
    assert page.texts("h1") == [f"History of the limit {LIMIT}"]
    assert page.texts("h2") == ["Reset", *["Progress changed"] * 4, "Limit set"]
    assert [text.partition("UTC, ")[2] for text in page.texts("p", class_="status")] == [
        "applied",
        "refused; it changed nothing",
        "older than what was known; it changed nothing",
        "applied before; it changed nothing",
        "applied",
        "applied",
    ]
    facts = page.texts("dd")
    assert "1,250 SEK became 0 SEK" in facts
    assert "2 January 2026, 00:00 UTC became 3 January 2026, 00:00 UTC" in facts
    assert "the limit is new" in facts
    assert "1,250 SEK of 1,000 SEK used: 250 SEK over the limit" in facts
    marks = page.texts("p", class_="mark")
    assert any(text.startswith("Refused. SCHEMA: payload.amount") for text in marks)
    assert "Contradiction. over_limit" in marks


def test_a_time_of_arrival_that_is_not_known() -> None:
    archive = Archived()
    keep(archive.place, [record(created(1), 1)._replace(arrived_at=0)])
    (status,) = visited(archive).page(address()).all("p", class_="status")
    assert status.text == "at an unknown time, applied"


def test_the_page_of_a_user_links_to_the_history_of_each_limit() -> None:
    archive = filled(created(1), created(2, userLimitId="l/2"))
    api, browser = served(now=START, histories=archive)
    api.store(created(1), created(2, userLimitId="l/2"))
    page = browser.page(f"/?user={USER}")
    links = {each.text: each["href"] for each in page.all("a") if "/limits/history" in each["href"]}
    assert links == {"Deposit limit per day (l-day)": address(), "Deposit limit per day (l/2)": address(limit="l/2")}
    for link, limit in zip(links.values(), (LIMIT, "l/2"), strict=True):
        assert browser.page(link).texts("h1") == [f"History of the limit {limit}"]
    back = next(each for each in browser.page(address()).all("a") if each.text == "Back to the limits")
    assert browser.page(back["href"]).texts("h1") == [f"Limits of {USER}"]


def test_without_an_archive_there_is_no_link_and_no_page() -> None:
    api, browser = served(now=START)
    api.store(created(1))
    assert not [each for each in browser.page(f"/?user={USER}").all("a") if "history" in each["href"]]
    answer = browser.get(address())
    assert answer.status == 404
    assert any("no archive" in text for text in document(answer).texts("p"))


def test_a_long_history_goes_on_behind_a_link() -> None:
    browser = visited(filled(created(1), *(progress_changed(number) for number in range(2, MOST_STEPS + 4))))
    page = browser.page(address())
    assert len(page.all("li", class_="limit")) == MOST_STEPS
    (link,) = [each["href"] for each in page.all("a") if each.text == "Show earlier events"]
    rest = browser.page(link)
    assert len(rest.all("li", class_="limit")) == 3
    assert not [each for each in rest.all("a") if each.text == "Show earlier events"]


def test_damage_is_said() -> None:
    archive = filled(created(1))
    archive.deliver(progress_changed(2))
    archive.place.files[max(archive.place.files)] = b"damaged"
    assert visited(archive).page(address()).texts("p", id="unreadable") == [
        "A part of the archive cannot be read. There may be further events in it."
    ]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "user=u-1",
        "limit=l-1",
        "user=&limit=l-1",
        "user=u&limit=a%00",
        f"user=u&limit={'x' * 129}",
        "user=u&limit=l&limit=l",
        "user=u&limit=l&other=1",
        "user=%ff&limit=l",
    ],
)
def test_what_is_not_valid_is_refused_on_a_page(query: str) -> None:
    archive = filled(created(1))
    answer = visited(archive).get(f"/limits/history?{query}")
    assert (answer.status, document(answer).texts("h1")) == (422, ["Unprocessable Entity"])
    assert archive.asked == []


def test_a_place_to_continue_from_that_was_never_given_is_refused() -> None:
    assert visited(filled(created(1))).get(f"{address()}&after=0123456789abcdef").status == 422


def test_text_of_events_is_text() -> None:
    archive = filled(
        created(1, MARKUP, userId=MARKUP, userLimitId=MARKUP, brandId=MARKUP),
        progress_changed(2, MARKUP + "\x1b\u202e", userId=MARKUP, userLimitId=MARKUP, brandId=MARKUP, amount=MARKUP)
        | {"type": MARKUP},
        progress_changed(3, MARKUP + "\x1b\u202e", userId=MARKUP, userLimitId=MARKUP, brandId=MARKUP, amount=MARKUP),
    )
    page = visited(archive).page(address(MARKUP, MARKUP))
    assert [each["src"].partition("?")[0] for each in page.all("script")] == ["/static/refresh.js"]
    assert page.all("b") == []
    texts = page.texts("bdi")
    assert MARKUP in texts
    assert MARKUP + "\\x1b\\u202e" in texts


# who sees what


def signed_in(op: Issuer, sub: str, scope: str, archive: Archived) -> tuple[Api, Browser]:
    op.person, op.scope = {"sub": sub, "name": sub}, scope
    api, browser = served(op, now=START, histories=archive)
    assert browser.sign_in(op).status == 303
    return api, browser


@pytest.mark.parametrize(
    ("sub", "scope", "ending"),
    [(USER, "", (200, 0)), ("u-agent", "limits:read", (200, 1)), ("u-other", "", (403, 0))],
)
def test_own_histories_and_others_with_the_scope(
    op: Issuer, sub: str, scope: str, ending: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    (status, lines), archive = ending, filled(created(1))
    _, browser = signed_in(op, sub, scope, archive)
    with caplog.at_level(logging.INFO):
        caplog.clear()
        assert browser.get(address()).status == status
    assert len(archive.asked) == (status == 200)
    assert [vars(line)["whose"] for line in caplog.records if line.getMessage() == "limits read"] == [USER] * lines


def test_a_brand_narrows(op: Issuer) -> None:
    archive = filled(created(1), created(2, userLimitId="l-2", brandId=OTHER_BRAND), progress_changed(3, amount="no"))
    _, browser = signed_in(op, "u-agent", f"limits:read limits:brand:{BRAND}", archive)
    assert browser.page(address()).texts("h2") == ["Limit set"]
    assert browser.get(address(limit="l-2")).status == 404


def test_without_a_session_people_sign_in(op: Issuer) -> None:
    archive = filled(created(1))
    _, browser = served(op, now=START, histories=archive)
    answer = browser.get(address())
    assert (answer.status, archive.asked) == (303, [])
    assert "%2Flimits%2Fhistory" in answer.headers["location"]
