"""The limits as a projection the engine can keep."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored, Key, Plain, Review
from consumer.limits import codec, events, state
from consumer.limits.event_types import EVENTS, EventType, doubts_of_order, own_doubts, repeats, stamp_of
from consumer.limits.events import MAX_SEQUENCE, LimitEvent
from consumer.limits.state import LimitState


@dataclass(frozen=True, slots=True)
class Limits:
    """Implements engine.projection.Projection for LimitEvent and LimitState.

    types         the events it takes
    max_sequence  a higher sequence number is refused: it would freeze the limit, as nothing after it could win
    """

    key_names: tuple[str, str] = ("userId", "userLimitId")
    types: Mapping[str, EventType] = field(default_factory=lambda: EVENTS, repr=False)
    max_sequence: int = MAX_SEQUENCE

    def decode(self, data: bytes) -> LimitEvent | Ignored:
        return events.decode(data, self._model, self.max_sequence)

    def type_of(self, event: LimitEvent) -> str:
        return event.type

    def time_of(self, event: LimitEvent) -> int:
        return event.created_at

    def correlation_id(self, event: LimitEvent) -> str | None:
        return event.context.correlation_id

    def key(self, event: LimitEvent) -> Key:
        return (event.payload.user_id, event.payload.user_limit_id)

    def change(self, event: LimitEvent) -> LimitState:
        return self.types[event.type].change(event)

    def merge(self, left: LimitState, right: LimitState) -> LimitState:
        return state.merge(left, right)

    def review(self, met: LimitState | None, event: LimitEvent) -> Review:
        if met is None:
            return Review(warnings=tuple(self._doubts(event, None)))
        _refuse_other_identity(met, event)
        stamp, warnings = stamp_of(event), list(doubts_of_order(event, met))
        if stamp > met.last:
            warnings += self._doubts(event, met)
        elif self.merge(met, self.change(event)) != met:
            # older than the state, it cannot be held against it, only against itself
            warnings += self._doubts(event, None)
        return Review(repeated=repeats(met, stamp), warnings=tuple(warnings))

    def _doubts(self, event: LimitEvent, met: LimitState | None) -> Iterator[str]:
        yield from own_doubts(event)
        yield from self.types[event.type].warnings_of(event, met)

    def dump(self, kept: LimitState) -> dict[str, Plain]:
        return codec.dump(kept)

    def load(self, attributes: Mapping[str, Plain]) -> LimitState:
        return codec.load(attributes)

    def _model(self, name: str) -> type[LimitEvent] | None:
        known = self.types.get(name)
        return known.model if known else None


def _refuse_other_identity(met: LimitState, event: LimitEvent) -> None:
    if event.payload.brand_id != met.brand_id:
        raise Rejected(Reason.IDENTITY, "payload.brandId: differs from the stored limit's")
    if event.payload.currency_code != met.currency_code:
        raise Rejected(Reason.IDENTITY, "payload.currencyCode: differs from the stored limit's")
