"""The read model of a limit."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.generators.events import BRAND, DAY, LIMIT, START, USER, Event, created, progress_changed, reset
from tests.support.simulation.core import Core


def seen(*events: Event, now: int = START) -> dict[str, Any]:
    core = Core()
    core.deliver(*events)
    return core.limit(now=now)


def test_a_whole_limit() -> None:
    found = seen(
        created(1, value="500"),
        created(3, activeUntil=START + 9, nextResetTime=START + DAY, createdAt=START - 5),
        progress_changed(4, amount="199.50", remainingAmount="800.50"),
    )
    assert found == {
        "userId": USER,
        "userLimitId": LIMIT,
        "brandId": BRAND,
        "currencyCode": "SEK",
        "unit": "SEK",
        "type": "DEPOSIT",
        "period": "DAY",
        "status": "ACTIVE",
        "value": "1000",
        "progress": "199.5",
        "remaining": "800.5",
        "previousLimitValue": "500",
        "activeFrom": START,
        "activeUntil": START + 9,
        "createdAt": START - 5,
        "nextResetTime": START + DAY,
        "resetOverdue": False,
        "complete": True,
        "lastSequenceNumber": 4,
        "lastEventAt": START + 4_000,
    }


def test_what_is_not_known_is_left_out() -> None:
    assert seen(progress_changed(2)) == {
        "userId": USER,
        "userLimitId": LIMIT,
        "brandId": BRAND,
        "currencyCode": "SEK",
        "unit": "SEK",
        "progress": "10",
        "resetOverdue": False,
        "complete": False,
        "lastSequenceNumber": 2,
        "lastEventAt": START + 2_000,
    }


@pytest.mark.parametrize("events", [(created(type="SESSION"),), (reset(type="SESSION"),)], ids=["created", "inferred"])
def test_a_session_limit_counts_seconds(events: Sequence[Event]) -> None:
    found = seen(*events)
    assert (found["unit"], found["currencyCode"]) == ("seconds", "SEK")


@pytest.mark.parametrize("kind", ["BALANCE", "BET", "DEPOSIT", "LOSS"])
def test_every_other_limit_counts_money(kind: str) -> None:
    assert seen(created(type=kind, currencyCode="EUR"))["unit"] == "EUR"


def test_what_remains_is_negative_when_more_was_used_than_allowed() -> None:
    assert seen(created(value="100"), progress_changed(amount="100.01"))["remaining"] == "-0.01"


def test_amounts_are_strings_in_plain_form() -> None:
    found = seen(created(value="20000000000000000000000000000000000000"), progress_changed(amount="0.00"))
    assert (found["value"], found["progress"]) == ("2" + "0" * 37, "0")
    assert json.loads(json.dumps(found)) == found


def test_a_reset_is_overdue_from_its_very_moment() -> None:
    events = created(1, nextResetTime=START + DAY), progress_changed(2)
    assert seen(*events, now=START + DAY - 1)["resetOverdue"] is False
    assert seen(*events, now=START + DAY)["resetOverdue"] is True


def test_nothing_is_overdue_without_a_next_reset() -> None:
    assert seen(created(1), now=START + 1_000 * DAY)["resetOverdue"] is False


def test_an_overdue_limit_still_shows_the_old_progress() -> None:
    found = seen(created(1, nextResetTime=START), progress_changed(2, amount="70"), now=START + DAY)
    assert (found["progress"], found["resetOverdue"]) == ("70", True)


OVERDUE: dict[str, tuple[Sequence[Event], bool]] = {
    "the reset has come, without telling the next": ((created(1, nextResetTime=START), reset(2)), False),
    "the reset has come, and the next is overdue too": (
        (created(1, nextResetTime=START), reset(2, nextResetTime=START + 1)),
        True,
    ),
    "the reset has come, and the next is ahead": (
        (created(1, nextResetTime=START), reset(2, nextResetTime=START + 9 * DAY)),
        False,
    ),
    "only an older reset has come": ((reset(1), created(2, nextResetTime=START)), True),
    "the reset came late, after newer progress": (
        (created(1, nextResetTime=START), progress_changed(3, nextResetTime=START), reset(2)),
        True,
    ),
}


@pytest.mark.parametrize(("events", "overdue"), OVERDUE.values(), ids=OVERDUE.keys())
def test_overdue_means_no_reset_since_the_next_one_was_announced(events: Sequence[Event], overdue: bool) -> None:
    assert seen(*events, now=START + DAY)["resetOverdue"] is overdue


@pytest.mark.parametrize(
    ("reset_time", "odd"),
    [
        (START // 1_000, ["nextResetTime"]),
        (START * 1_000, ["nextResetTime"]),
        (946_684_799_999, ["nextResetTime"]),
        (946_684_800_000, None),
        (4_102_444_799_999, None),
        (4_102_444_800_000, ["nextResetTime"]),
    ],
)
def test_an_odd_reset_time_is_listed(reset_time: int, odd: list[str] | None) -> None:
    found = seen(created(1, nextResetTime=reset_time))
    assert found.get("oddTimes") == odd
    assert found["resetOverdue"] is (reset_time <= START), "unchanged for readers that do not know oddTimes"


def test_every_time_that_is_shown_may_be_odd() -> None:
    event = created(1, activeFrom=0, activeUntil=1, createdAt=2, nextResetTime=3) | {"createdAt": 4}
    found = seen(event)
    assert found["oddTimes"] == ["activeFrom", "activeUntil", "createdAt", "nextResetTime", "lastEventAt"]
    assert all(name in found for name in found["oddTimes"])


def test_two_limits_of_one_type_and_period_are_two_limits() -> None:
    core = Core()
    core.deliver(
        created(1, userLimitId="l-now", value="100"),
        created(2, userLimitId="l-next", value="50", status="FUTURE"),
        progress_changed(3, userLimitId="l-now", amount="7"),
    )
    found = core.limits(USER)
    assert {name: (limit["status"], limit["progress"]) for name, limit in found.items()} == {
        "l-now": ("ACTIVE", "7"),
        "l-next": ("FUTURE", "0"),
    }


def test_limits_of_one_id_under_two_users_are_two_limits() -> None:
    core = Core()
    core.deliver(created(1, userId="u-1", value="1"), created(1, userId="u-2", value="2"))
    assert [core.limit(user)["value"] for user in ("u-1", "u-2")] == ["1", "2"]
