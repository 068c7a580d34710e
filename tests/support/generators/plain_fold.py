"""The fold without any shortcut: what consumer/engine/folding.py and consumer/limits must lead to.

Each event is merged and compared in full. The types of events (`state_of`, the warnings) are those of the service.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from consumer.engine.errors import Reason, Rejected
from consumer.engine.folding import Outcome
from consumer.limits.event_types import EVENTS, LARGEST_JUMP
from consumer.limits.events import EARLIEST, LATEST, LimitEvent
from consumer.limits.state import LimitState, Register, Stamp

TIMES = {
    "createdAt": ("created_at",),
    "payload.activeFrom": ("payload", "active_from"),
    "payload.activeUntil": ("payload", "active_until"),
    "payload.createdAt": ("payload", "created_at"),
    "payload.nextResetTime": ("payload", "next_reset_time"),
}
LimitOutcome = tuple[str, Outcome, tuple[str, ...], str | None]


def plain_fold(stored: LimitState | None, events: Sequence[LimitEvent]) -> tuple[LimitState | None, list[LimitOutcome]]:
    """The state after all events; and per event its type, its outcome, its warnings and why it was rejected."""
    outcomes: list[LimitOutcome] = []
    for event in events:
        alone = EVENTS[event.type].state_of(event)
        merged = alone if stored is None else joined(stored, alone)
        try:
            repeated, warnings = _reviewed(stored, event, alone, merged)
        except Rejected as rejected:
            outcomes.append((event.type, Outcome.QUARANTINED, (), str(rejected)))
            continue
        unchanged = Outcome.DUPLICATE if repeated else Outcome.STALE
        outcomes.append((event.type, unchanged if merged == stored else Outcome.APPLIED, warnings, None))
        stored = merged
    return stored, outcomes


def joined(left: LimitState, right: LimitState) -> LimitState:
    definition = _later(left.definition, right.definition)
    brand, currency = max((left.brand_id, left.currency_code), (right.brand_id, right.currency_code))
    return LimitState(
        left.user_id,
        left.user_limit_id,
        brand,
        currency,
        definition=definition,
        previous_value=_previous(definition, left, right),
        progress=_later(left.progress, right.progress),
        next_reset=_later(left.next_reset, right.next_reset),
        last_reset=max(filter(None, (left.last_reset, right.last_reset)), default=None),
        inferred_value=_later(left.inferred_value, right.inferred_value),
        inferred_kind=_later(left.inferred_kind, right.inferred_kind),
    )


def _later(left: Any, right: Any) -> Any:
    return max((each for each in (left, right) if each is not None), key=_rank, default=None)


def _rank(register: Register[Any]) -> tuple[Stamp, Decimal, str]:
    defined = getattr(register.value, "value", Decimal(0))
    return register.stamp, defined, repr(register.value)


def _previous(definition: Any, left: LimitState, right: LimitState) -> Register[Decimal] | None:
    if definition is None:
        return None
    both = [each for each in (left.definition, right.definition) if each is not None]
    seen = [Register(each.stamp, each.value.value) for each in both]
    seen += [each for each in (left.previous_value, right.previous_value) if each is not None]
    others = [each for each in seen if each.value != definition.value.value]
    return max(others, key=lambda each: (each.stamp, each.value), default=None)


def _reviewed(
    stored: LimitState | None, event: LimitEvent, alone: LimitState, merged: LimitState
) -> tuple[bool, tuple[str, ...]]:
    warnings_of = EVENTS[event.type].warnings_of
    if stored is None:
        return False, (*_odd_times(event), *warnings_of(event, alone, None))
    for name in ("brandId", "currencyCode"):
        place = "brand_id" if name == "brandId" else "currency_code"
        if getattr(event.payload, place) != getattr(stored, place):
            raise Rejected(Reason.IDENTITY, f"payload.{name}: differs from the stored limit's")
    stamp = Stamp(event.sequence_number, event.event_id, event.created_at)
    known = _stamps(stored)
    last, repeated = (
        max(known),
        any((each.sequence, each.event_id) == (stamp.sequence, stamp.event_id) for each in known),
    )
    warnings = [*_order(stamp, known, last, repeated=repeated)]
    if stamp > last:
        warnings += [*_odd_times(event), *warnings_of(event, alone, stored)]
    elif merged != stored:
        warnings += [*_odd_times(event), *warnings_of(event, alone, None)]
    return repeated, tuple(warnings)


def _order(stamp: Stamp, known: Sequence[Stamp], last: Stamp, *, repeated: bool) -> Iterator[str]:
    if any(each.sequence == stamp.sequence and each.event_id != stamp.event_id for each in known):
        yield "sequence_conflict"
    if stamp.sequence - last.sequence > LARGEST_JUMP:
        yield "sequence_jump"
    if stamp.sequence < last.sequence and stamp.at > last.at and not repeated:
        yield "time_drift"


def _stamps(state: LimitState) -> list[Stamp]:
    names = ("definition", "previous_value", "progress", "next_reset", "inferred_value", "inferred_kind")
    registers = [getattr(state, name) for name in names]
    return [*(each.stamp for each in registers if each), *filter(None, [state.last_reset])]


def _odd_times(event: LimitEvent) -> Iterator[str]:
    for place, names in TIMES.items():
        value: Any = event
        for name in names:
            value = getattr(value, name, None)
        if value is not None and not EARLIEST <= value < LATEST:
            yield f"odd_time:{place}"
