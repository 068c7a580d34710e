"""What is said about a stored limit that differs from what its events lead to."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from consumer.engine.comparison import Comparison
from consumer.limits.comparison import contradicts
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState, Register
from tests.support.generators.events import created, progress_changed, reset
from tests.support.simulation.core import Core, memory


def state_of(*events: dict[str, object]) -> LimitState:
    kept = memory()
    Core(kept).deliver(*events)
    (state,) = kept.states()
    return state


BY = Comparison(Limits())
differences, lacks = BY.differences, BY.lacks
BEFORE = state_of(created(1), progress_changed(2))
AFTER = state_of(created(1), progress_changed(2), reset(3))


def names(table: LimitState | None, archive: LimitState | None) -> list[str]:
    return [found.name for found in differences(table, archive)]


def test_a_state_lacks_what_only_later_events_have() -> None:
    assert lacks(BEFORE, AFTER)
    assert not lacks(AFTER, BEFORE)
    assert not lacks(AFTER, AFTER)
    assert lacks(None, BEFORE)


def test_each_attribute_that_differs_is_named() -> None:
    assert names(BEFORE, AFTER) == ["progress", "lastReset", "inferredValue", "inferredKind"]
    assert names(AFTER, AFTER) == []
    assert names(None, BEFORE) == ["userId", "userLimitId", "brandId", "currencyCode", "definition", "progress"]
    (found,) = differences(AFTER, replace(AFTER, brand_id="other"))
    assert found == ("brandId", AFTER.brand_id, "other")


@pytest.mark.parametrize("value", [Decimal(5), Decimal(500)])
def test_another_content_of_one_event_is_a_contradiction(value: Decimal) -> None:
    assert BEFORE.progress
    spoiled = replace(BEFORE, progress=Register(BEFORE.progress.stamp, value))
    assert contradicts(spoiled, BEFORE)
    assert lacks(spoiled, BEFORE) or lacks(BEFORE, spoiled)


def test_older_and_newer_states_do_not_contradict_each_other() -> None:
    assert not contradicts(BEFORE, AFTER)
    assert not contradicts(AFTER, BEFORE)


def test_another_brand_is_a_contradiction() -> None:
    assert contradicts(replace(BEFORE, brand_id="b"), BEFORE)
