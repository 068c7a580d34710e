"""The merge of limit states is commutative, associative and idempotent: the guarantees of the service rest on it."""

from functools import reduce

from hypothesis import given

from consumer.engine.repository import fingerprint
from consumer.limits.state import LimitState
from tests.property.strategies import LIMITS, states

merge = LIMITS.merge


def same(left: LimitState, right: LimitState) -> bool:
    """Whether the states are equal and have the same version."""
    return left == right and fingerprint(LIMITS.dump(left)) == fingerprint(LIMITS.dump(right))


@given(states(), states())
def test_merging_is_commutative(one: LimitState, other: LimitState) -> None:
    assert same(merge(one, other), merge(other, one))


@given(states(), states(), states())
def test_merging_is_associative(first: LimitState, second: LimitState, third: LimitState) -> None:
    assert same(merge(merge(first, second), third), merge(first, merge(second, third)))


@given(states())
def test_merging_is_idempotent(state: LimitState) -> None:
    assert same(merge(state, state), state)


@given(states(), states())
def test_what_was_merged_once_changes_nothing_when_it_is_merged_again(one: LimitState, other: LimitState) -> None:
    both = merge(one, other)
    assert same(merge(both, one), both)
    assert same(merge(other, both), both)


@given(states(), states())
def test_nothing_ever_goes_back(one: LimitState, other: LimitState) -> None:
    both = reduce(merge, (one, other))
    assert both.last == max(one.last, other.last)
    for name in ("definition", "progress", "next_reset", "inferred_value", "inferred_kind"):
        before, after = getattr(one, name), getattr(both, name)
        assert before is None or after.stamp >= before.stamp
    assert one.last_reset is None or (both.last_reset is not None and both.last_reset >= one.last_reset)
