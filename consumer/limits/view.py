"""The read model of a limit: camelCase JSON, amounts as plain decimal strings."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from consumer.limits import money
from consumer.limits.events import LimitType, Period, Status, is_odd
from consumer.limits.state import LimitState

SECONDS = "seconds"

Money = Annotated[
    Decimal,
    PlainSerializer(money.plain, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{money.FORM}$"}),
]


class UserLimit(BaseModel):
    """One limit. Times are epoch milliseconds. Unknown fields are absent from the JSON.

    unit             `seconds` for a SESSION limit, otherwise the currency; never add up different units or types
    complete         the limit's CREATED was processed; otherwise value, type and period are inferred or absent
    reset_overdue    the next reset was due and has not arrived: progress is that of the last period
    odd_times        the fields with a time outside 2000 to 2100; if `nextResetTime` is one of them, ignore
                     reset_overdue
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True)

    user_id: str
    user_limit_id: str
    brand_id: str
    currency_code: str
    unit: str
    type: LimitType | None = None
    period: Period | None = None
    status: Status | None = None
    value: Money | None = None
    progress: Money
    remaining: Money | None = None
    previous_limit_value: Money | None = None
    active_from: int | None = None
    active_until: int | None = None
    created_at: int | None = None
    next_reset_time: int | None = None
    reset_overdue: bool
    odd_times: tuple[str, ...] | None = None
    complete: bool
    last_sequence_number: int
    last_event_at: int

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def view(state: LimitState, now_millis: int) -> UserLimit:
    """The limit as of `now_millis`, epoch milliseconds."""
    definition = state.definition.value if state.definition else None
    kind = definition or (state.inferred_kind.value if state.inferred_kind else None)
    value = state.value
    times = _times(state)
    return UserLimit(
        user_id=state.user_id,
        user_limit_id=state.user_limit_id,
        brand_id=state.brand_id,
        currency_code=state.currency_code,
        unit=SECONDS if kind and kind.type == "SESSION" else state.currency_code,
        type=kind.type if kind else None,
        period=kind.period if kind else None,
        status=definition.status if definition else None,
        value=value,
        progress=state.used,
        remaining=None if value is None else money.subtract(value, state.used),
        previous_limit_value=state.previous_value.value if state.previous_value else None,
        **times,
        reset_overdue=_reset_overdue(state, now_millis),
        odd_times=tuple(to_camel(name) for name, millis in times.items() if is_odd(millis)) or None,
        complete=definition is not None,
        last_sequence_number=state.last.sequence,
    )


def _times(state: LimitState) -> dict[str, int]:
    """The known times, by field."""
    definition = state.definition.value if state.definition else None
    times = {
        "active_from": definition.active_from if definition else None,
        "active_until": definition.active_until if definition else None,
        "created_at": definition.created_at if definition else None,
        "next_reset_time": state.next_reset.value if state.next_reset else None,
        "last_event_at": state.last.at,
    }
    return {name: millis for name, millis in times.items() if millis is not None}


def _reset_overdue(state: LimitState, now_millis: int) -> bool:
    if state.next_reset is None or now_millis < state.next_reset.value:
        return False
    # Only a RESET later than the event that set this time is the one that was due.
    return state.last_reset is None or state.last_reset <= state.next_reset.stamp
