"""The limits keep the promises of a projection: the guarantees of the service rest on them."""

from functools import reduce

import pytest
from hypothesis import given

from consumer.limits.state import LimitState
from consumer.testing import CHECKS, Check, Subject
from tests.property.strategies import LIMITS, odd_events, states
from tests.support.generators.events import encode


@pytest.mark.parametrize("check", CHECKS)
def test_the_limits_keep_the_promises_of_a_projection(check: Check) -> None:
    check(Subject(LIMITS, odd_events().map(encode)))


@given(states(), states())
def test_nothing_ever_goes_back(one: LimitState, other: LimitState) -> None:
    both = reduce(LIMITS.merge, (one, other))
    assert both.last == max(one.last, other.last)
    for name in ("definition", "progress", "next_reset", "inferred_value", "inferred_kind"):
        before, after = getattr(one, name), getattr(both, name)
        assert before is None or after.stamp >= before.stamp
    assert one.last_reset is None or (both.last_reset is not None and both.last_reset >= one.last_reset)
