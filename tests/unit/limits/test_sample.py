"""Generated histories are realistic, exact and reproducible. Poison records are rejected for the announced reason."""

import json
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import get_args

import pytest

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.limits import event_types
from consumer.limits.events import OUT_OF_SCOPE, LimitType, Period, Status
from consumer.limits.sample import POISONS, Poison, Sample, histories
from tests.support.generators.events import Event, created
from tests.support.simulation.core import Core


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(histories(Random(1), 5_000, 40))


@pytest.fixture(scope="module")
def events(samples: list[Sample]) -> list[Event]:
    return [sample.event for sample in samples if sample.event]


def of_type(events: list[Event], kind: str) -> list[Event]:
    return [event["payload"] for event in events if event["type"] == kind]


def test_a_seed_is_a_stream() -> None:
    one, same, other = (list(histories(Random(seed), 300, 5, duplicates=0.1, poison=0.1)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("count", [0, 1, 1_000])
def test_the_number_of_records_is_the_requested_one(count: int) -> None:
    assert len(list(histories(Random(1), count, 5, duplicates=0.3, poison=0.3))) == count


def test_a_sound_record_spells_its_event(samples: list[Sample]) -> None:
    assert all(sample.event == json.loads(sample.data) for sample in samples)
    assert all(sample.event and sample.partition_key == sample.event["aggregateId"] for sample in samples)
    assert not [sample for sample in samples if sample.poison_reason]


def test_sequence_numbers_ascend_by_user_with_gaps(events: list[Event]) -> None:
    by_user: dict[str, list[int]] = defaultdict(list)
    for event in events:
        by_user[event["aggregateId"]].append(event["sequenceNumber"])
    steps = {later - sooner for numbers in by_user.values() for sooner, later in pairwise(numbers)}
    assert len(by_user) == 40
    assert min(steps) == 1
    assert max(steps) > 1


def test_event_ids_are_unique_and_times_ascend(events: list[Event]) -> None:
    assert len({event["eventId"] for event in events}) == len(events)
    assert all(sooner["createdAt"] <= later["createdAt"] for sooner, later in pairwise(events))


def test_every_type_period_and_status_occurs(events: list[Event]) -> None:
    limits = of_type(events, "USER_LIMIT_CREATED")
    assert {limit["type"] for limit in limits} == set(get_args(LimitType))
    assert {limit["period"] for limit in limits} == set(get_args(Period))
    assert {limit["status"] for limit in limits} == set(get_args(Status))
    assert {event["type"] for event in events} > OUT_OF_SCOPE


def test_fields_that_may_be_absent_are_there_now_and_then(events: list[Event]) -> None:
    for kind, names in {
        "USER_LIMIT_CREATED": ("nextResetTime", "activeUntil", "createdAt", "previousLimitValue", "progress"),
        "USER_LIMIT_PROGRESS_CHANGED": ("nextResetTime", "remainingAmount"),
        "USER_LIMIT_RESET": ("nextResetTime",),
    }.items():
        for name in names:
            assert {name in payload for payload in of_type(events, kind)} == {True, False}, f"{kind}.{name}"


def test_a_user_may_have_an_active_limit_and_its_successor(events: list[Event]) -> None:
    found = defaultdict(set)
    for limit in of_type(events, "USER_LIMIT_CREATED"):
        found[limit["userId"], limit["type"], limit["period"]].add((limit["userLimitId"], limit["status"]))
    assert any(
        {"ACTIVE", "FUTURE"} <= {status for _, status in pair} and len(dict(pair)) > 1 for pair in found.values()
    )


def test_session_limits_count_whole_seconds(events: list[Event]) -> None:
    sessions = [limit for limit in of_type(events, "USER_LIMIT_CREATED") if limit["type"] == "SESSION"]
    assert all(Decimal(limit["value"]) % 60 == 0 for limit in sessions)


def test_amounts_are_written_with_and_without_decimals(events: list[Event]) -> None:
    values = {limit["value"] for limit in of_type(events, "USER_LIMIT_CREATED")}
    assert {value.endswith(".00") for value in values} == {True, False}


def test_resets_add_up(events: list[Event]) -> None:
    for reset in of_type(events, "USER_LIMIT_RESET"):
        used, unused = Decimal(reset["resetAmount"]), Decimal(reset["unusedAmount"])
        exact = 100 * used / (used + unused)
        assert abs(Decimal(reset["resetPercentage"]) - exact) <= Decimal("0.005")


def test_in_their_order_all_are_applied_and_nothing_drifts(samples: list[Sample]) -> None:
    delivered = Core().deliver(*(sample.data for sample in samples))
    assert delivered.outcomes.keys() == {Outcome.APPLIED, Outcome.IGNORED}
    assert delivered.warnings.keys() == {
        event_types.NEGATIVE_AMOUNT,
        event_types.NEGATIVE_PROGRESS,
        event_types.OVER_LIMIT,
    }


def test_some_limits_have_no_creation() -> None:
    core, early = Core(), list(histories(Random(1), 300, 100))
    core.deliver(*(sample.data for sample in early))
    limits = [limit for user in {sample.partition_key for sample in early} for limit in core.limits(user).values()]
    assert {limit["complete"] for limit in limits} == {True, False}


def test_duplicates_are_the_same_records_again() -> None:
    made = list(histories(Random(1), 2_000, 10, duplicates=0.2))
    again = len(made) - len({sample.data for sample in made})
    assert 0.15 < again / len(made) < 0.25


def test_poison_is_as_frequent_as_requested_and_recognised() -> None:
    made = list(histories(Random(1), 2_000, 10, poison=0.2))
    poison = [sample for sample in made if sample.poison_reason]
    assert 0.15 < len(poison) / len(made) < 0.25
    assert {sample.poison_reason for sample in poison} == {*Reason} - {Reason.STORED_STATE}
    delivered = Core().deliver(*(sample.data for sample in made))
    found = [
        record_outcome.rejected.reason if record_outcome and record_outcome.rejected else None
        for record_outcome in delivered.record_outcomes
    ]
    assert found == [sample.poison_reason for sample in made]


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
def test_each_poison_is_refused_for_its_reason(poison: Poison) -> None:
    delivered = Core().deliver(poison.spoil(created(1, activeUntil=5)))
    assert delivered.reasons == {poison.reason: 1}
