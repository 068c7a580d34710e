"""Quarantined records through the core again, judged as in delivery. What is done leaves the quarantine."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from consumer.engine.aggregation import MAGIC, nested
from consumer.engine.errors import GaveUp, Reason, Unavailable
from consumer.engine.folding import Outcome
from consumer.engine.processor import BatchResult, Processor
from consumer.engine.quarantine import Quarantined, QuarantineStore
from consumer.engine.records import Position, Record

DONE = (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE)
"""Outcomes after which nothing remains to be done for an event, the first of an aggregate's being the entry's."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of an entry. `left`: it is still in the quarantine."""

    position: Position
    outcome: Outcome
    reason: str
    left: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "position": str(self.position),
            "outcome": self.outcome,
            "reason": self.reason or None,
            "left": self.left,
        }


class Discarded:
    """Implements engine.quarantine.Quarantine for a replay: what is rejected again is in the quarantine already."""

    def put(self, entries: Iterable[Quarantined]) -> None:
        pass


@dataclass(slots=True)
class Once:
    """Implements engine.retry.RetryPolicy: one try. `cause` is what was wrong with it."""

    cause: Unavailable = field(default_factory=lambda: Unavailable("not known why"))

    def wait(self, part: str, _attempt: int, cause: Unavailable) -> NoReturn:
        self.cause = cause
        raise GaveUp(part)


def replayer(core: Processor[Any, Any]) -> Processor[Any, Any]:
    """The core as in delivery, but it writes to no quarantine and has no breaker."""
    return replace(core, quarantine=Discarded(), breaker=0)


def replay(core: Processor[Any, Any], kept: QuarantineStore, entries: Iterable[Quarantined]) -> Iterator[Replayed]:
    """Each entry in turn, through a core of `replayer`. Raises Unavailable; that entry and the rest are left."""
    for entry in entries:
        result = _settled(core, entry)
        replayed = _judged(entry, result)
        if not replayed.left and not kept.drop(entry):
            changed = "stays: another entry was put in its place meanwhile"
            replayed = replace(replayed, reason=changed, left=True)
        yield replayed


def _settled(core: Processor[Any, Any], entry: Quarantined) -> BatchResult:
    once = Once()
    result = core.process([as_delivered(entry)], once)
    if result.unsettled:
        raise Unavailable(f"{once.cause}; {entry.record.position} and what follows was not replayed")
    return result


def as_delivered(entry: Quarantined) -> Record:
    """The record as the core got it when it was quarantined."""
    record = entry.record
    if entry.reason == Reason.RECORD_DATA:
        # what was kept is the text that should have been base64
        return Record.from_base64(record.position, record.data.decode("utf-8", "replace"), record.arrived_at)
    if record.data.startswith(MAGIC) and (entry.reason == Reason.ENCODING or entry.detail == nested().detail):
        # inside another, and not taken apart: the first record there has the position of a whole aggregate
        return replace(record, fault=nested())
    return record


def _judged(entry: Quarantined, result: BatchResult) -> Replayed:
    outcomes, position = result.outcomes, entry.record.position
    if result.quarantined:
        again = result.quarantined[0]
        return Replayed(position, Outcome.QUARANTINED, f"{again.reason}: {again.detail}{_among(outcomes)}", left=True)
    if outcomes[Outcome.IGNORED]:
        kinds = ", ".join(sorted(kind for kind, outcome in result.by_type if outcome is Outcome.IGNORED))
        reason = f"not applied: this version does not know the type ({kinds}){_among(outcomes)}"
        return Replayed(position, Outcome.IGNORED, reason, left=True)
    outcome = next(each for each in DONE if outcomes[each])
    return Replayed(position, outcome, _among(outcomes).strip(), left=False)


def _among(outcomes: Counter[Outcome]) -> str:
    """The outcomes of an aggregate's events; empty for a single event."""
    if outcomes.total() == 1:
        return ""
    return " (" + ", ".join(f"{outcomes[each]} {each}" for each in Outcome if outcomes[each]) + ")"
