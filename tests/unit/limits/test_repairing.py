"""What a limit is without an event, and what an archive must hold so that this can be told."""

from collections.abc import Sequence

from consumer.limits.history import Step, in_order, last_states, steps
from consumer.limits.projection import Limits
from consumer.limits.repairing import REGISTERS, Repair, only_of, repair
from consumer.limits.state import LimitState
from tests.support.generators.events import LIMIT, USER, Event, created, progress_changed, records, reset

CAP = 262_144
LIMITS = Limits()
UNTRUE = "e-untrue"


def history(*events: Event) -> list[Step]:
    return list(steps(LIMITS, in_order(records(*events)), CAP))


def folded(*events: Event) -> LimitState:
    return last_states(history(*events))[LIMIT]


def repaired(stored: LimitState, archived: Sequence[Event]) -> Repair:
    return repair(LIMITS, stored, history(*archived), UNTRUE, CAP)


def test_the_registers_are_all_registers() -> None:
    identity = ("user_id", "user_limit_id", "brand_id", "currency_code")
    assert (*identity, *REGISTERS) == LimitState.__struct_fields__


def test_the_registers_of_one_event() -> None:
    state = folded(created(1), reset(2, UNTRUE), progress_changed(3))
    own = only_of(state, UNTRUE)
    assert [name for name in REGISTERS if getattr(own, name) is not None] == [
        "last_reset",
        "inferred_value",
        "inferred_kind",
    ]
    assert (own.user_id, own.user_limit_id) == (USER, LIMIT)


def test_an_event_that_froze_a_limit_is_taken_out() -> None:
    untrue = progress_changed(900_000_000, UNTRUE, amount="999999")
    events = [created(1), progress_changed(2, amount="20"), untrue, progress_changed(3, previousProgress="20")]
    stored = folded(*events)
    found = repaired(stored, events)
    assert (found.before, found.is_known, found.unexplained) == (stored, True, ())
    assert found.after == folded(events[0], events[1], events[3])


def test_every_repeat_of_the_event_is_left_out() -> None:
    events = [created(1), progress_changed(9, UNTRUE), progress_changed(9, UNTRUE), progress_changed(10, UNTRUE)]
    assert repaired(folded(*events), events).after == folded(events[0])


def test_what_the_event_kept_out_comes_back() -> None:
    events = [created(1, UNTRUE, currencyCode="EUR"), created(2), progress_changed(3)]
    found = repaired(folded(*events), events)
    assert found.after == folded(*events[1:])
    assert found.unexplained == ()


def test_the_value_before_an_untrue_definition_is_the_value_again() -> None:
    events = [created(1, value="100"), created(2, UNTRUE, value="900"), created(3, value="200")]
    stored = folded(*events)
    found = repaired(stored, events)
    assert stored.previous_value is not None
    assert stored.previous_value.stamp.event_id == UNTRUE
    assert found.after == folded(events[0], events[2])


def test_a_limit_of_this_event_alone_is_nothing_without_it() -> None:
    event = created(1, UNTRUE)
    found = repaired(folded(event), [event])
    assert (found.after, found.is_known, found.unexplained) == (None, True, ())


def test_an_event_that_is_not_archived_is_known_by_what_it_wrote() -> None:
    """It came from a file, not from the stream."""
    events = [created(1), progress_changed(2), created(4, UNTRUE, value="1")]
    found = repaired(folded(*events), events[:2])
    assert (found.after, found.is_known, found.unexplained) == (folded(*events[:2]), True, ())


def test_an_event_without_a_trace_is_not_known() -> None:
    events = [created(1), progress_changed(2)]
    found = repaired(folded(*events), events)
    assert (found.is_known, found.after) == (False, found.before)


def test_what_is_not_archived_and_not_of_the_event_is_unexplained() -> None:
    events = [created(1), progress_changed(2), reset(3), progress_changed(4, UNTRUE)]
    stored = folded(*events)
    assert repaired(stored, events).unexplained == ()
    assert repaired(stored, events[1:]).unexplained == ("definition",)
    assert repaired(stored, [events[0], events[1], events[3]]).unexplained == (
        "last_reset",
        "inferred_value",
        "inferred_kind",
    )
    assert repaired(stored, events[3:]).unexplained == ("definition", "last_reset", "inferred_value", "inferred_kind")
    assert repaired(stored, []).unexplained == ("definition", "last_reset", "inferred_value", "inferred_kind")


def test_another_brand_than_that_of_the_archive_is_unexplained() -> None:
    events = [created(1), progress_changed(2, UNTRUE)]
    stored = folded(*(event | {"payload": event["payload"] | {"brandId": "brand-z"}} for event in events))
    assert repaired(stored, events).unexplained == ("brand_id",)


def test_another_brand_is_the_events_own_if_it_wrote_all() -> None:
    events = [created(1), progress_changed(2)]
    found = repaired(folded(created(1, UNTRUE, brandId="brand-z", currencyCode="EUR")), events)
    assert (found.after, found.unexplained) == (folded(*events), ())


def test_what_is_archived_and_not_stored_yet_is_no_obstacle() -> None:
    events = [created(1), progress_changed(2, UNTRUE), progress_changed(3, amount="7")]
    found = repaired(folded(*events[:2]), events)
    assert (found.after, found.unexplained) == (folded(events[0], events[2]), ())
