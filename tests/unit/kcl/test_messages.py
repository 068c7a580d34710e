"""The daemon's messages: the quick way and the general one lead to the same records."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.errors import Rejected
from consumer.engine.wire import from_base64
from consumer.kcl.messages import AnyDelivered, Delivered, OddDelivered, decode
from tests.support.driven.daemon import LEASE_LOST, batch, delivered, raw
from tests.support.generators.events import START, created, encode


def records(*given_records: Any) -> list[AnyDelivered]:
    return list(decode(json.dumps(batch(*given_records))).records)


def test_a_normal_record_is_decoded_completely() -> None:
    assert records(delivered(101, created(1), sub=3)) == [Delivered("101", encode(created(1)), 3, START)]


@pytest.mark.parametrize(
    "odd",
    [
        raw(102, None),
        raw(102, 7),
        raw(102, "e30#"),
        raw(102, "e30===="),
        {"sequenceNumber": "102"},
        raw(102, "e30=") | {"subSequenceNumber": None},
        raw(102, "e30=") | {"approximateArrivalTimestamp": "yesterday"},
        raw(102, "e30=") | {"partitionKey": "\ud800"},
    ],
)
def test_an_odd_record_keeps_what_was_delivered(odd: dict[str, Any]) -> None:
    """Also the records beside it come the general way. Their data is decoded from base64 later."""
    normal, found = records(delivered(101, created(1)), odd)
    assert isinstance(normal, OddDelivered)
    assert isinstance(found, OddDelivered)
    assert base64.b64decode(normal.data) == encode(created(1))
    assert found == OddDelivered(
        "102", odd.get("data"), odd.get("subSequenceNumber", 0), odd.get("approximateArrivalTimestamp")
    )


def test_the_lag_may_be_absent() -> None:
    assert decode(json.dumps(batch(behind=None))).millis_behind_latest is None
    assert decode(json.dumps(batch(behind=7))).millis_behind_latest == 7


def test_other_messages_are_those_of_amazon_kclpy() -> None:
    assert decode(json.dumps(LEASE_LOST)).action == "leaseLost"


ALPHABET = st.characters(codec="ascii") | st.sampled_from("=+/-_ \n")
BASE64 = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())


@given(st.text(ALPHABET, max_size=24) | BASE64 | st.builds("".join, st.tuples(BASE64, st.sampled_from("=A \n"))))
def test_what_is_decoded_quickly_is_what_the_strict_decoder_accepts(text: str) -> None:
    (found,) = records(raw(101, text))
    if isinstance(found, Delivered):
        assert found.data == from_base64(text)
    else:
        assert found.data == text, "whatever it is, the general way judges it"


@given(st.binary(max_size=200))
def test_every_sound_record_is_decoded_quickly(data: bytes) -> None:
    (found,) = records(delivered(101, data))
    assert (type(found), found.data) == (Delivered, data)


def test_the_strict_decoder_refuses_what_is_not_base64() -> None:
    with pytest.raises(Rejected, match="not base64"):
        from_base64("e30#")
