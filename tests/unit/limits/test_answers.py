"""What readers are told: filters, the percentage used, pages, and how much is left for certain."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.repository import InMemoryRepository, Unreadable
from consumer.limits import answers, money
from consumer.limits.answers import HeadroomAnswer, Wanted
from consumer.limits.events import LimitType
from consumer.limits.repository import LimitReader, LimitsPage
from consumer.limits.state import LimitState
from consumer.limits.view import UserLimit
from tests.support.generators.events import BRAND, DAY, START, USER, Event, created, progress_changed, reset
from tests.support.simulation.core import Core, memory

NOW = START + DAY
LATE = START + 2 * DAY
OTHER_BRAND = "000000000000000000000002"


def page_of(*events: Event, now: int = NOW) -> LimitsPage:
    states: InMemoryRepository[LimitState] = memory()
    assert Core(states).deliver(*events).unsettled is None
    return LimitReader(states, lambda: now).page(USER)


def limits(*events: Event) -> list[UserLimit]:
    return [each.state for each in page_of(*events).limits]


def unreadable(name: str) -> Unreadable:
    return Unreadable((USER, name), "row of the table: wrong")


# one limit


def shown(*events: Event) -> dict[str, Any]:
    (only,) = limits(*events)
    return answers.limit(only).to_json()


def test_a_limit_is_what_the_command_shows_and_how_much_of_it_is_used() -> None:
    events = created(1, value="1000", nextResetTime=LATE), progress_changed(2, amount="199.50")
    (only,) = limits(*events)
    assert shown(*events) == {**only.to_json(), "usedPercent": "19.95", "reached": False}


@pytest.mark.parametrize(
    ("value", "progress", "percent", "reached"),
    [
        ("1000", "0", "0.00", False),
        ("1000", "1000", "100.00", True),
        ("1000", "999.999", "99.99", False),
        ("3", "2", "66.66", False),
        ("1000", "1040", "104.00", True),
        ("1000", "-20", "-2.00", False),
        ("3", "-0.0001", "-0.01", False),
        ("0", "0", None, True),
        ("0", "5", None, True),
        ("9" * 38, "0.000000000000000001", "0.00", False),
        ("0.000000000000000001", "9" * 38, f"{'9' * 38}{'0' * 20}.00", True),
    ],
)
def test_the_percentage_is_rounded_down(value: str, progress: str, percent: str | None, reached: bool) -> None:
    found = shown(created(1, value=value), progress_changed(2, previousProgress=progress, amount="0"))
    assert (found["usedPercent"], found["reached"]) == (percent, reached)


def test_nothing_is_reached_without_a_value() -> None:
    found = shown(progress_changed(2, amount="70"))
    assert (found["usedPercent"], found["reached"]) == (None, False)
    assert "value" not in found


AMOUNTS = st.decimals(min_value=-(10**6), max_value=10**6, places=3)


@given(value=st.decimals(min_value=0, max_value=10**6, places=3), progress=AMOUNTS)
def test_100_percent_means_reached_and_nothing_less_does(value: Decimal, progress: Decimal) -> None:
    found = shown(
        created(1, value=str(value)), progress_changed(2, previousProgress=f"{progress.normalize():f}", amount="0")
    )
    assert found["reached"] is (progress >= value)
    if value:
        assert (Fraction(found["usedPercent"]) >= 100) is (progress >= value)
        assert 0 <= 100 * Fraction(progress) / Fraction(value) - Fraction(found["usedPercent"]) < Fraction(1, 100)


# filters

FOUR = (
    created(1, userLimitId="l-1"),
    created(2, userLimitId="l-2", type="LOSS", period="WEEK", status="FUTURE"),
    created(3, userLimitId="l-3", brandId=OTHER_BRAND, status="CANCELED"),
    progress_changed(4, userLimitId="l-4"),
)


def matching(wanted: Wanted) -> list[str]:
    return [limit.user_limit_id for limit in limits(*FOUR) if wanted.matches(limit)]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), ["l-1", "l-2", "l-3", "l-4"]),
        (Wanted(statuses=["ACTIVE"]), ["l-1"]),
        (Wanted(statuses=["ACTIVE", "FUTURE"]), ["l-1", "l-2"]),
        (Wanted(types=["DEPOSIT"]), ["l-1", "l-3"]),
        (Wanted(periods=["WEEK", "DAY"]), ["l-1", "l-2", "l-3"]),
        (Wanted(brands=[OTHER_BRAND]), ["l-3"]),
        (Wanted(types=["DEPOSIT"], statuses=["CANCELED"]), ["l-3"]),
        (Wanted(visible=[BRAND]), ["l-1", "l-2", "l-4"]),
        (Wanted(visible=[]), []),
        (Wanted(brands=[OTHER_BRAND], visible=[BRAND]), []),
    ],
)
def test_a_limit_matches_every_filter(wanted: Wanted, names: Sequence[str]) -> None:
    assert matching(wanted) == names


# pages


def test_pages_are_joined_and_the_last_one_says_whether_there_are_more() -> None:
    whole = page_of(*FOUR)
    parts = [
        LimitsPage(1, whole.limits[:2], [unreadable("l-11")], "l-2"),
        LimitsPage(2, whole.limits[2:], [unreadable("l-31")], "l-4"),
    ]
    matching = [answers.only(part, Wanted(types=["DEPOSIT"]).matches) for part in parts]
    assert answers.joined(matching) == LimitsPage(
        1, [whole.limits[0], whole.limits[2]], [unreadable("l-11"), unreadable("l-31")], "l-4"
    )


def test_a_part_ends_at_a_limit_that_it_shows() -> None:
    whole = LimitsPage(NOW, page_of(*FOUR).limits, [unreadable("l-11"), unreadable("l-31")], "l-9")
    assert answers.first(whole, 2) == LimitsPage(NOW, whole.limits[:2], [unreadable("l-11")], "l-2")
    assert answers.first(whole, 4) == LimitsPage(NOW, whole.limits, whole.unreadable, "l-4")


def test_the_last_part_has_all_the_rest() -> None:
    whole = LimitsPage(NOW, page_of(*FOUR).limits, [unreadable("l-5")])
    assert answers.first(whole, 4) == whole
    assert answers.first(LimitsPage(NOW, []), 4) == LimitsPage(NOW, [])


# headroom


def headroom(*events: Event, kind: LimitType = "DEPOSIT", currency: str | None = None) -> HeadroomAnswer:
    return answers.headroom(USER, page_of(*events), kind, currency)


def least(answer: HeadroomAnswer) -> list[tuple[str, str, str]]:
    return [(each.unit, money.plain(each.remaining), each.user_limit_id) for each in answer.headroom]


def doubts(answer: HeadroomAnswer) -> dict[str, tuple[str, ...]]:
    return {each.user_limit_id: each.reasons for each in answer.uncertain}


def limit(name: str, sequence: int = 1, **payload: Any) -> Event:
    return created(sequence, userLimitId=name, **payload)


def test_the_limit_that_leaves_the_least_decides() -> None:
    answer = headroom(
        limit("l-day", 1, value="1000", nextResetTime=LATE),
        progress_changed(2, userLimitId="l-day", amount="900"),
        limit("l-month", 3, value="150", period="MONTH"),
        limit("l-week", 4, value="100.5", period="WEEK"),
    )
    assert answer.to_json() == {
        "userId": USER,
        "asOf": NOW,
        "type": "DEPOSIT",
        "certain": True,
        "headroom": [
            {"unit": "SEK", "remaining": "100", "userLimitId": "l-day", "period": "DAY", "nextResetTime": LATE}
        ],
        "uncertain": [],
        "unreadable": 0,
    }


def test_units_are_never_mixed() -> None:
    answer = headroom(
        limit("l-sek", 1, value="500"), limit("l-eur", 2, value="90", currencyCode="EUR"), limit("l-2", 3, value="400")
    )
    assert least(answer) == [("EUR", "90", "l-eur"), ("SEK", "400", "l-2")]


def test_seconds_are_a_unit() -> None:
    events = limit("l-1", 1, type="SESSION", value="3600"), limit("l-2", 2, value="50")
    assert least(headroom(*events, kind="SESSION")) == [("seconds", "3600", "l-1")]
    assert least(headroom(*events)) == [("SEK", "50", "l-2")]


def test_time_has_no_currency() -> None:
    answer = headroom(limit("l-1", type="SESSION", value="3600"), kind="SESSION", currency="EUR")
    assert least(answer) == [("seconds", "3600", "l-1")]


def test_only_the_currency_that_was_asked_for() -> None:
    events = limit("l-1", 1, value="5"), limit("l-2", 2, value="6", currencyCode="EUR")
    answer = headroom(*events, progress_changed(3, userLimitId="l-3"), currency="EUR")
    assert (least(answer), doubts(answer), answer.certain) == ([("EUR", "6", "l-2")], {}, True)


def test_of_two_that_leave_the_same_the_first_by_id() -> None:
    assert least(headroom(limit("l-b", 1), limit("l-a", 2))) == [("SEK", "1000", "l-a")]


def test_over_the_limit_is_negative() -> None:
    assert least(headroom(created(1, value="500"), progress_changed(2, amount="520"))) == [("SEK", "-20", "l-day")]


@pytest.mark.parametrize("status", ["CANCELED", "FUTURE", "IN_COOLDOWN"])
def test_only_active_limits_count_even_if_they_are_overdue(status: str) -> None:
    answer = headroom(limit("l-1", 1, status=status, nextResetTime=START))
    assert (answer.headroom, answer.uncertain, answer.certain) == ((), (), True)


def test_without_a_limit_nothing_is_limited_and_that_is_certain() -> None:
    answer = headroom(limit("l-1", 1, type="LOSS"))
    assert (answer.headroom, answer.uncertain, answer.certain) == ((), (), True)


UNCERTAIN: dict[str, tuple[Sequence[Event], tuple[str, ...]]] = {
    "never created, of an unknown type": ([progress_changed(2)], ("incomplete",)),
    "never created, of the type": ([reset(2)], ("incomplete",)),
    "never created and overdue": ([reset(1), progress_changed(2, nextResetTime=START)], ("incomplete", "resetOverdue")),
    "overdue": ([created(1, nextResetTime=START)], ("resetOverdue",)),
    "a reset in seconds": ([created(1, nextResetTime=START // 1_000)], ("oddResetTime",)),
    "a reset in microseconds": ([created(1, nextResetTime=START * 1_000)], ("oddResetTime",)),
}


@pytest.mark.parametrize(("events", "reasons"), UNCERTAIN.values(), ids=UNCERTAIN.keys())
def test_a_limit_in_doubt_is_listed_and_not_counted(events: Sequence[Event], reasons: tuple[str, ...]) -> None:
    answer = headroom(limit("l-sure", 1, value="5000"), *events)
    assert least(answer) == [("SEK", "5000", "l-sure")]
    assert doubts(answer) == {"l-day": reasons}
    assert not answer.certain


@pytest.mark.parametrize("period", ["INDEFINITE", "INSTANCE"])
@pytest.mark.parametrize("millis", [0, 253_402_300_799_000])
def test_a_limit_that_nothing_resets_may_have_a_next_reset_that_never_comes(period: str, millis: int) -> None:
    answer = headroom(created(1, period=period, nextResetTime=millis))
    assert (least(answer), answer.certain) == ([("SEK", "1000", "l-day")], True)


def test_an_incomplete_limit_of_another_type_does_not_matter() -> None:
    assert headroom(reset(1, type="LOSS")).certain


def test_what_an_uncertain_limit_would_leave_is_shown_if_it_is_known() -> None:
    answer = headroom(progress_changed(2), progress_changed(3, userLimitId="l-2", remainingAmount="90"))
    assert [each.to_json() for each in answer.uncertain] == [
        {"userLimitId": "l-2", "unit": "SEK", "reasons": ["incomplete"], "remaining": "90"},
        {"userLimitId": "l-day", "unit": "SEK", "reasons": ["incomplete"]},
    ]


def test_an_unreadable_row_makes_everything_uncertain() -> None:
    page = LimitsPage(NOW, page_of(created(1)).limits, [unreadable("l-5")])
    answer = answers.headroom(USER, page, "DEPOSIT")
    assert (least(answer), answer.unreadable, answer.certain) == ([("SEK", "1000", "l-day")], 1, False)
