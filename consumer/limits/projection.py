"""The limits as a projection the engine can keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored, Judgement, Key, Plain
from consumer.limits import codec, events, state
from consumer.limits.changes import EVENTS, SEQUENCE_CONFLICT, EventType, stamp_of
from consumer.limits.events import LimitEvent
from consumer.limits.state import LimitState, Stamp

LARGEST_JUMP = 1_000_000
"""A sequence number further ahead than this would freeze the limit: nothing after it could win."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Implements engine.projection.Projection for LimitEvent and LimitState; `types` are the events it takes."""

    key_names: tuple[str, str] = ("userId", "userLimitId")
    types: Mapping[str, EventType] = field(default_factory=lambda: EVENTS, repr=False)

    def decode(self, data: bytes) -> LimitEvent | Ignored:
        return events.decode(data, self._model)

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

    def judge(self, met: LimitState | None, event: LimitEvent) -> Judgement:
        stamp, doubts = stamp_of(event), self.types[event.type].doubts
        if met is None:
            return Judgement(warnings=tuple(doubts(event, None)))
        _refuse_other_identity(met, event)
        _refuse_jump(met.last, stamp)
        warnings = [SEQUENCE_CONFLICT] if _conflicts(met, stamp) else []
        if stamp > met.last:
            warnings += doubts(event, met)
        elif self.merge(met, self.change(event)) != met:
            # older than the state, it cannot be held against it, only against itself
            warnings += doubts(event, None)
        return Judgement(repeated=_repeats(met, stamp), warnings=tuple(warnings))

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


def _refuse_jump(last: Stamp, stamp: Stamp) -> None:
    if stamp.sequence - last.sequence > LARGEST_JUMP:
        raise Rejected(
            Reason.SEQUENCE_JUMP,
            f"sequenceNumber: more than {LARGEST_JUMP} ahead of what is stored",
        )


def _repeats(met: LimitState, stamp: Stamp) -> bool:
    return any(stamp[:2] == known[:2] for known in met.stamps())


def _conflicts(met: LimitState, stamp: Stamp) -> bool:
    return any(known.sequence == stamp.sequence and known.event_id != stamp.event_id for known in met.stamps())
