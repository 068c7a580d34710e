"""Processes quarantined records again, as on delivery. Settled records leave the quarantine."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from consumer.engine.aggregation import MAGIC, nested
from consumer.engine.errors import GaveUp, Reason, Unavailable
from consumer.engine.folding import Outcome, RecordOutcome
from consumer.engine.processor import Processor
from consumer.engine.projection import Key
from consumer.engine.quarantine import Listed, OnForeign, Quarantined, QuarantineStore, groups, refuse
from consumer.engine.records import Position, Record
from consumer.engine.repository import PendingWrite, Repository, Saved, Stored, Unreadable, Versioned
from consumer.engine.retry_policy import Backoff

S = TypeVar("S")

BATCH, BATCH_BYTES = 100, 4 * 1024 * 1024
"""How many entries are processed together, and how many bytes of data in total. A larger entry is processed alone."""
TRIES = 5
BACKOFF = Backoff(first=0.2)

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


REPLACED = "stays: another entry has replaced it in the meantime"


class Discarded:
    """Implements engine.quarantine.Quarantine for a replay. Rejected records are in the quarantine already."""

    def put(self, entries: Iterable[Quarantined]) -> None:
        pass


@dataclass(slots=True)
class FewTries:
    """Implements engine.retry_policy.RetryPolicy: TRIES attempts. `cause` is the error of the last one.

    pause  is called with the seconds between two attempts
    """

    pause: Callable[[float], object] = time.sleep
    cause: Unavailable = field(default_factory=lambda: Unavailable("unknown cause"))

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        self.cause = cause
        if attempt >= TRIES:
            raise GaveUp(part)
        self.pause(BACKOFF.seconds(attempt, 1.0))


@dataclass(slots=True)
class Pace:
    """Lets through at most `rate` records per second, or any number if it is 0.

    clock  monotonic seconds
    """

    rate: int = 0
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep
    _due: float = 0.0

    @property
    def batch(self) -> int:
        """How many records are let through together: not more than in a second."""
        return min(BATCH, self.rate or BATCH)

    def wait(self, records: int) -> None:
        if not self.rate:
            return
        now = self.clock()
        if self._due > now:
            self.pause(self._due - now)
        self._due = max(self._due, now) + records / self.rate


class Unwritten(Generic[S]):
    """Implements engine.repository.Repository for a dry run: reads another one, and keeps the writes in memory."""

    def __init__(self, kept: Repository[S]) -> None:
        self._kept = kept
        self._written: dict[Key, Versioned[S]] = {}

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        wanted = set(keys)
        written = {key: self._written[key] for key in wanted & self._written.keys()}
        return {**self._kept.load(wanted - written.keys()), **written}

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        stored = {key: Versioned(write.state, "not written") for key, write in writes.items()}
        self._written |= stored
        return Saved(stored)

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        return self._kept.partition(partition)


def replayer(core: Processor[Any, Any], *, dry_run: bool = False) -> Processor[Any, Any]:
    """The core as on delivery, but without a quarantine and without a breaker. A dry run writes nothing."""
    repository = Unwritten(core.repository) if dry_run else core.repository
    return replace(core, repository=repository, quarantine=Discarded(), breaker=0)


@dataclass(slots=True)
class Replay:
    """Replays entries with a core from `replayer`. A dry run drops none of them."""

    core: Processor[Any, Any]
    kept: QuarantineStore
    dry_run: bool = False
    pace: Pace = field(default_factory=Pace)
    pause: Callable[[float], object] = time.sleep

    def of(self, listed: Iterable[Listed], on_foreign: OnForeign = refuse) -> Iterator[Replayed]:
        """The outcome of each entry that is still there, in batches. After Unavailable, the rest is left.

        An entry is dropped after its effect is stored. In between, a crash leaves it: it is a duplicate then.
        """
        for batch in groups(self.kept.read(listed, on_foreign), _size, self.pace.batch, BATCH_BYTES):
            self.pace.wait(len(batch))
            yield from self._replayed(batch)

    def _replayed(self, batch: Sequence[tuple[Listed, Quarantined]]) -> Iterator[Replayed]:
        retries = FewTries(self.pause)
        result = self.core.process([as_delivered(entry) for _, entry in batch], retries)
        outcomes: dict[Position, list[RecordOutcome | None]] = {}
        for record, outcome in zip(result.records, result.record_outcomes, strict=True):
            outcomes.setdefault(record.delivered.position, []).append(outcome)
        settled = [
            (found, _outcome_of(entry, [each for each in of_entry if each]))
            for found, entry in batch
            if None not in (of_entry := outcomes[entry.record.position])
        ]
        yield from self._dropped(settled)
        if result.unsettled:
            raise Unavailable(
                f"{retries.cause}; {result.unsettled} and {len(batch) - len(settled) - 1} more of its batch, and the"
                " entries after it, were not replayed: run the command again"
            )

    def _dropped(self, settled: Sequence[tuple[Listed, Replayed]]) -> Iterator[Replayed]:
        """What was done about each entry. Those whose effect is stored are removed first."""
        done = [(found, replayed) for found, replayed in settled if not replayed.left]
        removed = [True] * len(done) if self.dry_run else self.kept.drop([found for found, _ in done])
        # The service may have quarantined the record again since it was read. Then drop() refuses, and the entry stays.
        replaced = {each.position for (_, each), is_gone in zip(done, removed, strict=True) if not is_gone}
        for _, each in settled:
            yield replace(each, reason=REPLACED, left=True) if each.position in replaced else each


def as_delivered(entry: Quarantined) -> Record:
    """The record as it was delivered to the core, but by itself."""
    record = entry.record._replace(aggregate=None)
    if entry.reason == Reason.RECORD_DATA:
        # the entry contains the text that should have been base64
        return Record.from_base64(record.position, record.data.decode("utf-8", "replace"), record.arrived_at)
    if record.data.startswith(MAGIC) and (entry.reason == Reason.ENCODING or entry.detail == nested().detail):
        # An aggregate inside another is rejected, not unpacked. Without the fault the core would unpack it, because the
        # position of the first nested record equals that of a whole aggregate.
        return record._replace(fault=nested())
    return record


def _size(item: tuple[Listed, Quarantined]) -> int:
    return len(item[1].record.data)


def _outcome_of(entry: Quarantined, of_records: Sequence[RecordOutcome]) -> Replayed:
    """`of_records`: of the record, or of each record in the aggregate."""
    position, outcomes = entry.record.position, Counter(each.outcome for each in of_records)
    rejected = next((each.rejected for each in of_records if each.rejected), None)
    if rejected:
        return Replayed(position, Outcome.QUARANTINED, f"{rejected}{_among(outcomes)}", left=True)
    if outcomes[Outcome.IGNORED]:
        kinds = ", ".join(sorted({each.type for each in of_records if each.outcome is Outcome.IGNORED}))
        reason = f"not applied: this version does not know the type ({kinds}){_among(outcomes)}"
        return Replayed(position, Outcome.IGNORED, reason, left=True)
    outcome = next(each for each in DONE if outcomes[each])
    return Replayed(position, outcome, _among(outcomes).strip(), left=False)


def _among(outcomes: Counter[Outcome]) -> str:
    """The counts of outcomes in an aggregate. Empty for a single event."""
    if outcomes.total() == 1:
        return ""
    return " (" + ", ".join(f"{outcomes[each]} {each}" for each in Outcome if outcomes[each]) + ")"
