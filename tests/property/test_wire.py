"""Whatever bytes come, decoding gives an event, an ignored one, or the reason of a refusal; never anything else."""

import base64
import json
from copy import deepcopy
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from consumer.engine.aggregation import deaggregate
from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored
from consumer.engine.records import Record
from consumer.limits.events import LimitEvent
from tests.property.strategies import JSON, LIMITS, events
from tests.support import kpl
from tests.support.events import Event, created, encode, position, record

DECODED = Reason.ENCODING, Reason.JSON, Reason.NOT_OBJECT, Reason.SCHEMA, Reason.IDENTITY


def decoded(data: bytes) -> object:
    """The event, or the reason of the refusal; every other exception fails the test."""
    try:
        return LIMITS.decode(data)
    except Rejected as refused:
        return refused.reason


def is_answered(data: bytes) -> bool:
    found = decoded(data)
    return isinstance(found, LimitEvent | Ignored) or found in DECODED


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    assert is_answered(data)


@given(st.text())
def test_any_text(text: str) -> None:
    assert is_answered(text.encode("utf-8", "surrogatepass"))


@given(JSON)
def test_any_json(value: object) -> None:
    assert is_answered(encode(value))


@given(st.dictionaries(st.sampled_from(sorted(created())), JSON))
def test_any_values_in_the_envelope(changes: Event) -> None:
    assert is_answered(encode(created() | changes))


@st.composite
def mutated(draw: st.DrawFn) -> Event:
    """A sound event of which a few places hold something else, or nothing."""
    event = draw(events())
    for _ in range(draw(st.integers(1, 3))):
        place: dict[str, Any] = draw(st.sampled_from([event, *(v for v in event.values() if isinstance(v, dict))]))
        name = draw(st.sampled_from([*sorted(place), "new"]))
        if draw(st.booleans()):
            place[name] = draw(JSON)
        else:
            place.pop(name, None)
    return event


@given(mutated())
def test_an_event_with_wrong_places(event: Event) -> None:
    assert is_answered(encode(event))


@given(st.data(), events())
def test_an_event_with_wrong_bytes(data: st.DataObject, event: Event) -> None:
    spoiled = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoiled)))
        spoiled[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    assert is_answered(bytes(spoiled))


@given(events())
def test_a_sound_event_is_decoded_as_it_was_written(event: Event) -> None:
    before = deepcopy(event)
    found = decoded(encode(event))
    assert isinstance(found, LimitEvent)
    assert (found.sequence_number, found.event_id, found.type) == (
        before["sequenceNumber"],
        before["eventId"],
        before["type"],
    )


@given(events(), st.sampled_from(["utf-8", "utf-8-sig"]), st.booleans(), st.sampled_from([None, 2]))
def test_how_json_is_written_does_not_matter(event: Event, encoding: str, plain: bool, indent: int | None) -> None:
    written = json.dumps(event, ensure_ascii=plain, indent=indent, sort_keys=plain).encode(encoding)
    assert decoded(written) == decoded(encode(event))


@given(st.text() | st.text("YQ=", max_size=8))
@example("YQ==")
def test_any_text_for_base64(text: str) -> None:
    made = Record.from_base64(position(), text, 0)
    if made.fault:
        assert made.fault.reason is Reason.RECORD_DATA
        assert made.data == text.encode("utf-8", "backslashreplace")
    else:
        assert base64.b64decode(text, validate=True) == made.data


@given(st.binary())
def test_any_bytes_after_the_magic(data: bytes) -> None:
    for suspect in (kpl.MAGIC + data, kpl.sealed(data), kpl.sealed(kpl.text(3, data))):
        parts = deaggregate(record(suspect))
        assert all(part.fault.reason is Reason.AGGREGATE and part.data == suspect for part in parts if part.fault)
        assert parts


@given(st.lists(st.binary(max_size=300), min_size=1))
def test_an_aggregate_gives_back_what_was_packed(data: list[bytes]) -> None:
    assert [part.data for part in deaggregate(record(kpl.aggregate(*data)))] == data
