"""The merge of a limit's events, in any order."""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import permutations

import pytest

from consumer.engine.projection import Ignored
from consumer.limits.money import plain
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState, Stamp
from tests.support.generators.events import DAY, START, Event, created, encode, progress_changed
from tests.support.generators.events import reset as was_reset

LIMITS = Limits()


def state_of(event: Event) -> LimitState:
    decoded = LIMITS.decode(encode(event))
    assert not isinstance(decoded, Ignored)
    return LIMITS.state_of(decoded)


def after(*events: Event) -> LimitState:
    """The state of the events, which must be the same in every order."""
    states = [state_of(event) for event in events]
    found = {repr(reduce(LIMITS.merge, order)): reduce(LIMITS.merge, order) for order in permutations(states)}
    assert len(found) == 1
    return found.popitem()[1]


def value(state: LimitState) -> str | None:
    return None if state.value is None else plain(state.value)


def used(state: LimitState) -> str:
    return plain(state.used)


def test_progress_before_its_creation_loses_neither() -> None:
    state = after(progress_changed(6, amount="60"), created(5))
    assert (used(state), value(state), state.last.sequence) == ("60", "1000", 6)


def test_a_creation_before_its_progress_starts_at_nothing() -> None:
    assert used(after(created(5))) == "0"
    assert used(after(created(5, progress="12.5"))) == "12.5"


def test_the_creations_own_progress_gives_way_to_any_progress_or_reset() -> None:
    assert used(after(created(5, progress="500"), progress_changed(4, amount="40"))) == "40"
    assert used(after(created(5, progress="500"), was_reset(4))) == "0"


def test_of_two_progresses_the_later_counts() -> None:
    assert used(after(progress_changed(2, amount="20"), progress_changed(9, amount="9"))) == "9"


def test_a_reset_wipes_what_was_used_before_and_nothing_after() -> None:
    assert used(after(created(1), progress_changed(2, amount="50"), was_reset(3))) == "0"
    assert used(after(created(1), was_reset(3), progress_changed(4, amount="5"))) == "5"


def test_of_two_creations_the_later_defines_the_limit() -> None:
    state = after(
        created(3, value="100", status="ACTIVE"), created(8, value="200", status="CANCELED", activeUntil=START)
    )
    definition = state.definition
    assert definition
    assert (value(state), definition.value.status) == ("200", "CANCELED")
    assert definition.value.active_until == START


def test_what_a_later_creation_leaves_out_is_not_kept_from_the_earlier() -> None:
    state = after(created(3, activeUntil=START, progress="7"), created(8))
    assert state.definition
    assert state.definition.value.active_until is None
    assert used(state) == "0"


def test_a_creation_is_created_when_it_says_so_else_when_it_happened() -> None:
    own, given = after(created(3)), after(created(3, createdAt=5))
    assert own.definition
    assert given.definition
    assert (own.definition.value.created_at, given.definition.value.created_at) == (START + 3_000, 5)


PREVIOUS: dict[str, tuple[Sequence[Event], int | None]] = {
    "one creation": ((created(1, value="100"),), None),
    "another value": ((created(1, value="100"), created(4, value="200")), 100),
    "the same value again": ((created(1, value="100"), created(4, value="100.00")), None),
    "the same value again, after another": (
        (created(1, value="100"), created(4, value="200"), created(6, value="200")),
        100,
    ),
    "there and back": ((created(1, value="100"), created(4, value="200"), created(6, value="100")), 200),
    "given by the event": ((created(4, value="200", previousLimitValue="150"),), 150),
    "given by the event, though another was seen": (
        (created(1, value="100"), created(4, value="200", previousLimitValue="150")),
        150,
    ),
    "given, but the same as the value": (
        (created(1, value="100"), created(4, value="200", previousLimitValue="200.0")),
        100,
    ),
    "given by the event before the last": (
        (created(1, value="100", previousLimitValue="50"), created(4, value="100")),
        50,
    ),
    "given by one of two creations at one sequence number": (
        (created(4, "e-a", value="100"), created(4, "e-b", value="200", previousLimitValue="150")),
        150,
    ),
    "given by the one of them that loses": (
        (created(4, "e-a", value="100", previousLimitValue="150"), created(4, "e-b", value="200")),
        100,
    ),
}


@pytest.mark.parametrize(("events", "previous"), PREVIOUS.values(), ids=PREVIOUS.keys())
def test_the_previous_value_is_the_last_that_differs(events: Sequence[Event], previous: int | None) -> None:
    state = after(*events)
    assert (state.previous_value.value if state.previous_value else None) == previous


def test_the_next_reset_is_that_of_the_latest_event_with_one() -> None:
    state = after(
        created(1, nextResetTime=START + DAY),
        progress_changed(2, nextResetTime=START + 2 * DAY),
        was_reset(3, nextResetTime=START + 3 * DAY),
        progress_changed(4),
    )
    assert state.next_reset
    assert state.next_reset.value == START + 3 * DAY


def test_a_next_reset_may_be_called_off_to_an_earlier_time() -> None:
    state = after(created(1, nextResetTime=START + DAY), created(2, nextResetTime=START))
    assert state.next_reset
    assert state.next_reset.value == START


def test_progress_and_reset_reveal_what_no_creation_has() -> None:
    progressed = after(progress_changed(2, amount="10", remainingAmount="90"))
    assert (value(progressed), progressed.inferred_kind) == ("100", None)
    was = after(
        progress_changed(2, amount="10", remainingAmount="90"), was_reset(3, resetAmount="5", unusedAmount="195")
    )
    assert value(was) == "200"
    assert was.inferred_kind
    assert (was.inferred_kind.value.type, was.inferred_kind.value.period) == ("DEPOSIT", "DAY")


def test_a_creation_wins_over_what_was_inferred_even_when_that_is_later() -> None:
    state = after(created(1, value="1000"), progress_changed(9, amount="10", remainingAmount="90"))
    assert value(state) == "1000"


def test_a_progress_without_what_is_left_tells_no_value() -> None:
    assert value(after(progress_changed(2))) is None


def test_a_value_too_large_to_be_one_is_not_inferred() -> None:
    assert value(after(progress_changed(2, amount="9" * 38, remainingAmount="1"))) is None


@pytest.mark.parametrize("make", [created, progress_changed, was_reset])
def test_of_two_events_at_one_sequence_number_the_higher_event_id_wins(make: Callable[..., Event]) -> None:
    state = after(make(5, "e-a", nextResetTime=1), make(5, "e-b", nextResetTime=2))
    assert state.next_reset
    assert (state.next_reset.value, state.last.event_id) == (2, "e-b")


def test_events_of_different_types_at_one_sequence_number_do_not_hide_each_other() -> None:
    state = after(created(5, "e-b", value="300"), progress_changed(5, "e-a", amount="30"))
    assert (value(state), used(state)) == ("300", "30")


def test_one_event_with_two_contents_ends_in_one_of_them_in_any_order() -> None:
    state = after(
        created(5, "e", value="100"), created(5, "e", value="200"), created(5, "e", value="200", status="FUTURE")
    )
    assert value(state) == "200"
    state = after(progress_changed(5, "e", amount="9"), progress_changed(5, "e", amount="10"))
    assert used(state) in ("9", "10")


def test_one_event_with_many_contents_leaves_one_previous_value_in_any_order() -> None:
    contents = [created(5, "e", value=value) for value in ("9", "10", "11")]
    state = after(*contents, created(6, value="11"))
    assert state.previous_value
    assert plain(state.previous_value.value) == "10"


def identity(stamp: Stamp) -> tuple[int, str]:
    return stamp.sequence, stamp.event_id


def test_the_latest_event_is_remembered_whatever_its_type() -> None:
    assert identity(after(created(9), progress_changed(3), was_reset(4)).last) == (9, "e-0009")
    assert identity(after(created(2), progress_changed(3), was_reset(4)).last) == (4, "e-0004")


def test_merging_twice_changes_nothing() -> None:
    state = after(created(1), progress_changed(2))
    assert LIMITS.merge(state, state) == state
    assert LIMITS.merge(state, state_of(created(1))) == state
