"""What each type of event does to a limit, and which warnings it causes.

A new type needs a model in events.py, two functions here, and a line in EVENTS (docs/how-to/add-an-event-type.md).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from consumer.engine.projection import Review
from consumer.limits import money
from consumer.limits.events import (
    LimitEvent,
    UserLimitCreated,
    UserLimitProgressChanged,
    UserLimitReset,
    odd_times,
    time_places,
)
from consumer.limits.state import Definition, Kind, LimitState, Register, Stamp, is_join, is_later

V = TypeVar("V")

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

NOTHING_FOUND = Review()
LARGEST_JUMP = 1_000_000
"""An event is applied with a warning if its sequence number exceeds the stored one by more than this."""


@dataclass(frozen=True, slots=True)
class EventType:
    model: type[LimitEvent]
    state_of: Callable[[Any], LimitState]
    """The state that the event alone leads to."""
    warnings_of: Callable[[Any, LimitState, LimitState | None], Iterator[str]]
    """The contradictions within the event, and between the event and the older stored state, if there is one.

    Called with the event, the state that it alone leads to, and the stored state."""
    is_overtaken: Callable[[Any, LimitState, Stamp], bool] = lambda _event, _stored, _stamp: False
    """A shortcut for replays. If true, the event changes nothing: later events wrote all that it would write."""


def created(event: UserLimitCreated) -> LimitState:
    stamp, payload = stamp_of(event), event.payload
    definition = Definition(
        payload.value,
        payload.type,
        payload.period,
        payload.status,
        payload.active_from,
        event.created_at if payload.created_at is None else payload.created_at,
        payload.active_until,
        payload.progress,
    )
    return _state(event, stamp, definition=Register(stamp, definition), previous_value=_previous_in_event(event))


def progress_changed(event: UserLimitProgressChanged) -> LimitState:
    stamp, payload = stamp_of(event), event.payload
    progress, remaining = payload.progress, payload.remaining_amount
    value = None if remaining is None else _sum(progress, remaining)
    return _state(event, stamp, progress=Register(stamp, progress), inferred_value=_register(stamp, value))


def progress_is_overtaken(event: UserLimitProgressChanged, stored: LimitState, stamp: Stamp) -> bool:
    payload = event.payload
    return (
        is_later(stored.progress, stamp)
        and (payload.remaining_amount is None or is_later(stored.inferred_value, stamp))
        and (payload.next_reset_time is None or is_later(stored.next_reset, stamp))
        and is_join(stored)
    )


def reset(event: UserLimitReset) -> LimitState:
    stamp, payload = stamp_of(event), event.payload
    return _state(
        event,
        stamp,
        progress=Register(stamp, money.ZERO),
        last_reset=stamp,
        inferred_value=_register(stamp, _sum(payload.reset_amount, payload.unused_amount)),
        inferred_kind=Register(stamp, Kind(payload.type, payload.period)),
    )


def warnings_of_creation(_event: UserLimitCreated, _alone: LimitState, _stored: LimitState | None) -> Iterator[str]:
    return iter(())


def warnings_of_progress(
    event: UserLimitProgressChanged, alone: LimitState, stored: LimitState | None
) -> Iterator[str]:
    payload, progress = event.payload, alone.used
    value = None if stored is None else stored.value
    if payload.amount < money.ZERO:
        yield NEGATIVE_AMOUNT
    if progress < money.ZERO:
        yield NEGATIVE_PROGRESS
    if stored is not None and payload.previous_progress != stored.used:
        yield PROGRESS_DRIFT
    if value is not None and payload.remaining_amount is not None and value != alone.value:
        yield VALUE_DRIFT
    if value is not None and progress > value:
        yield OVER_LIMIT


def warnings_of_reset(event: UserLimitReset, alone: LimitState, stored: LimitState | None) -> Iterator[str]:
    value = None if stored is None else stored.value
    if stored is not None and event.payload.reset_amount != stored.used:
        yield RESET_DRIFT
    if value is not None and value != alone.value:
        yield VALUE_DRIFT


EVENTS: Mapping[str, EventType] = {
    "USER_LIMIT_CREATED": EventType(UserLimitCreated, created, warnings_of_creation),
    "USER_LIMIT_PROGRESS_CHANGED": EventType(
        UserLimitProgressChanged, progress_changed, warnings_of_progress, progress_is_overtaken
    ),
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


def warnings_of_times(event: LimitEvent, model: type[LimitEvent]) -> list[str]:
    """The warnings about the times of an event of any type."""
    return [f"{ODD_TIME}:{place}" for place in odd_times(event, model)]


def review_of_order(stamp: Stamp, stamps: Sequence[Stamp], last: Stamp) -> Review:
    """Compares an event with the stamps of a limit, the latest of which is `last`."""
    ahead = stamp.sequence - last.sequence
    if ahead > 0:
        return Review(False, (SEQUENCE_JUMP,)) if ahead > LARGEST_JUMP else NOTHING_FOUND
    same = {known.event_id for known in stamps if known.sequence == stamp.sequence}
    repeated = stamp.event_id in same
    drifts = ahead < 0 and stamp.at > last.at and not repeated
    if not same and not drifts:
        return NOTHING_FOUND
    return Review(repeated, (SEQUENCE_CONFLICT,) * (len(same) > repeated) + (TIME_DRIFT,) * drifts)


def stamp_of(event: LimitEvent) -> Stamp:
    return Stamp(event.sequence_number, event.event_id, event.created_at)


def _state(  # noqa: PLR0913 - the registers
    event: LimitEvent,
    stamp: Stamp,
    *,
    definition: Register[Definition] | None = None,
    previous_value: Register[Decimal] | None = None,
    progress: Register[Decimal] | None = None,
    last_reset: Stamp | None = None,
    inferred_value: Register[Decimal] | None = None,
    inferred_kind: Register[Kind] | None = None,
) -> LimitState:
    payload = event.payload
    return LimitState(
        payload.user_id,
        payload.user_limit_id,
        payload.brand_id,
        payload.currency_code,
        definition,
        previous_value,
        progress,
        _register(stamp, payload.next_reset_time),
        last_reset,
        inferred_value,
        inferred_kind,
    )


def _register(stamp: Stamp, value: V | None) -> Register[V] | None:
    return None if value is None else Register(stamp, value)


def _previous_in_event(event: UserLimitCreated) -> Register[Decimal] | None:
    """The previous value that the event carries, as if a CREATED with that value had come just before."""
    previous, stamp = event.payload.previous_limit_value, stamp_of(event)
    if previous is None or previous == event.payload.value:
        return None
    # One millisecond less: older than the definition of the same event, newer than every earlier event.
    return Register(Stamp(stamp.sequence, stamp.event_id, stamp.at - 1), previous)


def _sum(left: Decimal, right: Decimal) -> Decimal | None:
    """The sum, None if it has too many digits to be stored."""
    try:
        return money.add(left, right)
    except ValueError:
        return None
