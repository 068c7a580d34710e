"""Which thresholds a change of a limit crosses, and what identifies a notice."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from consumer.limits import schema
from consumer.limits.notices import Notice, notices
from consumer.limits.state import LimitState
from tests.support.generators.events import BRAND, DAY, LIMIT, START, USER, Event, created, progress_changed, reset
from tests.support.generators.table_stream import changes

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "send-notices.md"
THRESHOLDS = (80, 100)


def sent(*arriving: Event, thresholds: Sequence[int] = THRESHOLDS) -> list[Notice]:
    """The notices about all writes that the events lead to, in this order of arrival."""
    return [notice for old, new in changes(arriving) for notice in notices(old, new, thresholds)]


def crossed(*arriving: Event, thresholds: Sequence[int] = THRESHOLDS) -> list[tuple[int, str]]:
    found = [notice.to_json() for notice in sent(*arriving, thresholds=thresholds)]
    return [(notice["threshold"], notice["progress"]) for notice in found]


def ids(*arriving: Event) -> list[str]:
    return [notice.id for notice in sent(*arriving)]


def used(sequence: int, progress: str, **payload: Any) -> Event:
    return progress_changed(sequence, amount="0", previousProgress=progress, **payload)


# Crossings


def test_a_threshold_is_announced_when_the_progress_reaches_it() -> None:
    assert crossed(created(1), used(2, "799.99"), used(3, "800"), used(4, "999.99"), used(5, "1000")) == [
        (80, "800"),
        (100, "1000"),
    ]


def test_a_jump_over_several_thresholds_announces_each_in_order() -> None:
    assert crossed(created(1), used(2, "2000"), thresholds=(100, 50, 200, 201)) == [
        (50, "2000"),
        (100, "2000"),
        (200, "2000"),
    ]


def test_progress_beyond_a_threshold_announces_nothing_more() -> None:
    assert crossed(created(1), used(2, "850"), used(3, "900"), used(4, "860")) == [(80, "850")]


def test_a_limit_that_is_created_with_progress_is_announced() -> None:
    assert crossed(created(1, progress="900")) == [(80, "900")]


def test_a_lowered_value_is_a_crossing() -> None:
    assert crossed(created(1), used(2, "700"), created(3, value="800")) == [(80, "700")]


def test_the_comparison_is_exact() -> None:
    least = "0." + "0" * 17 + "1"
    value = "12500000000000000000"
    below = str(Decimal(value) / 100 * 80 - 1) + ".999999999999999999"

    assert crossed(created(1, value=value), used(2, below)) == []
    assert crossed(created(1, value=least), used(2, least)) == [(80, least), (100, least)]


@pytest.mark.parametrize("progress", ["0", "-1"])
def test_a_limit_of_nothing_is_not_reached_before_something_is_used(progress: str) -> None:
    assert crossed(created(1, value="0"), used(2, progress)) == []


def test_a_limit_of_nothing_is_reached_with_the_first_use() -> None:
    assert crossed(created(1, value="0"), used(2, "0.01")) == [(80, "0.01"), (100, "0.01")]


# No notice


@pytest.mark.parametrize("status", ["CANCELED", "FUTURE", "IN_COOLDOWN"])
def test_a_limit_that_is_not_active_announces_nothing(status: str) -> None:
    assert crossed(created(1, status=status), used(2, "1000")) == []


def test_a_limit_that_becomes_active_announces_what_it_has_reached() -> None:
    assert crossed(created(1, status="FUTURE"), used(2, "900"), created(3)) == [(80, "900")]


def test_an_incomplete_limit_announces_nothing_until_its_creation_arrives() -> None:
    inferred = (used(2, "900", remainingAmount="100"), reset(1))

    assert crossed(*inferred) == []
    assert crossed(*inferred, created(1, "e-created")) == [(80, "900")]


def test_a_replay_announces_nothing() -> None:
    events = (created(1), used(2, "900"))
    final = changes(events)[-1][1]

    assert len(changes((*events, *events))) == len(events)
    assert notices(final, final, THRESHOLDS) == []


def test_a_deleted_limit_announces_nothing_and_the_rebuilt_one_the_same() -> None:
    events = (created(1), used(2, "900"))
    final = changes(events)[-1][1]

    assert notices(final, None, THRESHOLDS) == []
    assert [notice.id for notice in notices(None, final, THRESHOLDS)] == ids(*events)


# Periods


def test_after_a_correction_down_and_up_the_id_is_the_same() -> None:
    first, second = ids(created(1), used(2, "900"), used(3, "100"), used(4, "800"))
    assert first == second


def test_each_period_announces_a_threshold_under_its_own_id() -> None:
    events = (created(1), used(2, "900"), reset(3), used(4, "850"), reset(5), used(6, "900"))
    found = sent(*events)

    assert len({notice.id for notice in found}) == 3
    assert [notice.reset_sequence_number for notice in found] == [None, 3, 5]


@pytest.mark.parametrize(
    "between",
    [
        created(3, nextResetTime=START + 2 * DAY),
        created(3, value="1100"),
        created(3, period="WEEK"),
        created(3, status="CANCELED"),
        used(3, "100", nextResetTime=START + 3 * DAY),
    ],
    ids=["another next reset", "another value", "another kind of period", "cancelled", "progress names the next reset"],
)
def test_only_a_reset_begins_a_period(between: Event) -> None:
    found = ids(
        created(1, nextResetTime=START + DAY), used(2, "900"), between, used(4, "10"), created(5), used(6, "900")
    )
    assert len(set(found)) == 1


def test_a_reset_that_arrives_after_its_progress_announces_that_progress_in_its_period() -> None:
    in_order = (created(1), used(2, "900"), reset(3), used(4, "850"))
    late = (created(1), used(2, "900"), used(4, "850"), reset(3))

    assert ids(*late) == ids(*in_order)


def test_progress_without_its_reset_counts_for_the_period_before() -> None:
    """And again, under another id, for its own period as soon as the reset arrives."""
    found = sent(created(1), used(2, "100"), used(4, "850"), reset(3))
    assert [(notice.reset_sequence_number, int(notice.progress)) for notice in found] == [(None, 850), (3, 850)]


def test_an_older_reset_changes_no_period() -> None:
    assert ids(created(1), reset(5), used(6, "900"), reset(3)) == ids(created(1), reset(3), reset(5), used(6, "900"))


def test_progress_that_a_reset_has_overtaken_is_never_announced() -> None:
    assert crossed(created(1), reset(3), used(2, "900")) == []


# Content


def test_a_notice_says_what_a_receiver_needs() -> None:
    (found,) = sent(created(1), reset(2, nextResetTime=START + DAY), used(3, "850.50"))

    assert found.to_json() == {
        "id": "d5f73de4-d6d2-54bb-bb09-f564fc69b6b8",
        "threshold": 80,
        "userId": USER,
        "userLimitId": LIMIT,
        "brandId": BRAND,
        "currencyCode": "SEK",
        "unit": "SEK",
        "type": "DEPOSIT",
        "period": "DAY",
        "value": "1000",
        "progress": "850.5",
        "remaining": "149.5",
        "resetSequenceNumber": 2,
        "nextResetTime": START + DAY,
        "lastSequenceNumber": 3,
        "lastEventAt": START + 3_000,
    }


def test_a_session_limit_counts_seconds() -> None:
    (found,) = sent(created(1, type="SESSION", value="3600"), used(2, "3000"))
    assert found.unit == "seconds"


def test_ids_differ_by_user_limit_period_and_threshold() -> None:
    def of(state: LimitState | None) -> set[str]:
        return {notice.id for notice in notices(None, state, THRESHOLDS)}

    limits = [
        (created(1, progress="1000"),),
        (created(1, progress="1000", userId="u-2"),),
        (created(1, progress="1000", userLimitId="l-2"),),
        (created(1), reset(2), used(3, "1000")),
        (created(1), reset(2, "e-other"), used(3, "1000")),
    ]
    found = [of(changes(events)[-1][1]) for events in limits]
    assert len(set().union(*found)) == 2 * len(limits)


def test_every_notice_follows_the_schema() -> None:
    validator = Draft202012Validator(schema.schemas()[schema.NOTICE])
    for notice in sent(created(1), used(2, "1000"), reset(3, nextResetTime=START), used(4, "2000.5")):
        validator.validate(notice.to_json())


def test_the_example_of_the_page_is_a_notice() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    example = json.loads(text)
    (found,) = sent(created(1), reset(2, nextResetTime=START + DAY), used(3, "850.50"))

    assert example == found.to_json()
