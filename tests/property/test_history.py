"""The history of a limit ends where the fold and the table end, and no record of a user hides from it."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.errors import Rejected
from consumer.engine.projection import Ignored
from consumer.engine.records import Position, Record
from consumer.limits.claims import claims
from consumer.limits.history import in_order, last_states, steps
from consumer.limits.projection import Limits
from tests.property.hostile import SINGLE
from tests.property.strategies import events, odd_events
from tests.support.generators.events import START, Event, encode
from tests.support.simulation.core import Core, memory

CAP = 262_144
HISTORIES = st.lists(events(limits=("l-1", "l-2")) | odd_events(), max_size=12)


def archived(history: Sequence[Event]) -> list[Record]:
    return [
        Record(Position("limits", "shard", str(number)), encode(event), START + number)
        for number, event in enumerate(history, 10)
    ]


@given(HISTORIES, st.data())
def test_the_last_states_are_what_the_table_holds(history: Sequence[Event], data: st.DataObject) -> None:
    records = archived(history)
    table = memory()
    core = Core(table)
    outcomes = [next(iter(core.deliver(each).record_outcomes)) for each in records]
    # Repeats, in any order: as an archive may have them.
    repeated = st.lists(st.sampled_from(records), max_size=5) if records else st.just([])
    read = data.draw(st.permutations([*records, *data.draw(repeated)]))
    found = list(steps(Limits(), in_order(read), CAP))
    assert [step.outcome.outcome for step in found] == [each.outcome for each in outcomes if each]
    kept = {(state.user_id, state.user_limit_id): state for state in table.states()}
    assert {("u-1", limit): state for limit, state in last_states(found).items()} == kept


@given(st.lists(events(limits=("l-1",)), min_size=1, max_size=8))
def test_each_state_is_the_fold_of_the_events_until_then(history: Sequence[Event]) -> None:
    records = archived(history)
    found = list(steps(Limits(), records, CAP))
    for length, step in enumerate(found, 1):
        core = Core()
        core.deliver(*records[:length])
        assert step.state is not None
        assert core.repository.partition("u-1") == [step.state]


@given(SINGLE | events().map(encode) | odd_events().map(encode))
def test_whatever_can_be_applied_claims_its_user_its_limit_and_its_id(data: bytes) -> None:
    try:
        event = Limits().decode(data)
    except Rejected:
        return
    if not isinstance(event, Ignored):
        found = claims(data)
        assert event.payload.user_id in found.users
        assert (found.limit, found.event_id) == (event.payload.user_limit_id, event.event_id)
