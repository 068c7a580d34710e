"""The limits as a projection that the engine keeps."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored, Key, Plain, Review
from consumer.limits import claims, codec, comparison, state
from consumer.limits.decoding import Decoder
from consumer.limits.event_types import EVENTS, WARNINGS, EventType, review_of_order, stamp_of, warnings_of_times
from consumer.limits.events import MAX_SEQUENCE, LimitEvent
from consumer.limits.state import LimitState


@dataclass(frozen=True, slots=True)
class Limits:
    """Implements engine.projection.Projection for LimitEvent and LimitState, and all of engine.optional_parts.

    types         the event types it applies
    max_sequence  a higher sequence number is rejected: every later event would be older, and the limit frozen
    """

    key_names: tuple[str, str] = ("userId", "userLimitId")
    types: Mapping[str, EventType] = field(default_factory=lambda: EVENTS, repr=False)
    max_sequence: int = MAX_SEQUENCE
    plural: str = field(default="limits", repr=False)
    warning_kinds: Collection[str] = field(default=WARNINGS, repr=False)
    _decoder: Decoder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        models = {name: known.model for name, known in self.types.items()}
        object.__setattr__(self, "_decoder", Decoder(models, self.max_sequence))

    def decode(self, data: bytes) -> LimitEvent | Ignored:
        return self._decoder.decode(data)

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

    def review(self, stored: LimitState | None, event: LimitEvent, alone: LimitState, *, changes: bool) -> Review:
        if stored is None:
            return Review(False, self._warnings_of(event, alone, None))
        _refuse_other_identity(stored, event)
        stamp, stamps = stamp_of(event), stored.stamps()
        last = max(stamps)
        found = review_of_order(stamp, stamps, last)
        if stamp > last:
            own = self._warnings_of(event, alone, stored)
        else:
            # An event older than the stored state does not contradict it. One that changes nothing has no warnings of
            # its own: if it is a duplicate, they were counted the first time.
            own = self._warnings_of(event, alone, None) if changes else ()
        return Review(found.repeated, found.warnings + own) if own else found

    def review_overtaken(self, stored: LimitState, event: LimitEvent) -> Review | None:
        stamp = stamp_of(event)
        if not self.types[event.type].is_overtaken(event, stored, stamp):
            return None
        _refuse_other_identity(stored, event)
        stamps = stored.stamps()
        return review_of_order(stamp, stamps, max(stamps))

    def _warnings_of(self, event: LimitEvent, alone: LimitState, stored: LimitState | None) -> tuple[str, ...]:
        known = self.types[event.type]
        return (*warnings_of_times(event, known.model), *known.warnings_of(event, alone, stored))

    def dump(self, kept: LimitState) -> dict[str, Plain]:
        return codec.dump(kept)

    def load(self, attributes: Mapping[str, Plain]) -> LimitState:
        return codec.load(attributes)

    def bounded(self, max_sequence: int) -> "Limits":
        return replace(self, max_sequence=max_sequence)

    def partitions(self, data: bytes) -> frozenset[str]:
        return claims.users(data)

    def partition(self, data: bytes) -> str | None:
        return claims.owner(data)

    def identity(self, kept: LimitState) -> tuple[str, ...]:
        return (kept.brand_id, kept.currency_code)

    def contradicts(self, table: LimitState, archive: LimitState) -> bool:
        return comparison.contradicts(table, archive)

    def view(self, kept: LimitState, now_millis: int) -> dict[str, Any]:
        # Record processors show nothing, and would take memory for it.
        from consumer.limits.view import view

        return view(kept, now_millis).to_json()


def _refuse_other_identity(stored: LimitState, event: LimitEvent) -> None:
    if event.payload.brand_id != stored.brand_id:
        raise Rejected(Reason.IDENTITY, "payload.brandId: differs from the stored limit's")
    if event.payload.currency_code != stored.currency_code:
        raise Rejected(Reason.IDENTITY, "payload.currencyCode: differs from the stored limit's")
