"""The balance of each wallet, from the running totals of the services that move money.

A sum of amounts is no join: an amount that is delivered twice would be added twice. So each source sends the total of
all that it has moved, in cents, and counts its events:

    {"user": "u-1", "currency": "EUR", "source": "deposits", "number": 3, "at": 1767600000000, "total": 12500}

The state keeps the latest total of each source, and the balance is their sum. A total that is delivered twice, late or
after its successor changes nothing. With a single source, the total is the balance itself.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from consumer.engine.errors import Malformed, Reason, Rejected
from consumer.engine.projection import Key, Plain, Review
from consumer.engine.wire import parse_object

CONTRADICTION = "contradiction"
"""The warning for two events of one source with one number and different totals. The higher total is kept."""

Source = Literal["deposits", "withdrawals", "bets", "wins"]
"""The sources. They are few, so that a state never grows beyond one total of each."""


def whole(number: object) -> object:
    """An integer for a whole Decimal, which is how DynamoDB returns every number."""
    return int(number) if isinstance(number, Decimal) and number == number.to_integral_value() else number


Whole = Annotated[int, BeforeValidator(whole)]
Count = Annotated[Whole, Field(ge=1, lt=2**53)]
Cents = Annotated[Whole, Field(gt=-(2**53), lt=2**53)]


class Values(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Wallet(Values):
    user: Annotated[str, Field(min_length=1, max_length=100)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]


class Movement(Wallet):
    """An event. `at` is in epoch milliseconds; `total` is negative for a source that takes money out."""

    source: Source
    number: Count
    at: Annotated[int, Field(ge=0, lt=2**53)]
    total: Cents


class Total(Values):
    """What a source has moved up to its event `number`."""

    number: Count
    cents: Cents

    @property
    def rank(self) -> tuple[int, int]:
        """The later total has the greater rank. All fields are in it: different totals must never share a rank."""
        return (self.number, self.cents)


class Balance(Wallet):
    """A state. `cents` is stored for readers; it is always the sum of the totals."""

    totals: Annotated[Mapping[Source, Total], Field(min_length=1)]
    cents: Whole

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.cents != sum(total.cents for total in self.totals.values()):
            raise ValueError("cents is not the sum of the totals")
        return self


class Wallets:
    """Implements consumer.engine.projection.Projection."""

    key_names = ("user", "currency")

    def decode(self, data: bytes) -> Movement:
        try:
            return Movement.model_validate(parse_object(data))
        except ValidationError as invalid:
            raise Rejected(Reason.SCHEMA, _first_fault(invalid)) from None

    def type_of(self, event: Movement) -> str:
        return event.source

    def time_of(self, event: Movement) -> int:
        return event.at

    def correlation_id(self, event: Movement) -> str:
        return f"{event.source}-{event.number}"

    def key(self, event: Movement) -> Key:
        return (event.user, event.currency)

    def state_of(self, event: Movement) -> Balance:
        return _balance(event, {event.source: Total(number=event.number, cents=event.total)})

    def merge(self, left: Balance, right: Balance) -> Balance:
        later = {source: total for source, total in right.totals.items() if _is_later(total, left.totals.get(source))}
        return _balance(left, {**left.totals, **later}) if later else left

    def review(self, stored: Balance | None, event: Movement, alone: Balance, *, changes: bool) -> Review:  # noqa: ARG002
        before = None if stored is None else stored.totals.get(event.source)
        if before is None or before.number != event.number:
            return Review()
        return Review(repeated=True) if before.cents == event.total else Review(warnings=(CONTRADICTION,))

    def review_overtaken(self, stored: Balance, event: Movement) -> Review | None:
        before = stored.totals.get(event.source)
        return Review() if before is not None and before.number > event.number else None

    def dump(self, kept: Balance) -> dict[str, Plain]:
        return kept.model_dump()

    def load(self, attributes: Mapping[str, Any]) -> Balance:
        try:
            return Balance.model_validate(attributes)
        except ValidationError as invalid:
            raise Malformed(_first_fault(invalid)) from None


def _is_later(total: Total, other: Total | None) -> bool:
    return other is None or total.rank > other.rank


def _balance(wallet: Wallet, totals: Mapping[Source, Total]) -> Balance:
    cents = sum(total.cents for total in totals.values())
    return Balance(user=wallet.user, currency=wallet.currency, totals=totals, cents=cents)


def _first_fault(invalid: ValidationError) -> str:
    """Where the data is wrong and why, without the data itself."""
    fault = invalid.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['type']}"
