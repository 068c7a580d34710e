"""Processes quarantined records again, as on delivery. Settled records leave the quarantine."""

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
"""Outcomes that settle an event. The outcome of an aggregate is the first of these that one of its events has."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of an entry. `left`: it is still in the quarantine."""

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
    """Implements engine.quarantine.Quarantine for a replay. Rejected records are in the quarantine already."""

    def put(self, entries: Iterable[Quarantined]) -> None:
        pass


@dataclass(slots=True)
class Once:
    """Implements engine.retry.RetryPolicy: one attempt. `cause` is the error of the last one."""

    cause: Unavailable = field(default_factory=lambda: Unavailable("unknown cause"))

    def wait(self, part: str, _attempt: int, cause: Unavailable) -> NoReturn:
        self.cause = cause
        raise GaveUp(part)


def replayer(core: Processor[Any, Any]) -> Processor[Any, Any]:
    """The core as on delivery, but without a quarantine and without a breaker."""
    return replace(core, quarantine=Discarded(), breaker=0)


def replay(core: Processor[Any, Any], kept: QuarantineStore, entries: Iterable[Quarantined]) -> Iterator[Replayed]:
    """Replays each entry in turn with a core from `replayer`. After Unavailable, that entry and the rest are left."""
    for entry in entries:
        result = _settled(core, entry)
        replayed = _outcome_of(entry, result)
        # The service may have quarantined the record again since it was read. Then drop() refuses, and the entry stays.
        if not replayed.left and not kept.drop(entry):
            replaced = "stays: another entry has replaced it in the meantime"
            replayed = replace(replayed, reason=replaced, left=True)
        yield replayed


def _settled(core: Processor[Any, Any], entry: Quarantined) -> BatchResult:
    once = Once()
    result = core.process([as_delivered(entry)], once)
    if result.unsettled:
        raise Unavailable(f"{once.cause}; {entry.record.position} and the entries after it were not replayed")
    return result


def as_delivered(entry: Quarantined) -> Record:
    """The record as it was delivered to the core."""
    record = entry.record
    if entry.reason == Reason.RECORD_DATA:
        # the entry contains the text that should have been base64
        return Record.from_base64(record.position, record.data.decode("utf-8", "replace"), record.arrived_at)
    if record.data.startswith(MAGIC) and (entry.reason == Reason.ENCODING or entry.detail == nested().detail):
        # An aggregate inside another is rejected, not unpacked. Without the fault the core would unpack it, because the
        # position of the first nested record equals that of a whole aggregate.
        return record._replace(fault=nested())
    return record


def _outcome_of(entry: Quarantined, result: BatchResult) -> Replayed:
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
    """The counts of outcomes in an aggregate. Empty for a single event."""
    if outcomes.total() == 1:
        return ""
    return " (" + ", ".join(f"{outcomes[each]} {each}" for each in Outcome if outcomes[each]) + ")"
