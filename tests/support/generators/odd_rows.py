"""Invalid rows of the limits table: a valid row with one thing wrong, for every kind of error."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from consumer.engine.repository import fingerprint
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.support.generators.events import DAY, START, created, progress_changed, reset
from tests.support.simulation.core import Core, readable

Row = dict[str, Any]
"""Attributes as boto3 serializes and deserializes them, including the version."""

ABSENT = object()
NO_TEXT: Sequence[object] = (ABSENT, None, 5, True, [], {}, b"x")
NO_ID = (*NO_TEXT, "", "x" * 129, "a\nb")
NO_CURRENCY = (*NO_TEXT, "", "sek", "SEKK")
NO_WORD = (*NO_TEXT, "", "active", "CANCELLED")
NO_NUMBER: Sequence[object] = (ABSENT, None, "5", True, [], {}, b"5")
NO_WHOLE = (*NO_NUMBER, Decimal("1.5"), Decimal(2**54), Decimal("1E+100"))
NO_SEQUENCE = (*NO_WHOLE, Decimal(0), Decimal(-1))
NO_AMOUNT = (*NO_NUMBER, Decimal("1E+38"), Decimal("1E-19"), Decimal("1E+125"), Decimal("1E-130"))
NO_VALUE = (*NO_AMOUNT, Decimal(-1))
NO_REGISTER: Sequence[object] = (None, "text", 5, True, [], {}, b"x", {"a"})
NO_VERSION: Sequence[object] = (ABSENT, None, 5, True, "", [], {}, b"x")

STAMP = {"sequence": NO_SEQUENCE, "eventId": NO_ID, "at": NO_WHOLE}
AMOUNT = {**STAMP, "value": NO_AMOUNT}
KIND = {"type": NO_WORD, "period": NO_WORD}
REGISTERS: Mapping[str, Mapping[str, Sequence[object]]] = {
    "definition": {
        **STAMP,
        **KIND,
        "value": NO_VALUE,
        "status": NO_WORD,
        "activeFrom": NO_WHOLE,
        "createdAt": NO_WHOLE,
        "activeUntil": NO_WHOLE[1:],
        "progress": NO_AMOUNT[1:],
    },
    "previousValue": AMOUNT,
    "progress": AMOUNT,
    "nextReset": {**STAMP, "value": NO_WHOLE},
    "lastReset": STAMP,
    "inferredValue": AMOUNT,
    "inferredKind": {**STAMP, **KIND},
}


@dataclass(frozen=True)
class Odd:
    """`place`: the invalid attribute; `row` if the row as a whole is invalid."""

    name: str
    place: str
    row: Row


def sound(user: str, limit: str) -> Row:
    """A valid row with every attribute."""
    core = Core()
    ids = {"userId": user, "userLimitId": limit}
    core.deliver(
        created(1, value="500", **ids),
        created(2, activeUntil=START + DAY, progress="1.5", nextResetTime=START + DAY, **ids),
        progress_changed(3, remainingAmount="990", **ids),
        reset(4, **ids),
    )
    (state,) = readable(core.repository, user)
    return row_of(state)


def row_of(state: LimitState) -> Row:
    attributes = Limits().dump(state)
    return {**attributes, "version": fingerprint(attributes)}


def odd_rows(user: str, limit: str = "l-odd") -> Iterator[Odd]:
    """All invalid rows, each in its own limit, named after `limit` and a number."""
    for number, (name, place, path, value) in enumerate(_wrongs()):
        row = sound(user, f"{limit}-{number:03}")
        _put(row, path, value)
        yield Odd(name, place, row)
    row = sound(user, f"{limit}-bare")
    yield Odd("no register", "row", {name: row[name] for name in row if name not in REGISTERS})
    row = sound(user, f"{limit}-alone")
    yield Odd("the key alone", "version", {name: row[name] for name in ("userId", "userLimitId")})


def _wrongs() -> Iterator[tuple[str, str, tuple[str, ...], object]]:
    for name, values in (("version", NO_VERSION), ("brandId", NO_ID), ("currencyCode", NO_CURRENCY)):
        yield from _each(values, name)
    for register, members in REGISTERS.items():
        yield from _each(NO_REGISTER, register)
        for member, values in members.items():
            yield from _each(values, register, member)


def _each(values: Sequence[object], *path: str) -> Iterator[tuple[str, str, tuple[str, ...], object]]:
    place = ".".join(path)
    for value in values:
        yield f"{place}={'absent' if value is ABSENT else ascii(value)[:24]}", place, path, value


def _put(row: Row, path: tuple[str, ...], value: object) -> None:
    *outer, name = path
    part: Row = row
    for step in outer:
        # copy: rows share their registers
        part[step] = deepcopy(part[step])
        part = part[step]
    if value is ABSENT:
        del part[name]
    else:
        part[name] = value
