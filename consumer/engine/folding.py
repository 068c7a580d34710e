"""The fold: events merged one by one into a state, each with its outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from consumer.engine.errors import Rejected
from consumer.engine.projection import Projection

E = TypeVar("E")
S = TypeVar("S")


class Outcome(StrEnum):
    """The outcome of a record. Every settled record has exactly one."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """The outcome of one record of type `type`. If the record is quarantined, `rejected` holds the reason."""

    type: str
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    rejected: Rejected | None = None


@dataclass(frozen=True, slots=True)
class Folded(Generic[S]):
    """The state after all events (None if no event could be applied), and the outcome of each event."""

    state: S | None
    record_outcomes: Sequence[RecordOutcome]

    @property
    def rejects(self) -> bool:
        return any(record_outcome.rejected for record_outcome in self.record_outcomes)


def refuse(projection: Projection[E, S], rejected: Rejected, events: Sequence[E]) -> Folded[S]:
    """All events quarantined: without the stored state, it is unknown what they would change."""
    return Folded(
        None, [RecordOutcome(projection.type_of(event), Outcome.QUARANTINED, rejected=rejected) for event in events]
    )


def fold(projection: Projection[E, S], state: S | None, events: Sequence[E]) -> Folded[S]:
    """Merges `events` into `state`, in their order. A rejected event leaves the state as it is."""
    record_outcomes: list[RecordOutcome] = []
    for event in events:
        merged = _step(projection, state, event)
        state = merged.state
        record_outcomes += merged.record_outcomes
    return Folded(state, record_outcomes)


def _step(projection: Projection[E, S], state: S | None, event: E) -> Folded[S]:
    kind = projection.type_of(event)
    try:
        review = projection.review(state, event)
    except Rejected as rejected:
        return Folded(state, (RecordOutcome(kind, Outcome.QUARANTINED, rejected=rejected.bare()),))
    alone = projection.state_of(event)
    merged = alone if state is None else projection.merge(state, alone)
    # The merge decides what is stored. The review only names the outcome: a repeated event never changes the state,
    # because `merge` is idempotent, and an event that changes nothing without being repeated is older than the state.
    if merged != state:
        outcome = Outcome.APPLIED
    else:
        outcome = Outcome.DUPLICATE if review.repeated else Outcome.STALE
    return Folded(merged, (RecordOutcome(kind, outcome, review.warnings),))
