"""Converts a limit's state to the attributes of an item and back. Amounts are Decimals, times and sequences integers.

Items are validated as strictly as events. A row written by another program would otherwise be merged with valid
events and stored again.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Protocol, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationError, model_validator

from consumer.engine.errors import Malformed
from consumer.engine.projection import Plain
from consumer.limits import money
from consumer.limits.events import LARGEST, Currency, Id, LimitType, Maybe, Period, Status, StrictModel, first_fault
from consumer.limits.state import Definition, Kind, LimitState, Register, Stamp

V_co = TypeVar("V_co", covariant=True)


def _whole(number: object) -> object:
    """An integer: boto3 returns every number of the table as a Decimal."""
    return int(number) if isinstance(number, Decimal) and number == number.to_integral_value() else number


def _amount(number: object) -> Decimal:
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic only converts ValueErrors
    return money.checked(Decimal(number))


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        raise ValueError("must not be negative")
    return amount


Whole = Annotated[int, BeforeValidator(_whole)]
Time = Annotated[Whole, Field(ge=-LARGEST, le=LARGEST)]
Amount = Annotated[Decimal, PlainValidator(_amount)]


class _Stamp(StrictModel):
    """`at` may be one less than any event time: see event_types._previous_in_event."""

    sequence: Annotated[Whole, Field(ge=1, le=LARGEST)]
    event_id: Id
    at: Annotated[Whole, Field(ge=-LARGEST - 1, le=LARGEST)]

    def stamp(self) -> Stamp:
        return Stamp(self.sequence, self.event_id, self.at)


class _Reset(_Stamp):
    def content(self) -> Stamp:
        return self.stamp()


class _Amount(_Stamp):
    value: Amount

    def content(self) -> Register[Decimal]:
        return Register(self.stamp(), self.value)


class _Time(_Stamp):
    value: Time

    def content(self) -> Register[int]:
        return Register(self.stamp(), self.value)


class _Kind(_Stamp):
    type: LimitType
    period: Period

    def content(self) -> Register[Kind]:
        return Register(self.stamp(), Kind(self.type, self.period))


class _Definition(_Stamp):
    value: Annotated[Amount, AfterValidator(_not_negative)]
    type: LimitType
    period: Period
    status: Status
    active_from: Time
    created_at: Time
    active_until: Maybe[Time] = None
    progress: Maybe[Amount] = None

    def content(self) -> Register[Definition]:
        parts = {name: getattr(self, name) for name in Definition.__struct_fields__}
        return Register(self.stamp(), Definition(**parts))


class _Content(Protocol[V_co]):
    def content(self) -> V_co: ...


class _Row(StrictModel):
    """The item without its version."""

    user_id: Id
    user_limit_id: Id
    brand_id: Id
    currency_code: Currency
    definition: Maybe[_Definition] = None
    previous_value: Maybe[_Amount] = None
    progress: Maybe[_Amount] = None
    next_reset: Maybe[_Time] = None
    last_reset: Maybe[_Reset] = None
    inferred_value: Maybe[_Amount] = None
    inferred_kind: Maybe[_Kind] = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.definition is None and self.progress is None:
            raise ValueError("neither definition nor progress")
        return self


def dump(state: LimitState) -> dict[str, Plain]:
    """The item: key and identity, then one map per register that is set. Attributes are absent, never null."""
    registers: dict[str, dict[str, Plain] | None] = {
        "definition": _dumped(state.definition, _definition),
        "previousValue": _dumped(state.previous_value, _value),
        "progress": _dumped(state.progress, _value),
        "nextReset": _dumped(state.next_reset, _value),
        "lastReset": None if state.last_reset is None else _stamp(state.last_reset),
        "inferredValue": _dumped(state.inferred_value, _value),
        "inferredKind": _dumped(state.inferred_kind, _kind),
    }
    return {
        "userId": state.user_id,
        "userLimitId": state.user_limit_id,
        "brandId": state.brand_id,
        "currencyCode": state.currency_code,
        **{name: register for name, register in registers.items() if register is not None},
    }


def load(item: Mapping[str, Any]) -> LimitState:
    """The state from an item that `dump` returned. Ignores unknown attributes. Raises Malformed."""
    try:
        row = _Row.model_validate(item)
    except ValidationError as invalid:
        raise Malformed(first_fault(invalid, "row")) from None
    return LimitState(
        user_id=row.user_id,
        user_limit_id=row.user_limit_id,
        brand_id=row.brand_id,
        currency_code=row.currency_code,
        definition=_content(row.definition),
        previous_value=_content(row.previous_value),
        progress=_content(row.progress),
        next_reset=_content(row.next_reset),
        last_reset=_content(row.last_reset),
        inferred_value=_content(row.inferred_value),
        inferred_kind=_content(row.inferred_kind),
    )


def _content(row: _Content[V_co] | None) -> V_co | None:
    return None if row is None else row.content()


def _dumped(register: Register[Any] | None, content: Callable[[Any], dict[str, Plain]]) -> dict[str, Plain] | None:
    return None if register is None else {**_stamp(register.stamp), **content(register.value)}


def _stamp(stamp: Stamp) -> dict[str, Plain]:
    return {"sequence": stamp.sequence, "eventId": stamp.event_id, "at": stamp.at}


def _value(value: Plain) -> dict[str, Plain]:
    return {"value": value}


def _kind(kind: Kind) -> dict[str, Plain]:
    return {"type": kind.type, "period": kind.period}


def _definition(definition: Definition) -> dict[str, Plain]:
    content: dict[str, Plain | None] = {
        "value": definition.value,
        "type": definition.type,
        "period": definition.period,
        "status": definition.status,
        "activeFrom": definition.active_from,
        "createdAt": definition.created_at,
        "activeUntil": definition.active_until,
        "progress": definition.progress,
    }
    return {name: value for name, value in content.items() if value is not None}
