"""The models of the events of a limit.

Field names, types and bounds are those of the contract (docs/reference/events.md). Unknown fields are ignored.
"""

from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from consumer.limits import money

LARGEST = 2**53 - 1
"""The largest integer that all JSON parsers represent exactly."""

MAX_SEQUENCE = 1_000_000_000
"""More than any user's number of events, and less than epoch seconds: a higher sequence number is an error."""

EARLIEST = 946_684_800_000
"""2000-01-01T00:00Z in epoch milliseconds. An earlier time is probably in seconds."""
LATEST = 4_102_444_800_000
"""2100-01-01T00:00Z in epoch milliseconds. A later time is probably in microseconds, or stands for "forever"."""

OUT_OF_SCOPE = frozenset(
    {
        "LIMIT_USER_CREATED",
        "LIMIT_USER_PENDING_PAYMENT_CREATED",
        "LIMIT_USER_PENDING_PAYMENT_PROCESSED",
        "USER_LIMIT_CHANGE_SOURCE_ADDED",
    }
)
"""Types in the same stream that do not affect the state of a limit."""

T = TypeVar("T")


class NotNull:
    """A field that may be absent, but not null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (kept,) = (part for part in get_args(source) if part is not NoneType)
        return handler.generate_schema(kept)


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _amount_schema(sign: str) -> WithJsonSchema:
    """The JSON Schema of an amount. A pattern can limit the digits before and after the point, but not their sum."""
    digits, decimals = money.DIGITS, money.DECIMALS
    pattern = rf"^{sign}(0|[1-9][0-9]{{0,{digits - 1}}})(\.[0-9]{{1,{decimals}}})?$"
    text = f"A decimal string of at most {digits} significant digits, {decimals} of them after the point."
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": text})


Maybe = Annotated[T | None, NotNull()]
Millis = Annotated[int, Field(ge=-LARGEST, le=LARGEST, description="Milliseconds since 1970-01-01T00:00Z.")]
PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f]+$"
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=PRINTABLE)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.")]
Amount = Annotated[Decimal, PlainValidator(money.parse), _amount_schema("-?")]
Positive = Annotated[Amount, AfterValidator(_not_negative), _amount_schema("")]

Status = Literal["ACTIVE", "CANCELED", "FUTURE", "IN_COOLDOWN"]
Period = Literal["CALENDAR_DAY", "CALENDAR_WEEK", "CALENDAR_MONTH", "DAY", "WEEK", "MONTH", "INDEFINITE", "INSTANCE"]
LimitType = Literal["BALANCE", "BET", "DEPOSIT", "LOSS", "SESSION"]


class StrictModel(BaseModel):
    """camelCase in JSON, no type conversion, unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)


class Context(StrictModel):
    correlation_id: Maybe[str] = None


class Payload(StrictModel):
    """The fields of every payload."""

    brand_id: Id
    currency_code: Currency
    next_reset_time: Maybe[Millis] = None
    user_id: Id
    user_limit_id: Id


class CreatedPayload(Payload):
    """The limit as the user set it."""

    active_from: Millis
    active_until: Maybe[Millis] = None
    created_at: Maybe[Millis] = None
    period: Period
    previous_limit_value: Maybe[Amount] = None
    progress: Maybe[Amount] = None
    status: Status
    type: LimitType
    value: Positive


class ProgressChangedPayload(Payload):
    """`amount` is added to `previous_progress`. It is negative if some of the limit was given back."""

    amount: Amount
    previous_progress: Amount
    remaining_amount: Maybe[Amount] = None

    @property
    def progress(self) -> Decimal:
        """The progress after the event."""
        return money.add(self.previous_progress, self.amount)

    @model_validator(mode="after")
    def _progress_fits(self) -> Self:
        try:
            money.add(self.previous_progress, self.amount)
        except ValueError:
            raise ValueError("previousProgress + amount does not fit in 38 digits") from None
        return self


class ResetPayload(Payload):
    """A new period began. `reset_amount` of the last one was used, `unused_amount` was not."""

    period: Period
    reset_amount: Amount
    reset_percentage: Amount
    type: LimitType
    unused_amount: Amount


class LimitEvent(StrictModel):
    """The fields of every event. `sequence_number` increases per user, over all types of events."""

    aggregate_id: Id
    context: Context
    created_at: Millis
    event_id: Id
    sequence_number: Annotated[int, Field(ge=1, le=LARGEST)]
    source: str
    type: str
    payload: Payload


class UserLimitCreated(LimitEvent):
    type: Literal["USER_LIMIT_CREATED"]
    payload: CreatedPayload


class UserLimitProgressChanged(LimitEvent):
    type: Literal["USER_LIMIT_PROGRESS_CHANGED"]
    payload: ProgressChangedPayload


class UserLimitReset(LimitEvent):
    type: Literal["USER_LIMIT_RESET"]
    payload: ResetPayload


def is_odd(millis: int) -> bool:
    """Whether a time is outside 2000 to 2100, which usually means another unit."""
    return not EARLIEST <= millis < LATEST


def odd_times(event: LimitEvent, model: type[LimitEvent]) -> list[str]:
    """The paths of the odd times, such as `createdAt` or `payload.activeFrom`, in an event of the model."""
    odd = ["createdAt"] if is_odd(event.created_at) else []
    for name, place in _times(model):
        millis = getattr(event.payload, name)
        if millis is not None and is_odd(millis):
            odd.append(place)
    return odd


def time_places(model: type[LimitEvent]) -> list[str]:
    """The paths of all times in events of the model."""
    return ["createdAt", *(place for _, place in _times(model))]


@cache
def _times(model: type[LimitEvent]) -> tuple[tuple[str, str], ...]:
    """The fields of the payload that hold times, with their paths in the event."""
    hints = get_type_hints(get_type_hints(model)["payload"], include_extras=True)
    return tuple((name, f"payload.{to_camel(name)}") for name, hint in hints.items() if _is_time(hint))


def _is_time(hint: object) -> bool:
    return hint == Millis or any(_is_time(part) for part in get_args(hint))


def first_fault(invalid: ValidationError, whole: str) -> str:
    """The path and the fault, without the value. `whole` is the path if the fault is not in a single field."""
    # The detail goes to logs and the quarantine's listing, where personal data must not appear.
    first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"])) or whole
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
