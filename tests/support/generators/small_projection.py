"""A small projection that is not about limits: the highest reading of each place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored, Key, Plain, Review
from consumer.engine.wire import parse_object


@dataclass(frozen=True, slots=True)
class Reading:
    place: str
    number: int


@dataclass(frozen=True, slots=True)
class Peak:
    """`note`: an optional attribute."""

    place: str
    highest: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Peaks:
    """Implements engine.projection.Projection. Readings below zero are refused; those over 1000 raise a warning."""

    key_names: tuple[str, str] = ("region", "place")
    warning_kinds: tuple[str, ...] = ("high",)

    def decode(self, data: bytes) -> Reading | Ignored:
        try:
            return Reading(**parse_object(data))
        except TypeError:
            raise Rejected(Reason.SCHEMA, "place and number are needed") from None

    def type_of(self, _event: Reading) -> str:
        return "READING"

    def time_of(self, event: Reading) -> int:
        return event.number

    def correlation_id(self, event: Reading) -> str:
        return f"c-{event.number}"

    def key(self, event: Reading) -> Key:
        return ("north", event.place)

    def state_of(self, event: Reading) -> Peak:
        return Peak(event.place, event.number)

    def merge(self, left: Peak, right: Peak) -> Peak:
        return max(left, right, key=lambda peak: peak.highest)

    def review(self, stored: Peak | None, event: Reading, alone: Peak, *, changes: bool) -> Review:  # noqa: ARG002
        if event.number < 0:
            raise Rejected(Reason.SCHEMA, "number: below zero")
        repeated = stored is not None and stored.highest == event.number
        return Review(repeated, ("high",) if event.number > 1_000 else ())

    def review_overtaken(self, stored: Peak, event: Reading) -> None:  # noqa: ARG002
        return None  # `merge` is as fast

    def dump(self, kept: Peak) -> dict[str, Plain]:
        note: dict[str, Plain] = {} if kept.note is None else {"note": kept.note}
        return {"region": "north", "place": kept.place, "highest": kept.highest, **note}

    def load(self, attributes: Mapping[str, Any]) -> Peak:
        return Peak(attributes["place"], int(attributes["highest"]), attributes.get("note"))
