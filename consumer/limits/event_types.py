"""What each type of event does to a limit, and which warnings it causes.

A new type needs a model in events.py, two functions here, and a line in EVENTS (docs/how-to/add-an-event-type.md).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from consumer.limits import money
from consumer.limits.events import (
    LimitEvent,
    UserLimitCreated,
    UserLimitProgressChanged,
    UserLimitReset,
    odd_times,
    time_places,
)
from consumer.limits.state import Definition, Kind, LimitState, Register, Stamp

VALUE_DRIFT = "value_drift"
PROGRESS_DRIFT = "progress_drift"
RESET_DRIFT = "reset_drift"
NEGATIVE_AMOUNT = "negative_amount"
NEGATIVE_PROGRESS = "negative_progress"
OVER_LIMIT = "over_limit"
SEQUENCE_CONFLICT = "sequence_conflict"
SEQUENCE_JUMP = "sequence_jump"
TIME_DRIFT = "time_drift"
ODD_TIME = "odd_time"

LARGEST_JUMP = 1_000_000
"""An event is applied with a warning if its sequence number exceeds the stored one by more than this."""


@dataclass(frozen=True, slots=True)
class EventType:
    model: type[LimitEvent]
    state_of: Callable[[Any], LimitState]
    """The state that the event alone leads to."""
    warnings_of: Callable[[Any, LimitState | None], Iterator[str]]
    """The contradictions within the event, and between the event and the older stored state, if there is one."""


def created(event: UserLimitCreated) -> LimitState:
    stamp, payload = stamp_of(event), event.payload
    definition = Definition(
        value=payload.value,
        type=payload.type,
        period=payload.period,
        status=payload.status,
        active_from=payload.active_from,
        active_until=payload.active_until,
        created_at=event.created_at if payload.created_at is None else payload.created_at,
        progress=payload.progress,
    )
    return _state(event, definition=Register(stamp, definition), previous_value=_previous_in_event(event))


def progress_changed(event: UserLimitProgressChanged) -> LimitState:
    stamp = stamp_of(event)
    return _state(
        event,
        progress=Register(stamp, event.payload.progress),
        inferred_value=_register(stamp, _value_after(event)),
    )


def reset(event: UserLimitReset) -> LimitState:
    stamp, payload = stamp_of(event), event.payload
    return _state(
        event,
        progress=Register(stamp, money.ZERO),
        last_reset=stamp,
        inferred_value=_register(stamp, _value_before(event)),
        inferred_kind=Register(stamp, Kind(payload.type, payload.period)),
    )


def warnings_of_creation(_event: UserLimitCreated, _stored: LimitState | None) -> Iterator[str]:
    return iter(())


def warnings_of_progress(event: UserLimitProgressChanged, stored: LimitState | None) -> Iterator[str]:
    payload, value = event.payload, _value_of(stored)
    if payload.amount < 0:
        yield NEGATIVE_AMOUNT
    if payload.progress < 0:
        yield NEGATIVE_PROGRESS
    if stored is not None and payload.previous_progress != stored.used:
        yield PROGRESS_DRIFT
    if value is not None and payload.remaining_amount is not None and value != _value_after(event):
        yield VALUE_DRIFT
    if value is not None and payload.progress > value:
        yield OVER_LIMIT


def warnings_of_reset(event: UserLimitReset, stored: LimitState | None) -> Iterator[str]:
    value = _value_of(stored)
    if stored is not None and event.payload.reset_amount != stored.used:
        yield RESET_DRIFT
    if value is not None and value != _value_before(event):
        yield VALUE_DRIFT


EVENTS: Mapping[str, EventType] = {
    "USER_LIMIT_CREATED": EventType(UserLimitCreated, created, warnings_of_creation),
    "USER_LIMIT_PROGRESS_CHANGED": EventType(UserLimitProgressChanged, progress_changed, warnings_of_progress),
    "USER_LIMIT_RESET": EventType(UserLimitReset, reset, warnings_of_reset),
}


WARNINGS = (
    VALUE_DRIFT,
    PROGRESS_DRIFT,
    RESET_DRIFT,
    NEGATIVE_AMOUNT,
    NEGATIVE_PROGRESS,
    OVER_LIMIT,
    SEQUENCE_CONFLICT,
    SEQUENCE_JUMP,
    TIME_DRIFT,
    *sorted({f"{ODD_TIME}:{place}" for known in EVENTS.values() for place in time_places(known.model)}),
)
"""All kinds of warnings. An odd time has one kind per field."""


def warnings_of_times(event: LimitEvent) -> Iterator[str]:
    """The warnings about the times of an event of any type."""
    return (f"{ODD_TIME}:{place}" for place in odd_times(event))


def warnings_of_order(event: LimitEvent, stored: LimitState) -> Iterator[str]:
    """The warnings about the event's place in the order of the limit's events."""
    stamp, last = stamp_of(event), stored.last
    if any(known.sequence == stamp.sequence and known.event_id != stamp.event_id for known in stored.stamps()):
        yield SEQUENCE_CONFLICT
    if stamp.sequence - last.sequence > LARGEST_JUMP:
        yield SEQUENCE_JUMP
    if stamp.sequence < last.sequence and stamp.at > last.at and not repeats(stored, stamp):
        yield TIME_DRIFT


def repeats(stored: LimitState, stamp: Stamp) -> bool:
    """Whether a register of the limit was written by this event."""
    return any(stamp[:2] == known[:2] for known in stored.stamps())


def stamp_of(event: LimitEvent) -> Stamp:
    return Stamp(event.sequence_number, event.event_id, event.created_at)


def _state(event: LimitEvent, **registers: Any) -> LimitState:
    payload = event.payload
    return LimitState(
        user_id=payload.user_id,
        user_limit_id=payload.user_limit_id,
        brand_id=payload.brand_id,
        currency_code=payload.currency_code,
        next_reset=_register(stamp_of(event), payload.next_reset_time),
        **registers,
    )


def _register(stamp: Stamp, value: Any) -> Register[Any] | None:
    return None if value is None else Register(stamp, value)


def _value_of(stored: LimitState | None) -> Decimal | None:
    known = stored.known_value if stored else None
    return known.value if known else None


def _previous_in_event(event: UserLimitCreated) -> Register[Decimal] | None:
    """The previous value that the event carries, as if a CREATED with that value had come just before."""
    previous, stamp = event.payload.previous_limit_value, stamp_of(event)
    if previous is None or previous == event.payload.value:
        return None
    # One millisecond less: older than the definition of the same event, newer than every earlier event.
    return Register(stamp._replace(at=stamp.at - 1), previous)


def _value_after(event: UserLimitProgressChanged) -> Decimal | None:
    payload = event.payload
    if payload.remaining_amount is None:
        return None
    return _sum(payload.progress, payload.remaining_amount)


def _value_before(event: UserLimitReset) -> Decimal | None:
    return _sum(event.payload.reset_amount, event.payload.unused_amount)


def _sum(left: Decimal, right: Decimal) -> Decimal | None:
    """The sum, None if it has too many digits to be stored."""
    try:
        return money.add(left, right)
    except ValueError:
        return None
