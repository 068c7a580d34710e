"""Attributes in DynamoDB's format and back, as boto3's TypeSerializer and TypeDeserializer do it, but faster."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Any

from consumer.engine.projection import Plain

_NUMBERS = Context(prec=38, Emin=-128, Emax=126, traps=[Clamped, Overflow, Inexact, Rounded, Underflow])
"""DynamoDB's numbers. Anything that it would round is an error."""


def serialize(value: Plain) -> dict[str, Any]:
    """The finite value as `{type: content}`. Raises an ArithmeticError for a number of more than 38 digits."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, Decimal | int):
        return {"N": str(_NUMBERS.create_decimal(value))}
    return {"M": {name: serialize(part) for name, part in value.items()}}


def deserialize(value: Mapping[str, Any]) -> Any:
    """The content of `{type: content}`. Numbers are Decimals, sets are sets, null is None.

    Raises an ArithmeticError for a number of more than 38 digits, which a table can contain, and another standard
    exception for what is not in DynamoDB's format.
    """
    ((kind, content),) = value.items()
    return content if kind == "S" else _CONTENT[kind](content)


def _binary(content: bytes | str) -> bytes:
    return b64decode(content) if isinstance(content, str) else content


_CONTENT: Mapping[str, Callable[[Any], Any]] = {
    "N": _NUMBERS.create_decimal,
    "M": lambda content: {name: deserialize(part) for name, part in content.items()},
    "BOOL": bool,
    "L": lambda content: [deserialize(part) for part in content],
    "NULL": lambda _: None,
    "B": _binary,
    "SS": set,
    "NS": lambda content: set(map(_NUMBERS.create_decimal, content)),
    "BS": lambda content: set(map(_binary, content)),
}
