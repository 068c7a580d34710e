"""Conversion of a limit's state to the attributes of an item and back."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from consumer.engine.repository import fingerprint
from consumer.limits import codec
from consumer.limits.state import LimitState
from tests.support.generators.events import DAY, LIMIT, START, USER, Event, created, progress_changed, reset
from tests.support.simulation.core import Core, readable

HISTORIES: dict[str, tuple[Event, ...]] = {
    "created": (created(1),),
    "every field": (
        created(1, value="500"),
        created(2, activeUntil=START, progress="1.5", nextResetTime=START + DAY, previousLimitValue="400"),
        progress_changed(3, remainingAmount="990"),
        reset(4),
    ),
    "never created": (progress_changed(2, remainingAmount="990"),),
    "only reset": (reset(2),),
    "the largest amounts": (created(1, value="9" * 38), progress_changed(2, amount="-" + "9" * 20 + "." + "9" * 18)),
    "the least amounts": (created(1, value="0.000000000000000001"), progress_changed(2, amount="0.00")),
    "the largest numbers": (created(10**9, activeFrom=-(2**53 - 1)),),
}


def state(*events: Event) -> LimitState:
    core = Core()
    core.deliver(*events)
    (kept,) = readable(core.repository, USER)
    return kept


def through_dynamodb(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The item as DynamoDB returns it: numbers without an exponent, map keys in another order."""
    serialize: Callable[[Any], Any] = TypeSerializer().serialize
    deserialize: Callable[[Any], Any] = TypeDeserializer().deserialize
    return {name: deserialize(rewritten(serialize(attributes[name]))) for name in sorted(attributes, reverse=True)}


def rewritten(value: dict[str, Any]) -> dict[str, Any]:
    """The same value in DynamoDB's format."""
    if "N" in value:
        return {"N": f"{Decimal(value['N']):f}"}
    if "M" in value:
        return {"M": {name: rewritten(part) for name, part in value["M"].items()}}
    return value


@pytest.mark.parametrize("events", HISTORIES.values(), ids=HISTORIES.keys())
def test_what_was_dumped_is_loaded_as_it_was(events: tuple[Event, ...]) -> None:
    kept = state(*events)
    assert codec.load(codec.dump(kept)) == kept
    assert codec.load(through_dynamodb(codec.dump(kept))) == kept


@pytest.mark.parametrize("events", HISTORIES.values(), ids=HISTORIES.keys())
def test_what_was_stored_and_loaded_has_the_same_fingerprint(events: tuple[Event, ...]) -> None:
    attributes = codec.dump(state(*events))
    again = codec.dump(codec.load(through_dynamodb(attributes)))
    assert fingerprint(again) == fingerprint(attributes)


def test_the_key_and_the_identity_are_attributes_of_their_own() -> None:
    attributes = codec.dump(state(created()))
    assert (attributes["userId"], attributes["userLimitId"], attributes["currencyCode"]) == (USER, LIMIT, "SEK")


def test_a_register_that_is_not_set_is_no_attribute() -> None:
    assert codec.dump(state(progress_changed(2))).keys() == {
        *("userId", "userLimitId", "brandId", "currencyCode"),
        "progress",
    }


def test_attributes_of_a_later_release_are_passed_over() -> None:
    kept = state(*HISTORIES["every field"])
    attributes = codec.dump(kept)
    assert codec.load({**attributes, "new": {"a": 1}, "definition": {**definition(attributes), "new": 1}}) == kept


def definition(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return dict(attributes["definition"])
