"""The processing core: records in, a settled batch out. The record processor and the Lambda handler share it.

A record is settled when its effect is stored, when its effect was stored before, or when it is in the quarantine.
Faults of the environment are retried for as long as the caller's retry policy allows. They never settle a record.
"""

import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import groupby
from typing import Generic, TypeVar

from consumer.engine.aggregation import RECORDS, deaggregate, slices
from consumer.engine.archive import Archive
from consumer.engine.decoding import decode
from consumer.engine.errors import BreakerOpen, GaveUp, Reason, Rejected
from consumer.engine.folding import Folded, Outcome, RecordOutcome, fold, refuse
from consumer.engine.projection import Ignored, Key, Projection
from consumer.engine.quarantine import UNREADABLE, PartlyKept, Quarantine, Quarantined, groups
from consumer.engine.records import Position, Record
from consumer.engine.repository import PendingWrite, Repository, Saved, Stored, Unreadable, Versioned
from consumer.engine.retry_policy import RetryPolicy, persist
from consumer.engine.window import Window

E = TypeVar("E")
S = TypeVar("S")
T = TypeVar("T")

QUARANTINE_GROUP = 32
"""Records quarantined together, one request per record: two for each of bootstrap.QUARANTINE_REQUESTS.
Before each group, a record processor updates its heartbeat and a Lambda invocation checks its deadline."""

QUARANTINE_GROUP_BYTES = 4 * 1024 * 1024
"""Bytes of data in such a group, unless it is one larger record: the base64 to write is held in memory as well."""

PARTS = 10
"""Up to this many rejected records of one aggregate are quarantined one by one. If there are more, the aggregate is
quarantined whole: a flood of aggregates must not become a thousand times as many entries."""


@dataclass(frozen=True)
class BatchResult:
    """The outcome of a batch: `record_outcomes` has one item per record, None for an unsettled record.

    The records of an aggregate are listed one by one. A delivered record is settled once all of them are.
    """

    records: Sequence[Record]
    record_outcomes: Sequence[RecordOutcome | None]
    writes: int = 0
    conflicts: int = 0
    saved: int = 0
    """Applied records minus written states: the writes avoided by folding."""
    oldest_event: int | None = None
    """The time of the oldest event according to the event: epoch milliseconds."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time spent per phase: decode, fold, store, quarantine. Retry waits count towards their phase."""
    quarantined: Sequence[Quarantined] = ()
    """The new quarantine entries: the aggregate instead of its records when many of them were rejected."""

    @property
    def unsettled(self) -> Position | None:
        """The first delivered record that is not settled. It and the records after it must not be checkpointed."""
        first = self._first_unsettled
        return None if first == len(self.records) else self.records[first].delivered.position

    @property
    def settled(self) -> Position | None:
        """The last delivered record before the first unsettled one."""
        unsettled = self.unsettled
        for record in reversed(self.records[: self._first_unsettled]):
            if record.delivered.position != unsettled:
                return record.delivered.position
        return None

    @cached_property
    def _first_unsettled(self) -> int:
        outcomes = self.record_outcomes
        return outcomes.index(None) if None in outcomes else len(outcomes)

    @cached_property
    def _counts(self) -> Sequence[tuple[RecordOutcome, int]]:
        # Most records share a few outcomes. Counting objects is ten times as fast as counting equal values.
        settled = {id(each): each for each in self.record_outcomes if each is not None}
        counts = Counter(map(id, self.record_outcomes))
        return [(each, counts[identity]) for identity, each in settled.items()]

    @property
    def outcomes(self) -> Counter[Outcome]:
        return _sums((each.outcome, count) for each, count in self._counts)

    @property
    def by_type(self) -> Counter[tuple[str, Outcome]]:
        return _sums(((each.type, each.outcome), count) for each, count in self._counts)

    @property
    def warnings(self) -> Counter[str]:
        return _sums((kind, count) for each, count in self._counts for kind in each.warnings)

    @property
    def reasons(self) -> Counter[Reason]:
        return _sums((each.rejected.reason, count) for each, count in self._counts if each.rejected)


def _sums(counts: Iterable[tuple[T, int]]) -> Counter[T]:
    total: Counter[T] = Counter()
    for each, count in counts:
        total[each] += count
    return total


class Known(Generic[S]):
    """A cache of the last stored state of recently used keys. It saves the read before a conditional write."""

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
class _Batch(Generic[E, S]):
    """A batch in progress, and the outcomes so far.

    events    the events of each key, with their indexes in `records`
    stored    what each key holds in the store: from the cache, a read, or a refused write
    verified  keys whose `stored` was read from the store in this batch; all others come from the cache
    """

    records: Sequence[Record]
    record_outcomes: list[RecordOutcome | None]
    events: dict[Key, tuple[list[int], list[E]]] = field(default_factory=dict)
    stored: dict[Key, Stored[S]] = field(default_factory=dict)
    verified: set[Key] = field(default_factory=set)
    rejected: dict[int, RecordOutcome] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    writes: int = 0
    conflicts: int = 0
    saved: int = 0
    oldest_event: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def decide(self, index: int, record_outcome: RecordOutcome) -> None:
        """Settles a record. A rejected one is settled later, once it is in the quarantine."""
        if record_outcome.rejected:
            self.rejected[index] = record_outcome
        else:
            self.record_outcomes[index] = record_outcome

    def settle(self, key: Key, record_outcomes: Sequence[RecordOutcome]) -> None:
        """Settles every event of a key, once the key's state is stored."""
        applied = 0
        for index, record_outcome in zip(self.events[key][0], record_outcomes, strict=True):
            self.decide(index, record_outcome)
            applied += record_outcome.outcome is Outcome.APPLIED
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
        """The entries to quarantine in stream order, each with the indexes of the records in it."""
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
        return Quarantined(self.records[index], why.reason, why.detail, why.event_type or self.rejected[index].type)


@dataclass(slots=True)
class Processor(Generic[E, S]):
    """Keeps a projection up to date. One per shard; not thread-safe.

    clock          monotonic seconds
    record_cap     bytes; a larger record is rejected without being parsed
    breaker        consecutive rejected records that stop the worker; 0 disables it
    aggregate_cap  user records; an aggregate with more is rejected whole
    archive        where the caller keeps what was delivered, None if nowhere
    """

    projection: Projection[E, S]
    repository: Repository[S]
    quarantine: Quarantine
    clock: Callable[[], float]
    record_cap: int = 262_144
    breaker: int = 0
    known: Known[S] = field(default_factory=lambda: Known(10_000))
    aggregate_cap: int = RECORDS
    archive: Archive | None = None
    _rejected_in_a_row: int = 0
    _window: Window = field(default_factory=Window)

    def process(self, records: Iterable[Record], retry_policy: RetryPolicy) -> BatchResult:
        """Settles the records, or as many as the retry policy allows.

        Raises BreakerOpen if too many consecutive records were rejected; none of them is quarantined then.
        """
        return self._settle([part for parts in self._unpacked(records) for part in parts], retry_policy)

    def process_in_slices(
        self, records: Iterable[Record], retry_policy: RetryPolicy, go_on: Callable[[], bool], times: int = 1
    ) -> Iterator[BatchResult]:
        """Like `process`, in slices of bounded size (aggregation.slices). Stops after the first unsettled slice.

        `go_on` is called before each slice but the first. If it returns False, that slice is returned unsettled.
        """
        for number, parts in enumerate(slices(self._unpacked(records), times)):
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
        batch: _Batch[E, S] = _Batch(records, [None] * len(records))
        rejected_before = self._rejected_in_a_row
        with self._timed(batch, "decode"):
            self._decode(batch)
        try:
            self._store(batch, retry_policy)
            with self._timed(batch, "quarantine"):
                self._quarantine_rejected(batch, retry_policy)
        except GaveUp:
            # The records come again, and are counted then.
            self._rejected_in_a_row = rejected_before
        return batch.result()

    def correlation_id(self, record: Record) -> str | None:
        """The producer's id of the record for logs, None if absent. Decodes the record again."""
        try:
            event = self.event(record)
        except Rejected:
            return None
        return None if isinstance(event, Ignored) else self.projection.correlation_id(event)

    def event(self, record: Record) -> E | Ignored:
        """The event in a user record. Raises Rejected."""
        return decode(self.projection, record, self.record_cap)

    @contextmanager
    def _timed(self, batch: _Batch[E, S], phase: str) -> Iterator[None]:
        start = self.clock()
        try:
            yield
        finally:
            batch.seconds[phase] = batch.seconds.get(phase, 0.0) + self.clock() - start

    def _decode(self, batch: _Batch[E, S]) -> None:
        key_of, time_of, oldest = self.projection.key, self.projection.time_of, sys.maxsize
        for index, record in enumerate(batch.records):
            try:
                event = self.event(record)
            except Rejected as rejected:
                batch.decide(index, RecordOutcome(UNREADABLE, Outcome.QUARANTINED, rejected=rejected.bare()))
                continue
            if isinstance(event, Ignored):
                batch.record_outcomes[index] = _ignored(event.type)
                continue
            key = key_of(event)
            if key not in batch.events:
                batch.events[key] = ([], [])
            indexes, events = batch.events[key]
            indexes.append(index)
            events.append(event)
            oldest = min(oldest, time_of(event))
        if batch.events:
            batch.oldest_event = oldest

    def _store(self, batch: _Batch[E, S], retry_policy: RetryPolicy) -> None:
        """Settles every key: folds its events into the stored state and writes the result.

        Keys that are not settled go to the end of the queue, so that the others do not wait for them.
        """
        # by key, not by record: each key is written once, however many of its events are in the batch
        queue = deque(batch.events)
        batch.stored |= self.known.get(queue)
        failures = 0
        while queue:
            keys = [queue.popleft() for _ in range(min(self._window.size, len(queue)))]
            saved = self._store_keys(batch, keys, retry_policy)
            # A conflict returns the current item, so the next attempt needs no read.
            _replace(batch.stored, saved.conflicts, saved.conflicts)
            batch.verified |= saved.conflicts.keys()
            # An unknown write may have been stored. The next attempt finds its own write then and succeeds.
            queue.extend(key for key in keys if key in saved.conflicts or key in saved.unknown)
            self._window.learn(len(keys), len(saved.unknown))
            # Conflicts are retried at once: another writer made progress. Only a failing store needs a pause, longer
            # each time if nothing succeeds. A few throttled statements need none: the window limits the rate.
            failures = failures + 1 if len(saved.unknown) == len(keys) else int(self._window.is_shrinking)
            if failures:
                with self._timed(batch, "store"):
                    retry_policy.wait("store", failures, next(iter(saved.unknown.values())))

    def _store_keys(self, batch: _Batch[E, S], keys: Sequence[Key], retry_policy: RetryPolicy) -> Saved[S]:
        """Folds and saves the keys once. Settles those that are stored."""
        self._read(batch, {key for key in keys if key not in batch.stored and key not in batch.verified}, retry_policy)
        folds = self._folds(batch, keys)
        # The cache may be outdated, or from a deleted table. A conditional write detects that. A duplicate or a
        # rejection writes nothing, so nothing would detect it: read the state before settling on either.
        to_verify = {
            key
            for key, folded in folds.items()
            if key not in batch.verified and (folded.rejects or not _changes(folded, batch.stored[key]))
        }
        if to_verify:
            cached = {key: batch.stored[key] for key in to_verify}
            self._read(batch, to_verify, retry_policy)
            folds |= self._folds(batch, [key for key in to_verify if batch.stored.get(key) != cached[key]])
        saved = self._save(batch, folds)
        for key in keys:
            if key not in saved.conflicts and key not in saved.unknown:
                batch.settle(key, folds[key].record_outcomes)
        return saved

    def _read(self, batch: _Batch[E, S], keys: AbstractSet[Key], retry_policy: RetryPolicy) -> None:
        _replace(batch.stored, keys, self._load(batch, keys, retry_policy))
        batch.verified |= keys

    def _folds(self, batch: _Batch[E, S], keys: Iterable[Key]) -> dict[Key, Folded[S]]:
        """A fold starts again from what is stored each time: after a conflict, the outcomes may differ as well."""
        with self._timed(batch, "fold"):
            return {key: self._fold(batch.events[key][1], batch.stored.get(key)) for key in keys}

    def _load(self, batch: _Batch[E, S], keys: AbstractSet[Key], retry_policy: RetryPolicy) -> Mapping[Key, Stored[S]]:
        if not keys:
            return {}
        with self._timed(batch, "store"):
            loaded = persist("load", retry_policy, lambda: self.repository.load(keys))
        self.known.learn(loaded)
        return loaded

    def _fold(self, events: Sequence[E], stored: Stored[S] | None) -> Folded[S]:
        if isinstance(stored, Unreadable):
            return refuse(self.projection, Rejected(Reason.STORED_STATE, stored.detail), events)
        return fold(self.projection, stored.state if stored else None, events)

    def _save(self, batch: _Batch[E, S], folds: Mapping[Key, Folded[S]]) -> Saved[S]:
        # A key whose state does not change is settled without a write: its stored state has been verified.
        writes = {}
        for key, folded in folds.items():
            expected = batch.stored.get(key)
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

    def _quarantine_rejected(self, batch: _Batch[E, S], retry_policy: RetryPolicy) -> None:
        # The breaker counts before anything is quarantined, so that its records are delivered again after a fix.
        self._check_breaker(batch)
        # The first record of an aggregate has the position of the aggregate. If the aggregate itself was quarantined
        # by an earlier version, this entry overwrites it. It goes last, once all other records are in the quarantine.
        kept = sorted(batch.entries(), key=lambda each: _has_position_of_aggregate(each[0].record))
        for group in groups(kept, lambda each: len(each[0].record.data), QUARANTINE_GROUP, QUARANTINE_GROUP_BYTES):
            entries = [entry for entry, _ in group]
            persist("quarantine", retry_policy, partial(self._put, list(entries)))
            batch.quarantined += entries
            for index in (index for _, indexes in group for index in indexes):
                batch.record_outcomes[index] = batch.rejected[index]

    def _put(self, left: list[Quarantined]) -> None:
        """Removes the stored entries from `left`. Retry only the failures; retrying everything rarely succeeds."""
        try:
            self.quarantine.put(left)
        except PartlyKept as partly:
            left[:] = partly.left
            raise

    def _check_breaker(self, batch: _Batch[E, S]) -> None:
        for index in range(len(batch.records)):
            if _is_fault_of_row(batch.rejected.get(index)):
                continue
            self._rejected_in_a_row = self._rejected_in_a_row + 1 if index in batch.rejected else 0
            if 0 < self.breaker <= self._rejected_in_a_row:
                raise BreakerOpen(
                    f"{self.breaker} records in a row were rejected, the last at {batch.records[index].position}:"
                    f" {batch.rejected[index].rejected}"
                )


def _is_fault_of_row(record_outcome: RecordOutcome | None) -> bool:
    """Whether the fault is in a stored row, not in the record. Such a record must not open the breaker."""
    return bool(record_outcome and record_outcome.rejected and record_outcome.rejected.reason is Reason.STORED_STATE)


@cache
def _ignored(kind: str) -> RecordOutcome:
    return RecordOutcome(kind, Outcome.IGNORED)


def _has_position_of_aggregate(record: Record) -> bool:
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
