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
    """What became of a record. Every record received has exactly one."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """The outcome of one record of type `type`; `rejected` says why when it is quarantined."""

    type: str
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    rejected: Rejected | None = None


@dataclass(frozen=True, slots=True)
class Folded(Generic[S]):
    """The state all events together lead to (None: no event could be applied), and each event's verdict."""

    state: S | None
    record_outcomes: Sequence[RecordOutcome]

    @property
    def rejects(self) -> bool:
        return any(record_outcome.rejected for record_outcome in self.record_outcomes)


def refuse(projection: Projection[E, S], rejected: Rejected, events: Sequence[E]) -> Folded[S]:
    """All events quarantined: there is no telling what they would change."""
    return Folded(
        None, [RecordOutcome(projection.type_of(event), Outcome.QUARANTINED, rejected=rejected) for event in events]
    )


def fold(projection: Projection[E, S], state: S | None, events: Sequence[E]) -> Folded[S]:
    """Merges `events` into `state`, in their order."""
    record_outcomes: list[RecordOutcome] = []
    for event in events:
        merged = _step(projection, state, event)
        state = merged.state
        record_outcomes += merged.record_outcomes
    return Folded(state, record_outcomes)


def _step(projection: Projection[E, S], state: S | None, event: E) -> Folded[S]:
    kind = projection.type_of(event)
    try:
        judgement = projection.review(state, event)
    except Rejected as rejected:
        return Folded(state, (RecordOutcome(kind, Outcome.QUARANTINED, rejected=rejected.bare()),))
    change = projection.state_of(event)
    merged = change if state is None else projection.merge(state, change)
    if merged != state:
        outcome = Outcome.APPLIED
    else:
        outcome = Outcome.DUPLICATE if judgement.repeated else Outcome.STALE
    return Folded(merged, (RecordOutcome(kind, outcome, judgement.warnings),))
