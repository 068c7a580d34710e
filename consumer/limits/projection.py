"""The limits as a projection that the engine keeps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored, Key, Plain, Review
from consumer.limits import codec, events, state
from consumer.limits.event_types import EVENTS, EventType, repeats, stamp_of, warnings_of_order, warnings_of_times
from consumer.limits.events import MAX_SEQUENCE, LimitEvent
from consumer.limits.state import LimitState


@dataclass(frozen=True, slots=True)
class Limits:
    """Implements engine.projection.Projection for LimitEvent and LimitState.

    types         the event types it applies
    max_sequence  a higher sequence number is rejected: every later event would be older, and the limit frozen
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

    def state_of(self, event: LimitEvent) -> LimitState:
        return self.types[event.type].state_of(event)

    def merge(self, left: LimitState, right: LimitState) -> LimitState:
        return state.merge(left, right)

    def review(self, stored: LimitState | None, event: LimitEvent) -> Review:
        if stored is None:
            return Review(warnings=tuple(self._warnings_of(event, None)))
        _refuse_other_identity(stored, event)
        stamp, warnings = stamp_of(event), list(warnings_of_order(event, stored))
        if stamp > stored.last:
            warnings += self._warnings_of(event, stored)
        elif self.merge(stored, self.state_of(event)) != stored:
            # The event is older than the stored state: a difference between the two is not a contradiction.
            warnings += self._warnings_of(event, None)
        # Otherwise the event changes nothing. If it is a duplicate, its warnings were counted the first time.
        return Review(repeated=repeats(stored, stamp), warnings=tuple(warnings))

    def _warnings_of(self, event: LimitEvent, stored: LimitState | None) -> Iterator[str]:
        yield from warnings_of_times(event)
        yield from self.types[event.type].warnings_of(event, stored)

    def dump(self, kept: LimitState) -> dict[str, Plain]:
        return codec.dump(kept)

    def load(self, attributes: Mapping[str, Plain]) -> LimitState:
        return codec.load(attributes)

    def _model(self, name: str) -> type[LimitEvent] | None:
        known = self.types.get(name)
        return known.model if known else None


def _refuse_other_identity(stored: LimitState, event: LimitEvent) -> None:
    if event.payload.brand_id != stored.brand_id:
        raise Rejected(Reason.IDENTITY, "payload.brandId: differs from the stored limit's")
    if event.payload.currency_code != stored.currency_code:
        raise Rejected(Reason.IDENTITY, "payload.currencyCode: differs from the stored limit's")
