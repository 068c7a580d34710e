"""Limits have every optional part of a projection. For a projection without one, there is a plain answer."""

import pytest

from consumer.engine import optional_parts
from consumer.engine.comparison import Comparison
from consumer.engine.optional_parts import Bounded, FindsPartitions, KnowsWarnings, RefusesByState, Viewed
from consumer.limits.event_types import WARNINGS
from consumer.limits.projection import Limits
from tests.support.generators.events import BRAND, START, USER, created, encode
from tests.support.generators.small_projection import Peak, Peaks
from tests.support.simulation.core import Core, memory

PARTS = (Bounded, FindsPartitions, KnowsWarnings, RefusesByState, Viewed)
LOW, HIGH = Peak("a", 3), Peak("a", 5, "windy")


@pytest.mark.parametrize("part", PARTS)
def test_limits_have_all_of_them(part: type) -> None:
    assert isinstance(Limits(), part)


def test_what_limits_answer() -> None:
    limits, kept = Limits(), memory()
    Core(kept).deliver(created(1))
    (state,) = kept.states()
    shown = optional_parts.document(limits, state, START)

    assert optional_parts.warning_kinds(limits) == WARNINGS
    assert optional_parts.bounded(limits, 7) == Limits(max_sequence=7)
    assert optional_parts.may_be_of(limits, USER)(encode(created(1)))
    assert not optional_parts.may_be_of(limits, "another")(encode(created(1)))
    assert optional_parts.partition_of(limits)(encode(created(1))) == USER
    assert Comparison(limits).identity(state) == (BRAND, state.currency_code)
    assert (optional_parts.plural(limits), shown["resetOverdue"], shown["value"]) == ("limits", False, "1000")


def test_what_is_answered_for_a_projection_without_them() -> None:
    peaks, by = Peaks(), Comparison(Peaks())

    assert [part for part in PARTS if isinstance(peaks, part)] == [KnowsWarnings]
    assert optional_parts.bounded(peaks, 7) is peaks
    assert optional_parts.may_be_of(peaks, "north")(b"anything")
    assert optional_parts.plural(peaks) == "states"
    assert optional_parts.document(peaks, LOW, START) == {"region": "north", "place": "a", "highest": 3}
    assert (by.identity(LOW), by.contradicts(LOW, HIGH)) == ((), False)
    assert (by.lacks(LOW, HIGH), by.lacks(HIGH, LOW), by.lacks(None, LOW)) == (True, False, True)
    assert by.differences(LOW, HIGH) == [("highest", 3, 5), ("note", None, "windy")]
