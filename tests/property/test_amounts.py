"""Amounts stay exact and without exponents, from the event to the table to the readers."""

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from consumer.limits import money
from consumer.limits.state import LimitState
from consumer.limits.view import view
from tests.property.strategies import LIMITS, NOW, amounts, states

PLAIN = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")
AMOUNTS = ("value", "progress", "remaining", "previousLimitValue")


@given(amounts())
def test_a_number_is_shown_as_it_was_given(text: str) -> None:
    shown = money.plain(money.parse(text))
    assert Fraction(shown) == Fraction(text)
    assert PLAIN.fullmatch(shown)
    assert shown != "-0"


@given(amounts(), amounts())
def test_sums_and_differences_are_exact(left: str, right: str) -> None:
    one, other = money.parse(left), money.parse(right)
    assert Fraction(money.add(one, other)) == Fraction(left) + Fraction(right)
    assert Fraction(money.subtract(one, other)) == Fraction(left) - Fraction(right)


@given(st.text("0123456789.-+eE_ ", max_size=8) | st.text(max_size=8))
def test_what_is_taken_for_a_number_is_one_in_plain_form(text: str) -> None:
    try:
        number = money.parse(text)
    except ValueError:
        return
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text, re.ASCII)
    assert Fraction(number) == Fraction(text)


@given(states())
def test_readers_see_plain_decimal_strings_and_never_a_float(state: LimitState) -> None:
    shown = view(state, NOW).to_json()
    assert not any(isinstance(leaf, float) for leaf in leaves(shown))
    assert all(PLAIN.fullmatch(shown[name]) for name in AMOUNTS if name in shown)
    assert json.loads(json.dumps(shown)) == shown


def leaves(value: Any) -> Iterator[object]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    else:
        yield value


@given(states())
def test_a_state_comes_back_from_the_table_as_it_was(state: LimitState) -> None:
    attributes = LIMITS.dump(state)
    serialize, deserialize = TypeSerializer().serialize, TypeDeserializer().deserialize
    stored = {name: deserialize(serialize(value)) for name, value in attributes.items()}
    assert LIMITS.load(attributes) == state
    assert LIMITS.load(stored) == state
