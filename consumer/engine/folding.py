"""The fold: events merged one by one into a state, each with its outcome."""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

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


class RecordOutcome(NamedTuple):
    """The outcome of one record of type `type`. If the record is quarantined, `rejected` holds the reason."""

    type: str
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    rejected: Rejected | None = None


class Folded(NamedTuple, Generic[S]):
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
        step = _step(projection, state, event)
        state = step[0]
        record_outcomes.append(step[1])
    return Folded(state, record_outcomes)


def _step(projection: Projection[E, S], state: S | None, event: E) -> tuple[S | None, RecordOutcome]:
    kind = projection.type_of(event)
    try:
        overtaken = None if state is None else projection.review_overtaken(state, event)
        if overtaken is not None:
            return state, _outcome(kind, False, *overtaken)
        alone = projection.state_of(event)
        merged = alone if state is None else projection.merge(state, alone)
        changes = merged is not state and merged != state
        return merged, _outcome(kind, changes, *projection.review(state, event, alone, changes=changes))
    except Rejected as rejected:
        return state, RecordOutcome(kind, Outcome.QUARANTINED, rejected=rejected.bare())


@lru_cache(1_000)  # Most of a batch's outcomes are equal: they share one object.
def _outcome(kind: str, changes: bool, repeated: bool, warnings: tuple[str, ...]) -> RecordOutcome:
    # The merge decides what is stored. The review only names the outcome: a repeated event never changes the state,
    # because `merge` is idempotent, and an event that changes nothing without being repeated is older than the state.
    if changes:
        outcome = Outcome.APPLIED
    else:
        outcome = Outcome.DUPLICATE if repeated else Outcome.STALE
    return RecordOutcome(kind, outcome, warnings)
