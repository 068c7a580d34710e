"""Reads the states in the records of a DynamoDB stream."""

from collections.abc import Mapping
from typing import Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer

from consumer.engine.errors import Malformed
from consumer.engine.projection import Codec
from consumer.stores.dynamodb import MALFORMED

S = TypeVar("S")


def state_in(image: Mapping[str, Any], codec: Codec[S]) -> S:
    """The state in an image of an item, with attributes in DynamoDB's form. Raises Malformed."""
    deserialize = TypeDeserializer().deserialize
    try:
        # boto3 raises for numbers of more than 38 digits, which a table can contain.
        return codec.load({name: deserialize(value) for name, value in image.items()})
    except MALFORMED as wrong:
        raise Malformed(str(wrong) if isinstance(wrong, Malformed) else type(wrong).__name__) from None
