"""Events as the platform sends them, to be combined or made invalid, and records that carry them.

Payload fields have their names on the wire: created(3, value="1000").
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from consumer.engine.records import Position, Record

Event: TypeAlias = dict[str, Any]

USER = "u-7Qd2"
LIMIT = "l-day"
BRAND = "000000000000000000000001"
DAY = 86_400_000
START = 1_767_225_600_000
"""Epoch milliseconds. Each event is one second later than the one with the previous sequence number."""
_LAST = 10**9


def created(sequence: int = 1, event_id: str | None = None, **payload: Any) -> Event:
    """A deposit limit of 1000 per day."""
    limit = {"activeFrom": START, "period": "DAY", "status": "ACTIVE", "type": "DEPOSIT", "value": "1000"}
    return _event("USER_LIMIT_CREATED", sequence, event_id, limit | payload)


def progress_changed(sequence: int = 2, event_id: str | None = None, **payload: Any) -> Event:
    """A progress of 10, from 0."""
    return _event(
        "USER_LIMIT_PROGRESS_CHANGED", sequence, event_id, {"amount": "10", "previousProgress": "0"} | payload
    )


def reset(sequence: int = 3, event_id: str | None = None, **payload: Any) -> Event:
    """The end of a period in which 10 of 1000 were used."""
    period = {"period": "DAY", "type": "DEPOSIT"}
    amounts = {"resetAmount": "10", "resetPercentage": "1.00", "unusedAmount": "990"}
    return _event("USER_LIMIT_RESET", sequence, event_id, period | amounts | payload)


def foreign(kind: str, sequence: int = 4) -> Event:
    """An event of a foreign type, with a payload that would be invalid for a limit event."""
    return _event(kind, sequence, None, {}) | {"payload": {"amount": 5, "userLimitId": None}}


MAKERS: Mapping[str, Callable[..., Event]] = {
    "created": created,
    "progress": progress_changed,
    "reset": reset,
}
"""What makes a valid event of each type, by a short name."""


def encode(event: object) -> bytes:
    return json.dumps(event).encode()


def position(number: int = 1) -> Position:
    return Position("limits", "shardId-000000000000", f"{number:056}")


def record(data: object, number: int = 1) -> Record:
    """A record with `data`: bytes unchanged, anything else as JSON."""
    return Record(position(number), data if isinstance(data, bytes) else encode(data), START)


def records(*data: object) -> list[Record]:
    return [record(each, number) for number, each in enumerate(data, 1)]


def _event(kind: str, sequence: int, event_id: str | None, payload: Event) -> Event:
    about = {"brandId": BRAND, "currencyCode": "SEK", "userId": USER, "userLimitId": LIMIT} | payload
    return {
        "aggregateId": about["userId"],
        "context": {"correlationId": "c-1"},
        "createdAt": START + 1_000 * min(sequence, _LAST),
        "eventId": event_id or f"e-{sequence:04}",
        "payload": about,
        "sequenceNumber": sequence,
        "source": "limitUser",
        "type": kind,
    }
