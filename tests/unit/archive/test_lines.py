"""Lines of the archive: every record comes back as it was, and JSON can be read as JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.archive.lines import decode, encode
from consumer.engine.decoding import decode as event_of
from consumer.engine.errors import Reason, Rejected
from consumer.engine.records import LATEST_ARRIVAL, Position, Record
from consumer.limits.projection import Limits

SHARD = "shardId-000000000007"
SEQUENCE = "49590338271490256608559692538361571095921575989136588898"
AT = 1_767_225_600_042
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def record(data: bytes, arrived_at: int = AT, sub_sequence: int = 0) -> Record:
    return Record(Position("limits", SHARD, SEQUENCE, sub_sequence), data, arrived_at)


def test_a_line_names_its_position_and_holds_the_event_as_it_came() -> None:
    line = encode("limits", record(b'{"b": 1,  "a":[1.50, "\\u00e9"]}', sub_sequence=3))
    assert line.decode() == (
        f'{{"stream":"limits","shard":"{SHARD}","sequenceNumber":"{SEQUENCE}","subSequenceNumber":3,'
        '"arrivedAt":"2026-01-01T00:00:00.042Z","event":{"b": 1,  "a":[1.50, "\\u00e9"]}}'
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"not JSON",
        b"{",
        b"{}{}",
        b" {}",
        b'{"a":\n1}',
        b'{"a":\r1}',
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        '{"a":1}'.encode("utf-16"),
        b"[" * 600 + b"]" * 600,
        b"[" * 100_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b"[" + b"[]," * 400 + b"[]]",
        b'{"a":[' + b"[]," * 50_000 + b"[]]}",
        b"\xf3\x89\x9a\xc2",
    ],
    ids=ascii,
)
def test_what_is_not_json_on_one_line_is_kept_as_base64(data: bytes) -> None:
    line = encode("limits", record(data))
    assert set(json.loads(line)) == {"stream", "shard", "sequenceNumber", "subSequenceNumber", "arrivedAt", "data"}
    assert decode(line) == record(data)


@pytest.mark.parametrize(
    "data",
    [b"{}", b"1", b'"a"', b"[" * 200 + b"]" * 200, '{"a":"\u00e9\u2028"}'.encode(), b'{"a":[' + b"[]," * 400 + b"[]]}"],
)
def test_any_json_text_is_an_event(data: bytes) -> None:
    line = encode("limits", record(data))
    assert json.loads(line)["event"] == json.loads(data)
    assert decode(line) == record(data)


@pytest.mark.parametrize("delivered", ["{}", "", "#", "\ud800", None, 5], ids=ascii)
def test_what_was_delivered_in_place_of_base64_is_no_event(delivered: object) -> None:
    odd = Record.from_base64(Position("limits", SHARD, SEQUENCE), delivered, AT)
    line = encode("limits", odd)
    assert "data" in json.loads(line)
    back = decode(line)
    assert back._replace(fault=None) == odd._replace(fault=None)
    assert (back.fault is None) is (delivered == "")
    with pytest.raises(Rejected) as refused:
        event_of(Limits(), back, 1_000)
    assert refused.value.reason is Reason.RECORD_DATA


POSITIONS = st.builds(Position, TEXTS, TEXTS, TEXTS, st.integers(0, 10_000))
JSON = st.recursive(st.none() | TEXTS, st.lists).map(json.dumps).map(str.encode)


@given(POSITIONS, st.binary() | TEXTS.map(str.encode) | JSON, st.integers(0, LATEST_ARRIVAL - 1))
def test_every_record_comes_back(position: Position, data: bytes, arrived_at: int) -> None:
    kept = Record(position, data, arrived_at)
    line = encode(position.stream, kept)
    assert b"\n" not in line
    assert b"\r" not in line
    assert decode(line) == kept


def test_fields_of_a_later_version_are_ignored() -> None:
    line = encode("limits", record(b"{}"))
    assert decode(b'{"new":[1],' + line[1:]) == decode(line)


SOUND = json.loads(encode("limits", record(b"{}")))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stream": 1}, "Expected `str`, got `int`"),
        ({"sequenceNumber": None}, "Expected `str`, got `null`"),
        ({"subSequenceNumber": -1}, "Expected `int` >= 0"),
        ({"arrivedAt": "2026-01-01T00:00:00.000"}, "timezone"),
        ({"arrivedAt": "secret"}, "Invalid RFC3339"),
        ({"event": ...}, "neither `event` nor `data`"),
        ({"event": ..., "data": "secret!"}, "Invalid base64"),
        ({"shard": ...}, "missing required field `shard`"),
    ],
    ids=str,
)
def test_what_is_not_a_line_is_refused_in_one_line(change: dict[str, object], why: str) -> None:
    line = {name: value for name, value in (SOUND | change).items() if value is not ...}
    with pytest.raises(ValueError, match=f"^not a line of an archive: .*{why}") as refused:
        decode(json.dumps(line).encode())
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", [b"", b"\0", b"[]", b'{"stream":"\xff"}', b'{"new":' + b"[" * 100_000])
def test_what_is_no_json_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a line of an archive: "):
        decode(line)
