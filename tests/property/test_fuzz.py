"""Any data between valid records: the valid ones are applied, the data has an outcome, and everything can be stored."""

import json

from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.folding import Outcome
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Record
from consumer.limits.state import LimitState
from tests.property.hostile import ANY_BYTES, HOSTILE
from tests.property.strategies import LIMITS, times
from tests.support.generators import kpl
from tests.support.generators.events import START, created, encode, position, progress_changed
from tests.support.simulation.core import Core, memory

NEIGHBOUR = "u-neighbour"


@times(7)
@given(st.lists(HOSTILE, min_size=1, max_size=5))
def test_hostile_records_among_sound_ones(hostile: list[bytes]) -> None:
    kept = memory()
    core = Core(kept)
    sound = created(1, userId=NEIGHBOUR), progress_changed(2, userId=NEIGHBOUR)
    delivered = core.deliver(sound[0], *hostile, sound[1])
    first, *between, last = delivered.record_outcomes

    assert first
    assert last
    assert (first.outcome, last.outcome) == (Outcome.APPLIED, Outcome.APPLIED)
    assert core.limit(NEIGHBOUR)["lastSequenceNumber"] == 2
    assert delivered.unsettled is None
    assert len(between) >= len(hostile)
    assert delivered.outcomes.total() == len(delivered.records)
    assert {entry.record.position: entry for entry in core.quarantine.entries()} == {
        entry.record.position: entry for entry in delivered.quarantined
    }
    for entry in delivered.quarantined:
        check_that_it_can_be_quarantined(entry)
    for state in kept.states():
        check_that_it_can_be_stored(state)


def check_that_it_can_be_quarantined(entry: Quarantined) -> None:
    written = json.dumps(entry.to_json()).encode()
    read = Quarantined.from_json(json.loads(written))
    assert (read.reason, read.detail, read.record.data) == (entry.reason, entry.detail, entry.record.data)


def check_that_it_can_be_stored(state: LimitState) -> None:
    """DynamoDB accepts 38 digits, and text in UTF-8."""
    attributes = LIMITS.dump(state)
    json.dumps(TypeSerializer().serialize(attributes), ensure_ascii=False).encode()
    assert LIMITS.load(attributes) == state


@given(st.lists(st.binary(max_size=50) | st.just(encode(created())), min_size=1, max_size=8), st.data())
def test_spoilt_neighbours_in_an_aggregate(data: list[bytes], draw: st.DataObject) -> None:
    """If the aggregate is valid, each user record has its own outcome."""
    at = draw.draw(st.integers(0, len(data)))
    sound = encode(created(1, userId=NEIGHBOUR))
    core = Core()
    delivered = core.deliver(kpl.aggregate(*data[:at], sound, *data[at:]))
    assert len(delivered.record_outcomes) == len(data) + 1
    assert (neighbour := delivered.record_outcomes[at])
    assert neighbour.outcome is Outcome.APPLIED
    assert core.limit(NEIGHBOUR)["lastSequenceNumber"] == 1


@given(st.none() | st.integers() | st.text() | ANY_BYTES.map(lambda data: data.decode("latin-1")))
def test_what_is_no_base64_among_sound_records(text: object) -> None:
    core = Core()
    bad = Record.from_base64(position(2), text, START)
    delivered = core.deliver(created(1, userId=NEIGHBOUR), bad, progress_changed(2, userId=NEIGHBOUR))
    assert core.limit(NEIGHBOUR)["lastSequenceNumber"] == 2
    assert delivered.outcomes.total() == len(delivered.records)
