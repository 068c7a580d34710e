"""Notices: a limit has reached a threshold, in percent of its value, in its current period.

A period begins with a RESET, the first one with the limit itself. Nothing else begins a period: a CREATED with another
value, status or next reset does not announce a threshold again. A limit, a period and a threshold always have the same
id. docs/how-to/send-notices.md describes the rule and its limits.
"""

import json
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from consumer.limits import money
from consumer.limits.events import LimitType, Period
from consumer.limits.state import Definition, LimitState
from consumer.limits.view import SECONDS, Money

TYPE = "Limit threshold reached"
ACTIVE = "ACTIVE"

_IDS = UUID("bbccf78c-0d52-476c-a48d-b66209f22567")
"""The namespace of the ids. With another one, receivers would get notices again that they already have."""

Beginning: TypeAlias = tuple[int, str] | None
"""Sequence number and event id of the RESET that began a period. None for the first period."""


class Reached(NamedTuple):
    """A threshold that the limit has reached in one of its periods."""

    period: Beginning
    threshold: int


class Notice(BaseModel):
    """Times are epoch milliseconds. Unknown fields are absent from the JSON."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True)

    id: str
    threshold: int
    user_id: str
    user_limit_id: str
    brand_id: str
    currency_code: str
    unit: str
    type: LimitType
    period: Period
    value: Money
    progress: Money
    remaining: Money
    reset_sequence_number: int | None = None
    next_reset_time: int | None = None
    last_sequence_number: int
    last_event_at: int

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def notices(old: LimitState | None, new: LimitState | None, thresholds: Iterable[int]) -> list[Notice]:
    """What is to be announced about the change of a stored limit, in the order of the thresholds.

    None stands for a limit that is not stored.
    """
    if new is None or new.definition is None:
        return []
    wanted = tuple(thresholds)
    crossed = reached(new, wanted) - reached(old, wanted)
    return [_notice(new, new.definition.value, each) for each in sorted(crossed, key=lambda each: each.threshold)]


def reached(state: LimitState | None, thresholds: Iterable[int]) -> set[Reached]:
    """The thresholds that a limit has reached in its current period. Empty if it is incomplete or not ACTIVE."""
    if state is None or state.definition is None or state.definition.value.status != ACTIVE:
        return set()
    period = _beginning(state)
    # Fractions: the precision of Decimal's context is lower than that of an amount.
    progress, value = 100 * Fraction(state.used), Fraction(state.definition.value.value)
    # A limit of 0 reaches every threshold with the first use, and none before it.
    return {Reached(period, each) for each in thresholds if 0 < progress >= each * value}


def _beginning(state: LimitState) -> Beginning:
    reset = state.last_reset
    return None if reset is None else (reset.sequence, reset.event_id)


def _notice(state: LimitState, definition: Definition, mark: Reached) -> Notice:
    return Notice(
        id=_id(state, mark),
        threshold=mark.threshold,
        user_id=state.user_id,
        user_limit_id=state.user_limit_id,
        brand_id=state.brand_id,
        currency_code=state.currency_code,
        unit=SECONDS if definition.type == "SESSION" else state.currency_code,
        type=definition.type,
        period=definition.period,
        value=definition.value,
        progress=state.used,
        remaining=money.subtract(definition.value, state.used),
        reset_sequence_number=mark.period and mark.period[0],
        next_reset_time=state.next_reset.value if state.next_reset else None,
        last_sequence_number=state.last.sequence,
        last_event_at=state.last.at,
    )


def _id(state: LimitState, mark: Reached) -> str:
    return str(uuid5(_IDS, json.dumps([state.user_id, state.user_limit_id, mark.period, mark.threshold])))
