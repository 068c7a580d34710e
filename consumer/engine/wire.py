"""Parses bytes to a JSON object. Stricter than the standard library, which accepts NaN and unlimited sizes."""

import binascii
import json
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from consumer.engine.errors import Reason, Rejected

VALUES = 50_000
"""Maximum of values in a record. More take too long to parse. Counted by brackets and commas, also in strings."""
DEPTH = 100
"""Maximum depth of nested objects and arrays. The interpreter's own limit depends on its version and the caller."""
DIGITS = 1_000
"""Maximum length of an integer in characters. The time to parse one grows with the square of its length."""


def from_base64(text: object) -> bytes:
    """The bytes of a record's data. Alphabet and padding are checked. Raises Rejected(RECORD_DATA)."""
    if not isinstance(text, str):
        raise Rejected(Reason.RECORD_DATA, "data is missing")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # also for a character that is not ASCII
        raise Rejected(Reason.RECORD_DATA, "data is not base64") from None


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data` (UTF-8; a byte order mark is skipped).

    A number with a decimal point or an exponent becomes a Decimal. Raises Rejected with ENCODING, JSON or NOT_OBJECT.
    """
    value = _parse(_text(data))
    if not isinstance(value, dict):
        raise Rejected(Reason.NOT_OBJECT, "the top level is not an object")
    return value


def _text(data: bytes) -> str:
    if data.isascii() and 0 not in data[:4]:
        return data.decode("ascii")  # what the rest would lead to, sooner
    # UTF-16 and UTF-32 without a byte order mark are valid UTF-8 with many NULs.
    if not json.detect_encoding(data).startswith("utf-8"):
        raise Rejected(Reason.ENCODING, "not UTF-8 but UTF-16 or UTF-32")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected(Reason.ENCODING, f"not UTF-8 at byte {error.start}") from None


def _parse(text: str) -> object:
    # Counting characters is fast and comes before parsing: a record with too many values is never parsed.
    openers = text.count("[") + text.count("{")
    if len(text) > VALUES and openers + text.count(",") >= VALUES:
        raise Rejected(Reason.JSON, f"more than {VALUES} values")
    value = _decode(text)
    if openers > DEPTH and _is_deeper(value, DEPTH):
        raise _too_deep()
    return value


def _decode(text: str) -> object:
    try:
        decoder = _SHORT if len(text) <= DIGITS else _DECODER
        value: object = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Rejected(Reason.JSON, f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise _too_deep() from None
    except InvalidOperation:
        raise Rejected(Reason.JSON, "an exponent out of range") from None
    except ValueError as error:
        raise Rejected(Reason.JSON, str(error).partition(";")[0]) from None
    return value


def _is_deeper(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, (dict, list))]
    return bool(level)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> Rejected:
    return Rejected(Reason.JSON, "nested too deeply")


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"an integer of more than {DIGITS} digits")
    return int(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=Decimal, parse_constant=_refuse)
_SHORT = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)
"""For a text in which no integer can be too long. It is faster, because no Python function is called per integer."""
