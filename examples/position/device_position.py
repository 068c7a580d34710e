"""The last known position of each device of a fleet.

An event is a report, with coordinates in millionths of a degree:

    {"fleet": "north", "device": "van-7", "number": 17,
     "at": 1767600000000, "latitude": 59329300, "longitude": 18068600}

`number` counts the reports of a device. The state is the report with the highest number.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from consumer.engine.errors import Malformed, Reason, Rejected
from consumer.engine.projection import Key, Plain, Review
from consumer.engine.wire import parse_object

CLOCK_WENT_BACK = "clock_went_back"
"""The warning for a later report with an earlier time: the clock of the device is wrong."""


def whole(number: object) -> object:
    """An integer for a whole Decimal, which is how DynamoDB returns every number."""
    return int(number) if isinstance(number, Decimal) and number == number.to_integral_value() else number


Name = Annotated[str, Field(min_length=1, max_length=100)]
Whole = Annotated[int, BeforeValidator(whole)]


class Report(BaseModel):
    """A report of a device: both the event and the state. `at` is in epoch milliseconds."""

    model_config = ConfigDict(strict=True, frozen=True)

    fleet: Name
    device: Name
    number: Annotated[Whole, Field(ge=1, lt=2**53)]
    at: Annotated[Whole, Field(ge=0, lt=2**53)]
    latitude: Annotated[Whole, Field(ge=-90_000_000, le=90_000_000)]
    longitude: Annotated[Whole, Field(ge=-180_000_000, le=180_000_000)]

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """The later report has the greater rank. All fields are in it: two reports must never share a rank."""
        return (self.number, self.at, self.latitude, self.longitude)


class LastPosition:
    """Implements consumer.engine.projection.Projection."""

    key_names = ("fleet", "device")

    def decode(self, data: bytes) -> Report:
        try:
            return Report.model_validate(parse_object(data))
        except ValidationError as invalid:
            raise Rejected(Reason.SCHEMA, _first_fault(invalid)) from None

    def type_of(self, event: Report) -> str:  # noqa: ARG002 - there is only one
        return "POSITION_REPORTED"

    def time_of(self, event: Report) -> int:
        return event.at

    def correlation_id(self, event: Report) -> str:
        return f"{event.device}-{event.number}"

    def key(self, event: Report) -> Key:
        return (event.fleet, event.device)

    def state_of(self, event: Report) -> Report:
        return event

    def merge(self, left: Report, right: Report) -> Report:
        return right if right.rank > left.rank else left

    def review(self, stored: Report | None, event: Report, alone: Report, *, changes: bool) -> Review:  # noqa: ARG002
        went_back = changes and stored is not None and event.at < stored.at
        return Review(stored == event, (CLOCK_WENT_BACK,) if went_back else ())

    def review_overtaken(self, stored: Report, event: Report) -> None:  # noqa: ARG002
        return None  # `merge` is as fast

    def dump(self, kept: Report) -> dict[str, Plain]:
        return kept.model_dump()

    def load(self, attributes: Mapping[str, Any]) -> Report:
        try:
            return Report.model_validate(attributes)
        except ValidationError as invalid:
            raise Malformed(_first_fault(invalid)) from None


def _first_fault(invalid: ValidationError) -> str:
    """Where the data is wrong and why, without the data itself."""
    fault = invalid.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['type']}"
