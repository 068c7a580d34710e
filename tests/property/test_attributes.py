"""Attributes in DynamoDB's format: what boto3's own conversions return, and versions that never change."""

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.projection import Plain
from consumer.engine.repository import fingerprint
from consumer.limits.state import LimitState
from consumer.stores.attributes import deserialize, serialize
from tests.property.strategies import LIMITS, states, times

NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.text() | NUMBERS | st.booleans(), lambda inner: st.dictionaries(st.text(), inner, max_size=3), max_leaves=10
)
SETS = st.sets(st.text()) | st.sets(st.decimals(-9, 9, places=2)) | st.sets(st.binary(max_size=3))
STORED = st.recursive(
    st.text() | st.decimals(-99, 99, places=3) | st.booleans() | st.none() | st.binary(max_size=4) | SETS.filter(bool),
    lambda inner: st.dictionaries(st.text(), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=10,
)

theirs: Callable[[Any], Any] = TypeSerializer().serialize
back: Callable[[Any], Any] = TypeDeserializer().deserialize


def result(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except ArithmeticError as error:
        return type(error)


@given(PLAIN)
def test_a_value_is_serialized_as_boto3_does_it(value: Plain) -> None:
    assert result(serialize, value) == result(theirs, value)


@given(STORED)
def test_every_type_of_a_table_is_read_as_boto3_does_it(value: Any) -> None:
    stored = theirs(value)
    assert deserialize(stored) == without_wrappers(back(stored))


@given(st.from_regex(r"-?[0-9]{1,45}(\.[0-9]{1,45})?(E[+-]?[0-9]{1,3})?", fullmatch=True))
def test_odd_numbers_are_refused_as_boto3_does_it(text: str) -> None:
    assert str(result(deserialize, {"N": text})) == str(result(back, {"N": text}))


def without_wrappers(value: Any) -> Any:
    if isinstance(value, Binary):
        content: Any = value
        return bytes(content)
    if isinstance(value, dict):
        return {name: without_wrappers(part) for name, part in value.items()}
    if isinstance(value, list | set):
        return type(value)(without_wrappers(part) for part in value)
    return value


@times(7)
@given(states())
def test_the_version_of_a_state_stays_what_it_is(state: LimitState) -> None:
    attributes = LIMITS.dump(state)
    assert fingerprint(attributes) == documented(attributes)


@given(st.dictionaries(st.text(), PLAIN))
def test_the_version_of_any_attributes_stays_what_it_is(attributes: dict[str, Plain]) -> None:
    assert fingerprint(attributes) == documented(attributes)


def documented(attributes: dict[str, Plain]) -> str:
    """The version as the service has always computed it."""
    text = json.dumps(attributes, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def test_a_number_of_38_digits_is_kept() -> None:
    assert deserialize(serialize(Decimal("9" * 38))) == Decimal("9" * 38)
