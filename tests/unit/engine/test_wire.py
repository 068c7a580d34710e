"""Bytes are parsed to a JSON object, or rejected for their first fault."""

import base64
import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from consumer.engine.errors import Reason, Rejected
from consumer.engine.wire import DEPTH, VALUES, from_base64, parse_object


def refusal(read: Callable[[], object]) -> Reason:
    with pytest.raises(Rejected) as refused:
        read()
    return refused.value.reason


@pytest.mark.parametrize("data", [b"", b"\0", b"a", b"ab", b"abc", bytes(range(256))])
def test_base64_gives_back_what_was_put_in(data: bytes) -> None:
    assert from_base64(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize("text", ["#", "YQ", "YQ=", "Y", "YQ==YQ==", "YQ==\n", "Y\u00adQ=", "_-==", "====", "\ud800"])
def test_what_lenient_decoders_let_through_is_no_base64(text: str) -> None:
    assert refusal(lambda: from_base64(text)) is Reason.RECORD_DATA


@pytest.mark.parametrize("text", [None, 5, b"YQ==", ["YQ=="], {}])
def test_what_is_no_text_is_missing(text: object) -> None:
    with pytest.raises(Rejected, match="missing"):
        from_base64(text)


@pytest.mark.parametrize("text", ['{"a": 1}', ' \r\n\t{"a": 1}\n', '\ufeff{"a": 1}'])
def test_an_object_with_blanks_around_it_or_a_mark_before(text: str) -> None:
    assert parse_object(text.encode()) == {"a": 1}


def test_every_character_of_unicode_arrives() -> None:
    strange = {"\u2028": "\U0001f3b2 \u0000 \u007f \ufeff"}
    assert parse_object(json.dumps(strange, ensure_ascii=False).encode()) == strange
    assert parse_object(json.dumps(strange).encode()) == strange


ORDER = {
    "bad bytes in what is no JSON either": (b"\xffhello", Reason.ENCODING),
    "UTF-16 of an array": ("[]".encode("utf-16"), Reason.ENCODING),
    "a second byte order mark": (b"\xef\xbb\xbf\xef\xbb\xbf{}", Reason.JSON),
    "an array with NaN": (b"[NaN]", Reason.JSON),
    "a bare number": (b"42", Reason.NOT_OBJECT),
    "a byte order mark alone": (b"\xef\xbb\xbf", Reason.JSON),
    "one NUL": (b"\0", Reason.JSON),
}


@pytest.mark.parametrize(("data", "reason"), ORDER.values(), ids=ORDER.keys())
def test_the_first_thing_wrong_is_the_reason(data: bytes, reason: Reason) -> None:
    assert refusal(lambda: parse_object(data)) is reason


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_nesting_does_not_exhaust_the_stack(depth: int) -> None:
    assert refusal(lambda: parse_object(b'{"a":' * depth)) is Reason.JSON


def test_an_integer_of_many_digits_is_refused_before_it_costs_time() -> None:
    assert parse_object(b'{"a":' + b"9" * 1_000 + b"}")["a"] > 0
    assert refusal(lambda: parse_object(b'{"a":' + b"9" * 1_001 + b"}")) is Reason.JSON


@pytest.mark.parametrize("data", [b'{"a": secret}', b'{"secret": "\n"}', b'{"a": 1} secret', b'{"secret": NaN}'])
def test_the_refusal_does_not_repeat_the_record(data: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        parse_object(data)
    assert "secret" not in refused.value.detail


def test_no_number_becomes_a_float() -> None:
    assert parse_object(b'{"a": 0.1, "b": 1e400}') == {"a": Decimal("0.1"), "b": Decimal("1E+400")}


@pytest.mark.parametrize("number", [b"1e9999999999999999999", b"-1.5E-9999999999999999999"])
def test_an_exponent_that_no_number_has(number: bytes) -> None:
    assert refusal(lambda: parse_object(b'{"a": ' + number + b"}")) is Reason.JSON


def objects(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def arrays(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize("nested", [objects, arrays])
def test_the_maximum_depth_does_not_depend_on_the_caller(nested: Callable[[int], bytes]) -> None:
    assert parse_object(nested(DEPTH))
    assert refusal(lambda: parse_object(nested(DEPTH + 1))) is Reason.JSON


def test_many_objects_beside_each_other_are_not_deep() -> None:
    assert parse_object(b'{"a": [' + b",".join([b"[{}]"] * 1_000) + b"]}")


def test_the_marks_of_values_count_in_strings_too() -> None:
    assert parse_object(b'{"a": "' + b"," * (VALUES - 2) + b'"}')
    assert refusal(lambda: parse_object(b'{"a": "' + b"," * (VALUES - 1) + b'"}')) is Reason.JSON
