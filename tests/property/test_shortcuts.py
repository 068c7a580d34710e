"""The fold takes shortcuts. They must lead to what folding in full leads to: states, outcomes, warnings, rejections."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.folding import fold
from consumer.engine.projection import Ignored
from consumer.limits.events import LimitEvent
from consumer.limits.state import LimitState, Register, Stamp
from tests.property.strategies import FAR_SEQUENCES, LIMITS, SEQUENCES, events, maybe, odd_events, states, times
from tests.support.generators.events import START, Event, encode
from tests.support.generators.plain_fold import joined, plain_fold

ODD_TIMES = st.sampled_from([0, 1_767_225_600, START, 4_102_444_800_000])


@st.composite
def deliveries(draw: st.DrawFn) -> list[LimitEvent]:
    """Events of one limit, old and new ones, repeated ones, some with odd times, or of another brand."""
    some = events(sequences=SEQUENCES | FAR_SEQUENCES.filter(lambda number: number <= 10**9)) | odd_events()
    made = draw(st.lists(some, min_size=1, max_size=12))
    for event in made:
        event |= draw(maybe(createdAt=ODD_TIMES))  # noqa: PLW2901 - changed in place
        event["payload"] |= draw(maybe(nextResetTime=ODD_TIMES))
    again = draw(st.lists(st.sampled_from(made), max_size=12))
    return [decoded(event) for event in (*made, *again)]


def decoded(event: Event) -> LimitEvent:
    found = LIMITS.decode(encode(event))
    assert not isinstance(found, Ignored)
    return found


def any_rows() -> st.SearchStrategy[LimitState | None]:
    """States, and rows of another program: their previous value may be the present one, or there is no present one."""
    odd = states().map(
        lambda state: LimitState(
            state.user_id,
            state.user_limit_id,
            state.brand_id,
            state.currency_code,
            state.definition,
            None if state.value is None else Register(Stamp(2, "e-a", START), state.value),
            state.progress,
            state.next_reset,
            state.last_reset,
            state.inferred_value,
            state.inferred_kind,
        )
    )
    return st.none() | states() | odd


@times(7)
@given(any_rows(), deliveries())
def test_a_fold_leads_to_what_it_leads_to_without_shortcuts(stored: LimitState | None, some: list[LimitEvent]) -> None:
    folded, expected = fold(LIMITS, stored, some), plain_fold(stored, some)
    found = [
        (each.type, each.outcome, each.warnings, each.rejected and str(each.rejected))
        for each in folded.record_outcomes
    ]
    assert (folded.state, found) == expected
    assert repr(folded.state) == repr(expected[0])


@given(any_rows().filter(bool), states())
def test_a_merge_is_the_join_and_gives_back_what_it_does_not_change(left: LimitState, right: LimitState) -> None:
    merged, expected = LIMITS.merge(left, right), joined(left, right)
    assert repr(merged) == repr(expected)
    assert (merged is left) == (expected == left)
