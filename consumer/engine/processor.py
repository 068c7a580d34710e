"""The processing core: records in, a settled batch out. The record processor and the Lambda handler share it.

A record is settled when its effect is stored, or found to be there, or when it lies in the quarantine. Faults of
the environment are waited for as long as the caller's patience lasts; they never settle a record.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Generic, TypeVar

from consumer.engine.aggregation import RECORDS, deaggregate, slices
from consumer.engine.errors import BreakerOpen, GaveUp, Reason, Rejected
from consumer.engine.folding import Folded, Outcome, RecordOutcome, fold, refuse
from consumer.engine.projection import Ignored, Key, Projection
from consumer.engine.quarantine import PartlyKept, Quarantine, Quarantined, groups
from consumer.engine.records import Position, Record
from consumer.engine.repository import PendingWrite, Repository, Saved, Stored, Unreadable, Versioned
from consumer.engine.retry import RetryPolicy, persist

E = TypeVar("E")
S = TypeVar("S")

ROUND = 200
"""Keys settled together: enough to keep every request slot busy, few enough to hear soon of a store that fails."""

QUARANTINE_GROUP = 32
"""Records put into the quarantine together, a request each: two in a row for each of bootstrap.QUARANTINE_REQUESTS.
Before each group a record processor shows life, and a Lambda invocation checks its deadline."""

QUARANTINE_GROUP_BYTES = 4 * 1024 * 1024
"""Their data together, unless it is one alone: what is written is held a second time, in base64."""

PARTS = 10
"""Rejected records of one aggregate that are quarantined one by one; of more, the aggregate is quarantined whole.
A flood of aggregates must not become a flood of a thousand times as many entries."""

UNREADABLE = "UNREADABLE"
"""The event type of a record that could not be decoded."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch. `records` and `verdicts` go together; a verdict of None is an unsettled record.

    The records of an aggregate are listed one by one. What Kinesis delivered is settled once all of them are.
    """

    records: Sequence[Record]
    record_outcomes: Sequence[RecordOutcome | None]
    writes: int = 0
    conflicts: int = 0
    saved: int = 0
    """Records applied, less the states they were written in: the writes that folding saved."""
    oldest_event: int | None = None
    """When the oldest event came to be, by its own word: epoch milliseconds."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time spent, by phase: decode, fold, store, quarantine. Waits for the environment are its phase's."""
    quarantined: Sequence[Quarantined] = ()
    """What was put into the quarantine: an aggregate in place of its records when many of them were rejected."""

    @property
    def unsettled(self) -> Position | None:
        """The first delivered record that is not settled: nothing from it on may be checkpointed."""
        for record, record_outcome in zip(self.records, self.record_outcomes, strict=True):
            if record_outcome is None:
                return record.delivered.position
        return None

    @property
    def settled(self) -> Position | None:
        """The last delivered record before the first unsettled one."""
        last, unsettled = None, self.unsettled
        for record in self.records:
            if record.delivered.position == unsettled:
                break
            last = record.delivered.position
        return last

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(record_outcome.outcome for record_outcome in self.record_outcomes if record_outcome)

    @property
    def by_type(self) -> Counter[tuple[str, Outcome]]:
        return Counter(
            (record_outcome.type, record_outcome.outcome) for record_outcome in self.record_outcomes if record_outcome
        )

    @property
    def warnings(self) -> Counter[str]:
        return Counter(
            kind for record_outcome in self.record_outcomes if record_outcome for kind in record_outcome.warnings
        )

    @property
    def reasons(self) -> Counter[Reason]:
        return Counter(
            record_outcome.rejected.reason
            for record_outcome in self.record_outcomes
            if record_outcome and record_outcome.rejected
        )


class Known(Generic[S]):
    """The last stored state of the keys used most recently: saves the read before a conditional write."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._states: OrderedDict[Key, Versioned[S]] = OrderedDict()

    def get(self, keys: Iterable[Key]) -> dict[Key, Versioned[S]]:
        found = {key: self._states[key] for key in keys if key in self._states}
        for key in found:
            self._states.move_to_end(key)
        return found

    def learn(self, states: Mapping[Key, Stored[S]]) -> None:
        for key, state in states.items():
            if isinstance(state, Versioned):
                self._states[key] = state
                self._states.move_to_end(key)
        while len(self._states) > self._size:
            self._states.popitem(last=False)

    def forget(self) -> None:
        self._states.clear()


@dataclass(slots=True)
class _Batch(Generic[E]):
    """A batch in the making: events by key and by their index among the records, verdicts not yet settled."""

    records: Sequence[Record]
    record_outcomes: list[RecordOutcome | None]
    events: dict[Key, dict[int, E]] = field(default_factory=dict)
    rejected: dict[int, RecordOutcome] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    writes: int = 0
    conflicts: int = 0
    saved: int = 0
    oldest_event: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def decide(self, index: int, record_outcome: RecordOutcome) -> None:
        """Settles a record, or leaves it to the quarantine."""
        if record_outcome.rejected:
            self.rejected[index] = record_outcome
        else:
            self.record_outcomes[index] = record_outcome

    def settle(self, key: Key, record_outcomes: Sequence[RecordOutcome]) -> None:
        """Each event of a key whose state is stored has its verdict."""
        for index, record_outcome in zip(self.events[key], record_outcomes, strict=True):
            self.decide(index, record_outcome)
        applied = sum(record_outcome.outcome is Outcome.APPLIED for record_outcome in record_outcomes)
        self.saved += max(0, applied - 1)

    def result(self) -> BatchResult:
        return BatchResult(
            self.records,
            self.record_outcomes,
            self.writes,
            self.conflicts,
            self.saved,
            self.oldest_event,
            self.seconds,
            self.quarantined,
        )

    def entries(self) -> Iterator[tuple[Quarantined, Sequence[int]]]:
        """What is to be quarantined, each with the indexes of the records that it keeps, in their order."""
        why = {
            index: record_outcome.rejected
            for index, record_outcome in sorted(self.rejected.items())
            if record_outcome.rejected
        }
        for _, group in groupby(why, key=lambda index: self.records[index].delivered.position):
            indexes = list(group)
            aggregate = self.records[indexes[0]].aggregate
            if aggregate and len(indexes) > PARTS:
                detail = f"{len(indexes)} of its records were rejected, the first one: {why[indexes[0]]}"
                yield Quarantined(aggregate, Reason.AGGREGATE, detail), indexes
            else:
                yield from ((self._entry(index, why[index]), (index,)) for index in indexes)

    def _entry(self, index: int, why: Rejected) -> Quarantined:
        return Quarantined(self.records[index], why.reason, why.detail)


@dataclass(slots=True)
class Processor(Generic[E, S]):
    """Keeps a projection up to date. One a shard; not for threads.

    clock          monotonic seconds
    record_cap     bytes; a larger record is rejected unread
    breaker        rejected records in a row that end the worker; 0: none do
    aggregate_cap  user records; an aggregate of more is rejected whole
    """

    projection: Projection[E, S]
    repository: Repository[S]
    quarantine: Quarantine
    clock: Callable[[], float]
    record_cap: int = 262_144
    breaker: int = 0
    known: Known[S] = field(default_factory=lambda: Known(10_000))
    aggregate_cap: int = RECORDS
    _rejected_in_a_row: int = 0

    def process(self, records: Iterable[Record], retry_policy: RetryPolicy) -> BatchResult:
        """Settles the records, or as many as patience allows.

        Raises BreakerOpen before a run of rejected records that is too long reaches the quarantine.
        """
        return self._settle([part for parts in self._unpacked(records) for part in parts], retry_policy)

    def process_in_slices(
        self, records: Iterable[Record], retry_policy: RetryPolicy, go_on: Callable[[], bool]
    ) -> Iterator[BatchResult]:
        """As `process`, in slices of bounded size (aggregation.slices). The last one is the first that is not settled.

        `go_on`: whether one more slice is to be begun; when it is not, the next one comes back unsettled.
        """
        for number, parts in enumerate(slices(self._unpacked(records))):
            if number and not go_on():
                yield BatchResult(parts, [None] * len(parts))
                return
            result = self._settle(parts, retry_policy)
            yield result
            if result.unsettled:
                return

    def _unpacked(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        return (deaggregate(record, self.aggregate_cap) for record in records)

    def _settle(self, records: Sequence[Record], retry_policy: RetryPolicy) -> BatchResult:
        batch: _Batch[E] = _Batch(records, [None] * len(records))
        with self._timed(batch, "decode"):
            self._decode(batch)
        with suppress(GaveUp):
            self._store(batch, retry_policy)
            with self._timed(batch, "quarantine"):
                self._quarantine_rejected(batch, retry_policy)
        return batch.result()

    def correlation_id(self, record: Record) -> str | None:
        """The id under which the record's producer knows it, None when it tells none. Decodes the record anew."""
        try:
            event = self._event(record)
        except Rejected:
            return None
        return None if isinstance(event, Ignored) else self.projection.correlation_id(event)

    @contextmanager
    def _timed(self, batch: _Batch[E], phase: str) -> Iterator[None]:
        start = self.clock()
        try:
            yield
        finally:
            batch.seconds[phase] = batch.seconds.get(phase, 0.0) + self.clock() - start

    def _decode(self, batch: _Batch[E]) -> None:
        for index, record in enumerate(batch.records):
            try:
                event = self._event(record)
            except Rejected as rejected:
                batch.decide(index, RecordOutcome(UNREADABLE, Outcome.QUARANTINED, rejected=rejected.bare()))
                continue
            if isinstance(event, Ignored):
                batch.decide(index, RecordOutcome(event.type, Outcome.IGNORED))
            else:
                batch.events.setdefault(self.projection.key(event), {})[index] = event
                made = self.projection.time_of(event)
                batch.oldest_event = made if batch.oldest_event is None else min(batch.oldest_event, made)

    def _event(self, record: Record) -> E | Ignored:
        if record.fault is not None:
            raise record.fault.bare()
        if not record.data:
            raise Rejected(Reason.RECORD_DATA, "data is empty")
        if len(record.data) > self.record_cap:
            raise Rejected(Reason.TOO_LARGE, f"{len(record.data)} bytes, at most {self.record_cap} are read")
        return self.projection.decode(record.data)

    def _store(self, batch: _Batch[E], retry_policy: RetryPolicy) -> None:
        keys = list(batch.events)
        for start in range(0, len(keys), ROUND):
            self._store_round(batch, set(keys[start : start + ROUND]), retry_policy)

    def _store_round(self, batch: _Batch[E], pending: AbstractSet[Key], retry_policy: RetryPolicy) -> None:
        stored: dict[Key, Stored[S]] = dict(self.known.get(pending))
        verified = set(pending - stored.keys())
        stored |= self._load(batch, verified, retry_policy)
        failures = 0
        while pending:
            with self._timed(batch, "fold"):
                folds = {key: self._fold(batch, key, stored.get(key)) for key in pending}
            # what is known may be old, or of a table that is no more: only a write, which has a condition, trusts it
            to_verify = {
                key for key in pending - verified if folds[key].rejects or not _changes(folds[key], stored[key])
            }
            if to_verify:
                _replace(stored, to_verify, self._load(batch, to_verify, retry_policy))
                verified |= to_verify
                continue
            saved = self._save(batch, folds, stored)
            _replace(stored, saved.conflicts, saved.conflicts)
            verified |= saved.conflicts.keys()
            unsettled = saved.conflicts.keys() | saved.unknown.keys()
            for key in pending - unsettled:
                batch.settle(key, folds[key].record_outcomes)
            pending = unsettled
            failures = failures + 1 if saved.unknown else 0
            if failures:
                with self._timed(batch, "store"):
                    retry_policy.wait("store", failures, next(iter(saved.unknown.values())))

    def _load(self, batch: _Batch[E], keys: AbstractSet[Key], retry_policy: RetryPolicy) -> Mapping[Key, Stored[S]]:
        if not keys:
            return {}
        with self._timed(batch, "store"):
            loaded = persist("load", retry_policy, lambda: self.repository.load(keys))
        self.known.learn(loaded)
        return loaded

    def _fold(self, batch: _Batch[E], key: Key, stored: Stored[S] | None) -> Folded[S]:
        events = list(batch.events[key].values())
        if isinstance(stored, Unreadable):
            return refuse(self.projection, Rejected(Reason.STORED_STATE, stored.detail), events)
        return fold(self.projection, stored.state if stored else None, events)

    def _save(self, batch: _Batch[E], folds: Mapping[Key, Folded[S]], stored: Mapping[Key, Stored[S]]) -> Saved[S]:
        writes = {}
        for key, folded in folds.items():
            expected = stored.get(key)
            if folded.state is not None and not isinstance(expected, Unreadable) and _changes(folded, expected):
                writes[key] = PendingWrite(expected, folded.state)
        if not writes:
            return Saved()
        with self._timed(batch, "store"):
            saved = self.repository.save(writes)
        self.known.learn(saved.stored)
        batch.writes += len(writes)
        batch.conflicts += len(saved.conflicts)
        return saved

    def _quarantine_rejected(self, batch: _Batch[E], retry_policy: RetryPolicy) -> None:
        self._mind_the_breaker(batch)
        # the first record of an aggregate last: it may replace the whole, which was refused at another time
        kept = sorted(batch.entries(), key=lambda each: _in_place_of_whole(each[0].record))
        for group in groups(kept, lambda each: len(each[0].record.data), QUARANTINE_GROUP, QUARANTINE_GROUP_BYTES):
            entries = [entry for entry, _ in group]
            persist("quarantine", retry_policy, partial(self._put, list(entries)))
            batch.quarantined += entries
            for index in (index for _, indexes in group for index in indexes):
                batch.record_outcomes[index] = batch.rejected[index]

    def _put(self, left: list[Quarantined]) -> None:
        """Those that are kept leave `left`: to repeat all because of one would rarely succeed."""
        try:
            self.quarantine.put(left)
        except PartlyKept as partly:
            left[:] = partly.left
            raise

    def _mind_the_breaker(self, batch: _Batch[E]) -> None:
        for index in range(len(batch.records)):
            if _is_blameless(batch.rejected.get(index)):
                continue
            self._rejected_in_a_row = self._rejected_in_a_row + 1 if index in batch.rejected else 0
            if 0 < self.breaker <= self._rejected_in_a_row:
                raise BreakerOpen(
                    f"{self.breaker} records in a row were rejected, the last at {batch.records[index].position}:"
                    f" {batch.rejected[index].rejected}"
                )


def _is_blameless(record_outcome: RecordOutcome | None) -> bool:
    """A row of the store is at fault, which must not end the worker, and not the records."""
    return bool(record_outcome and record_outcome.rejected and record_outcome.rejected.reason is Reason.STORED_STATE)


def _in_place_of_whole(record: Record) -> bool:
    return record.aggregate is not None and record.position == record.aggregate.position


def _changes(folded: Folded[S], stored: Stored[S] | None) -> bool:
    return not isinstance(stored, Versioned) or folded.state != stored.state


def _replace(stored: dict[Key, Stored[S]], keys: Iterable[Key], found: Mapping[Key, Stored[S] | None]) -> None:
    for key in keys:
        current = found.get(key)
        if current is None:
            stored.pop(key, None)
        else:
            stored[key] = current
