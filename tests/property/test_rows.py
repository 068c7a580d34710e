"""Any content of a row: it is refused, or it is a state that can be merged and stored again."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.errors import Malformed
from consumer.limits.state import LimitState
from consumer.limits.view import view
from tests.property.strategies import JSON, LIMITS, NOW, states, times

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.integers(-(2**60), 2**60).map(Decimal)
ANYTHING = JSON | NUMBERS | st.binary(max_size=5) | st.sampled_from([Decimal("1E+100"), Decimal("NaN"), "SEK", "DAY"])


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A stored state in which some attributes other than the key are replaced or removed."""
    row = deepcopy(LIMITS.dump(draw(states())))
    for _ in range(draw(st.integers(0, 2))):
        place: dict[str, Any] = draw(st.sampled_from([row, *(part for part in row.values() if isinstance(part, dict))]))
        name = draw(st.sampled_from([*sorted(place), "new"]))
        if draw(st.booleans()):
            place[name] = draw(ANYTHING)
        else:
            place.pop(name, None)
    return row | {"userId": "u-1", "userLimitId": "l-1"}


@times(7)
@given(rows(), states())
def test_a_row_is_refused_or_a_state_like_any_other(row: dict[str, Any], other: LimitState) -> None:
    try:
        state = LIMITS.load(row)
    except Malformed:
        return
    assert LIMITS.load(LIMITS.dump(state)) == state
    merged = LIMITS.merge(state, other)
    assert merged == LIMITS.merge(other, state) == LIMITS.merge(merged, state)
    assert LIMITS.load(LIMITS.dump(merged)) == merged
    assert view(merged, NOW).to_json()["lastSequenceNumber"] == merged.last.sequence
