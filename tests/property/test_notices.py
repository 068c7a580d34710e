"""The notices of any history are those that a second, independent model of the rule expects."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.limits.notices import Notice, notices
from tests.property.strategies import NOW, deliveries, histories
from tests.support.generators import oracle
from tests.support.generators.events import Event, created, progress_changed, reset
from tests.support.generators.table_stream import Change, changes

THRESHOLDS = st.sets(st.sampled_from([1, 50, 80, 100, 101, 1_000]), min_size=1).map(sorted)

Mark = tuple[oracle.Key, tuple[int, str] | None, int]
"""A limit, the reset that began the period, and a threshold."""


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Event]:
    """Events of one limit with few amounts, so that thresholds are crossed again and again, in order."""
    return [draw(_next(sequence)) for sequence in range(1, draw(st.integers(2, 14)))]


@st.composite
def _next(draw: st.DrawFn, sequence: int) -> Event:
    amount = str(10 * draw(st.integers(0, 12)))
    kind = draw(st.sampled_from("cpppr"))
    if kind == "c":
        return created(sequence, value=amount, status=draw(st.sampled_from(["ACTIVE", "ACTIVE", "CANCELED"])))
    return reset(sequence) if kind == "r" else progress_changed(sequence, amount=amount)


EVENTS = histories() | lifetimes()


def announced(writes: Iterable[Change], thresholds: Sequence[int]) -> list[Notice]:
    return [notice for old, new in writes for notice in notices(old, new, thresholds)]


def reached(arrived: Sequence[Event], thresholds: Sequence[int]) -> set[Mark]:
    """What the events that have arrived say, according to the oracle."""
    return {
        (key, _period(arrived, key), threshold)
        for key, limit in oracle.expected(list(arrived), NOW).items()
        if limit["complete"] and limit["status"] == "ACTIVE"
        for threshold in thresholds
        if 0 < Fraction(limit["progress"]) >= Fraction(limit["value"]) * threshold / 100
    }


def _period(arrived: Sequence[Event], key: oracle.Key) -> tuple[int, str] | None:
    resets = [each for each in arrived if each["type"] == "USER_LIMIT_RESET" and _key(each) == key]
    return max(((each["sequenceNumber"], each["eventId"]) for each in resets), default=None)


def _key(event: Event) -> oracle.Key:
    payload: dict[str, Any] = event["payload"]
    return (payload["userId"], payload["userLimitId"])


@given(st.data(), EVENTS, THRESHOLDS)
def test_any_order_and_any_duplicates_of_the_streams_records_have_the_same_ids(
    data: st.DataObject, events: list[Event], thresholds: list[int]
) -> None:
    writes = changes(events)
    delivered = [each for batch in data.draw(deliveries(writes)) for each in batch] if writes else []

    assert ids(announced(delivered, thresholds)) == ids(announced(writes, thresholds))


@given(st.data(), EVENTS, THRESHOLDS)
def test_every_crossing_within_a_period_has_exactly_one_id(
    data: st.DataObject, events: list[Event], thresholds: list[int]
) -> None:
    """In any order of arrival, with duplicates: what the table showed at some time, and nothing else."""
    arriving = [each for batch in data.draw(deliveries(events)) for each in batch]
    expected = set().union(*(reached(arriving[:end], thresholds) for end in range(1, len(arriving) + 1)))
    found = announced(changes(arriving), thresholds)

    assert len(ids(found)) == len(expected)
    assert {_without_event_id(mark) for mark in expected} == {
        ((each.user_id, each.user_limit_id), each.reset_sequence_number, each.threshold) for each in found
    }


@given(st.data(), EVENTS, THRESHOLDS)
def test_no_order_of_arrival_loses_what_the_limits_have_reached_in_the_end(
    data: st.DataObject, events: list[Event], thresholds: list[int]
) -> None:
    final = {(new.user_id, new.user_limit_id): new for _, new in changes(events) if new}
    due = ids(announced([(None, state) for state in final.values()], thresholds))
    arriving = [each for batch in data.draw(deliveries(events)) for each in batch]

    assert due <= ids(announced(changes(arriving), thresholds))


@given(EVENTS, THRESHOLDS)
def test_a_replay_of_everything_announces_nothing(events: list[Event], thresholds: list[int]) -> None:
    first = changes(events)
    assert changes([*events, *events]) == first
    assert announced([(new, new) for _, new in first], thresholds) == []


def ids(found: Iterable[Notice]) -> set[str]:
    return {notice.id for notice in found}


def _without_event_id(mark: Mark) -> tuple[oracle.Key, int | None, int]:
    key, period, threshold = mark
    return key, period and period[0], threshold
