"""Limits in words, as bars, and with marks on what may be wrong."""

from collections.abc import Mapping
from typing import Any

import pytest

from consumer.limits.view import UserLimit
from consumer.pages.cards import WIDTH, Bar, Card, card, cards
from consumer.pages.formats import Locale
from tests.support.generators.events import DAY, START, Event, created, progress_changed, reset
from tests.support.simulation.api import Api

HOUR = 3_600_000


def limits(*events: Event, now: int = START + HOUR) -> list[UserLimit]:
    """The limits after the events, as the API shows them."""
    api = Api(now=now)
    api.store(*events)
    user = events[0]["payload"]["userId"]
    return [UserLimit.model_validate(each) for each in api.get(f"/user-limits/{user}").json()["limits"]]


def shown(*events: Event, now: int = START + HOUR) -> Card:
    (limit,) = limits(*events, now=now)
    return card(limit, now, Locale())


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def facts(found: Card) -> Mapping[str, str]:
    return {fact.label: plain(fact.text) for fact in found.facts}


def used(amount: str, **payload: Any) -> Card:
    return shown(created(1, **payload), progress_changed(2, amount=amount))


def test_a_limit_in_words() -> None:
    found = used(
        "150", value="200", previousLimitValue="1500.5", nextResetTime=START + 4 * HOUR, activeUntil=START + DAY
    )
    assert (found.title, found.status, found.status_meaning) == ("Deposit limit per day", "Active", "in force")
    assert plain(found.summary) == "150 SEK of 200 SEK used, 50 SEK remaining"
    assert plain(found.spoken) == "Deposit limit per day: 150 SEK of 200 SEK used, 50 SEK remaining. Active"
    assert facts(found) == {
        "Used": "150 SEK (75.00 %)",
        "Limit": "200 SEK",
        "Remaining": "50 SEK",
        "Previous limit": "1,500.5 SEK",
        "Next reset": "in 3 hours: 1 January 2026, 04:00 UTC",
        "In force from": "1 January 2026, 00:00 UTC",
        "In force until": "2 January 2026, 00:00 UTC",
        "First set": "1 January 2026, 00:00 UTC",
        "Last event": "1 January 2026, 00:00 UTC",
        "Brand": "000000000000000000000001",
        "Id of the limit": "l-day",
    }
    assert found.marks == ()


@pytest.mark.parametrize(
    ("amount", "value", "summary", "bar"),
    [
        ("0", "200", "0 SEK of 200 SEK used, 200 SEK remaining", Bar(0, 0, 0)),
        ("150", "200", "150 SEK of 200 SEK used, 50 SEK remaining", Bar(750, 0, 75)),
        ("199.99", "200", "199.99 SEK of 200 SEK used, 0.01 SEK remaining", Bar(999, 0, 99)),
        ("200", "200", "200 SEK of 200 SEK used: the limit is reached", Bar(WIDTH, 0, 100)),
        ("250", "200", "250 SEK of 200 SEK used: 50 SEK over the limit", Bar(800, 200, 100)),
        ("200.000001", "200", "200.000001 SEK of 200 SEK used: 0.000001 SEK over the limit", Bar(999, 1, 100)),
        ("5", "0", "5 SEK of 0 SEK used: 5 SEK over the limit", Bar(0, WIDTH, 100)),
        ("0", "0", "0 SEK of 0 SEK used: the limit is reached", Bar(0, 0, 0)),
        ("-50", "200", "-50 SEK of 200 SEK used, 250 SEK remaining", Bar(0, 0, 0)),
    ],
)
def test_how_much_is_used(amount: str, value: str, summary: str, bar: Bar) -> None:
    found = used(amount, value=value)
    assert plain(found.summary) == summary
    assert found.bar == bar


def test_what_is_over_the_limit_is_called_so() -> None:
    found = facts(used("250", value="200"))
    assert (found["Used"], found["Over the limit"]) == ("250 SEK (125.00 %)", "50 SEK")
    assert "Remaining" not in found


def test_a_session_is_in_hours_and_minutes() -> None:
    found = used("5400", type="SESSION", value="7200", previousLimitValue="3600")
    assert plain(found.summary) == "1 hour 30 minutes of 2 hours used, 30 minutes remaining"
    assert facts(found)["Previous limit"] == "1 hour"


def test_percent_and_amounts_are_in_the_readers_form() -> None:
    (limit,) = limits(created(1, value="1000"), progress_changed(2, amount="12345.5"))
    found = card(limit, START + HOUR, Locale(",", "."))
    assert facts(found)["Used"] == "12.345,5 SEK (1.234,55 %)"


@pytest.mark.parametrize(
    ("status", "word", "is_active"),
    [
        ("ACTIVE", "Active", True),
        ("CANCELED", "Canceled", False),
        ("FUTURE", "Future", False),
        ("IN_COOLDOWN", "In cooldown", False),
    ],
)
def test_the_status_is_a_word(status: str, word: str, is_active: bool) -> None:
    found = shown(created(1, status=status))
    assert (found.status, found.is_active) == (word, is_active)


@pytest.mark.parametrize("kind", ["BALANCE", "BET", "DEPOSIT", "LOSS", "SESSION"])
@pytest.mark.parametrize(
    ("period", "words"),
    [
        ("CALENDAR_DAY", "per calendar day"),
        ("CALENDAR_WEEK", "per calendar week"),
        ("CALENDAR_MONTH", "per calendar month"),
        ("DAY", "per day"),
        ("WEEK", "per week"),
        ("MONTH", "per month"),
        ("INDEFINITE", "without a period"),
        ("INSTANCE", "for each instance"),
    ],
)
def test_type_and_period_are_the_title(kind: str, period: str, words: str) -> None:
    assert shown(created(1, type=kind, period=period)).title == f"{kind.capitalize()} limit {words}"


# what may be wrong


def titles(found: Card) -> list[str]:
    return [mark.title for mark in found.marks]


def test_an_incomplete_limit_is_marked_and_says_what_is_not_known() -> None:
    found = shown(progress_changed(2, amount="10"))
    assert titles(found) == ["Incomplete"]
    assert (found.title, found.status) == ("Limit of unknown type with unknown period", "Status not known")
    assert plain(found.summary) == "10 SEK used; how much is allowed is not known"
    assert found.bar is None
    assert (facts(found)["Limit"], facts(found)["Next reset"]) == ("not known", "not known")


def test_an_overdue_reset_is_marked() -> None:
    found = shown(created(1, nextResetTime=START + 30 * 60_000))
    assert titles(found) == ["Reset overdue"]
    assert facts(found)["Next reset"] == "due, not arrived: 1 January 2026, 00:30 UTC"
    assert found.spoken.endswith("Active. Reset overdue")


def test_a_reset_that_has_arrived_and_announces_no_other_is_not_overdue() -> None:
    found = shown(created(1, nextResetTime=START + 30 * 60_000), reset(2))
    assert found.marks == ()
    assert facts(found)["Next reset"] == "arrived; the next one is not known: 1 January 2026, 00:30 UTC"


@pytest.mark.parametrize("time", [1_767_225_600, 9_000_000_000_000_000])
def test_an_impossible_reset_time_is_marked_and_nothing_is_called_overdue(time: int) -> None:
    found = shown(created(1, nextResetTime=time))
    assert titles(found) == ["Impossible reset time"]
    assert facts(found)["Next reset"] == f"an impossible time ({time} ms)"


@pytest.mark.parametrize("period", ["INDEFINITE", "INSTANCE"])
@pytest.mark.parametrize("given", [{}, {"nextResetTime": 9_000_000_000_000_000}])
def test_without_a_period_there_is_no_reset(period: str, given: dict[str, Any]) -> None:
    found = shown(created(1, period=period, **given))
    assert found.marks == ()
    assert facts(found)["Next reset"] == "never"


def test_an_impossible_time_of_another_field_is_shown_as_one() -> None:
    found = shown(created(1, activeFrom=5))
    assert facts(found)["In force from"] == "an impossible time (5 ms)"
    assert [fact.time for fact in found.facts if fact.label == "In force from"] == [None]


# several


def test_what_is_or_may_be_in_force_comes_first() -> None:
    found = limits(
        created(1, userLimitId="a", status="CANCELED"),
        created(2, userLimitId="b", type="LOSS"),
        created(3, userLimitId="c"),
        progress_changed(4, userLimitId="d"),
    )
    titles = [each.title.partition(" limit")[0] for each in cards(found, START, Locale())]
    assert titles == ["Limit of unknown type with unknown period", "Deposit", "Loss", "Deposit"]


def test_the_element_of_a_limit_keeps_its_name_and_has_one_of_its_own() -> None:
    first, second = cards(
        limits(created(1, userLimitId="a"), created(2, userLimitId="b <b> \U0001f3b2")), START, Locale()
    )
    (again,) = cards(limits(created(1, userLimitId="a"), progress_changed(3, userLimitId="a")), START, Locale())
    assert first.key == again.key != second.key
    assert first.key.removeprefix("limit-").isalnum()
