"""Decoding any bytes returns an event or Ignored, or raises Rejected, and never anything else."""

import base64
import json
from copy import deepcopy

from hypothesis import example, given
from hypothesis import strategies as st

from consumer.engine.aggregation import deaggregate
from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored
from consumer.engine.records import Record
from consumer.limits.events import LimitEvent
from tests.property.strategies import LIMITS, events
from tests.support.generators import kpl
from tests.support.generators.events import Event, encode, position, record


def decoded(data: bytes) -> LimitEvent | Ignored | Reason:
    """The event, or the reason of the rejection. Any other exception fails the test."""
    try:
        return LIMITS.decode(data)
    except Rejected as refused:
        return refused.reason


@given(events())
def test_a_sound_event_is_decoded_as_it_was_written(event: Event) -> None:
    before = deepcopy(event)
    found = decoded(encode(event))
    assert not isinstance(found, Ignored | Reason)
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
