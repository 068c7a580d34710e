"""A repair leads to what would be stored if the event had never come, or it refuses."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.records import Position, Record
from consumer.limits.history import last_states, steps
from consumer.limits.projection import Limits
from consumer.limits.repairing import Repair, repair
from consumer.limits.state import LimitState
from tests.property.strategies import EVENT_IDS, events, odd_events
from tests.support.generators.events import START, Event, encode

CAP = 262_144
LIMITS = Limits()
HISTORIES = st.lists(events() | odd_events(), min_size=1, max_size=9)


def records(history: Sequence[Event]) -> list[Record]:
    return [
        Record(Position("limits", "shard", str(number)), encode(event), START + number)
        for number, event in enumerate(history, 10)
    ]


def stored(delivered: Sequence[Record]) -> LimitState | None:
    return last_states(steps(LIMITS, delivered, CAP)).get("l-1")


def repaired(state: LimitState, archived: Sequence[Record], event_id: str) -> Repair:
    found = [step for step in steps(LIMITS, archived, CAP) if step.about.limit == "l-1"]
    return repair(LIMITS, state, found, event_id, CAP)


@given(HISTORIES, EVENT_IDS)
def test_the_result_is_what_the_other_events_lead_to(history: Sequence[Event], event_id: str) -> None:
    delivered = records(history)
    state = stored(delivered)
    if state is None:
        return
    found = repaired(state, delivered, event_id)
    kept = [record for record, event in zip(delivered, history, strict=True) if event["eventId"] != event_id]
    assert found.unexplained == ()
    assert found.after == stored(kept)
    assert found.is_known == (len(kept) < len(delivered))


@given(HISTORIES, EVENT_IDS, st.data())
def test_what_is_not_archived_is_never_lost(history: Sequence[Event], event_id: str, data: st.DataObject) -> None:
    """If it does not refuse, an archived event is behind everything that is stored and not of the untrue event."""
    delivered = records(history)
    state = stored(delivered)
    if state is None:
        return
    archived = [record for record in delivered if data.draw(st.booleans())]
    found = repaired(state, archived, event_id)
    known = {
        (event["sequenceNumber"], event["eventId"])
        for record, event in zip(delivered, history, strict=True)
        if record in archived
    }
    writers = {(stamp.sequence, stamp.event_id) for stamp in state.stamps() if stamp.event_id != event_id}
    assert found.unexplained or writers <= known
    if not found.unexplained and found.after is not None:
        assert {(stamp.sequence, stamp.event_id) for stamp in found.after.stamps()} <= known
