"""A KCL application in this process: shards, leases, checkpoints, and the real record processors that hold them.

The daemon, the table and the quarantine are simulated, and a `FaultPlan` decides what goes wrong. Invariants are
checked all the time; `Fleet.problems` lists what was violated.
"""

import base64
import gzip
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import count
from typing import Any, NoReturn, Protocol

from amazon_kclpy.checkpoint_error import CheckpointError

from consumer.archive.lines import decode
from consumer.archive.place import Found, InMemoryPlace
from consumer.archive.segment import PlaceArchive
from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import Unavailable
from consumer.engine.processor import Known, Processor
from consumer.engine.projection import Ignored, Key
from consumer.engine.quarantine import InMemoryQuarantine, Quarantined
from consumer.engine.records import Position
from consumer.engine.repository import InMemoryRepository, PendingWrite, Saved, Stored, Versioned
from consumer.engine.stream import BelievedStream
from consumer.kcl.messages import OddDelivered
from consumer.kcl.record_processor import LEASE_GONE, NotCheckpointed, ShardConsumer, ShardRules
from consumer.kcl.retry import Runtime
from consumer.limits.events import LimitEvent
from consumer.limits.projection import Limits
from consumer.limits.sample import Sample
from consumer.limits.state import LimitState
from consumer.limits.view import view
from consumer.monitoring import metrics
from tests.support.generators import kpl, oracle
from tests.support.simulation.core import Fate

STREAM = "limits"
BEGINNING = "TRIM_HORIZON"
NOW = 1_800_000_000_000
"""The time, in epoch milliseconds, at which limits are viewed."""
LIMITS = Limits()
BUSY = "ThrottlingException"
UNSURE = "KinesisClientLibDependencyException"
NOT_ALLOWED = "IllegalArgumentException"
REGISTERS = ("definition", "progress", "nextReset", "lastReset", "previousValue", "inferredValue", "inferredKind")


class Killed(BaseException):
    """Simulates `kill -9` at the point where it is raised."""


class ProcessExited(BaseException):
    """The process of the record processor has exited."""


class FaultPlan(Protocol):
    """Decides the result of the next request. Each method may raise Killed, or let another worker act first."""

    def request(self) -> Fate:
        """The result of a whole request: a save, a load, a quarantined record, a checkpoint."""
        ...

    def write(self) -> Fate:
        """The result of one item of a save."""
        ...

    def answered(self) -> None:
        """Called after a request took effect, before its response arrives."""
        ...


class NoFaults:
    def request(self) -> Fate:
        return Fate.STORED

    def write(self) -> Fate:
        return Fate.STORED

    def answered(self) -> None:
        """Does nothing."""


# the stores


class WatchedTable(InMemoryRepository[LimitState]):
    """A table that records every register that went back or disappeared.

    writes: all requested; races: those that another writer preceded; conflicts: those that were refused.
    """

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.violations: list[str] = []
        self.writes = self.races = self.conflicts = 0

    def save(self, writes: Mapping[Key, PendingWrite[LimitState]]) -> Saved[LimitState]:
        before = self.load(writes)
        saved = super().save(writes)
        self.writes += len(writes)
        self.races += sum(before.get(key) != change.expected for key, change in writes.items())
        self.conflicts += len(saved.conflicts)
        for key, stored in before.items():
            self.violations += went_back(stored.state, self.load([key])[key].state)
        return saved

    def lose_everything(self) -> None:
        """Simulates a table that is deleted and created again."""
        self._kept.clear()


class WatchedQuarantine(InMemoryQuarantine):
    """A quarantine with an index of its positions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: set[Position] = set()

    def put(self, entries: Iterable[Quarantined]) -> None:
        taken = list(entries)
        super().put(taken)
        self.positions |= {entry.record.position for entry in taken}


def went_back(old: LimitState, new: LimitState) -> list[str]:
    """Describes the registers whose stamp is lower in `new`."""
    if new is old:
        return []
    before, after = LIMITS.dump(old), LIMITS.dump(new)
    return [
        f"{old.user_limit_id}: {name} went from {before[name]} to {after.get(name)}"
        for name in REGISTERS
        if stamp(before, name) > stamp(after, name)
    ]


def stamp(item: Mapping[str, Any], name: str) -> tuple[int, str]:
    """Sequence number and event id of a stored register; lower than any other if it is absent."""
    register = item.get(name)
    return (register["sequence"], register["eventId"]) if register else (0, "")


@dataclass
class FaultyTable:
    """One worker's connection to the table. Implements engine.repository.Repository."""

    kept: WatchedTable
    faults: FaultPlan

    def load(self, keys: Iterable[Key]) -> dict[Key, Versioned[LimitState]]:
        if self.faults.request() is not Fate.STORED:
            raise Unavailable("reading failed")
        return self.kept.load(keys)

    def save(self, writes: Mapping[Key, PendingWrite[LimitState]]) -> Saved[LimitState]:
        whole = self.faults.request()
        if whole is Fate.THROTTLED:
            return Saved(unknown=dict.fromkeys(writes, Unavailable(whole.value)))
        stored: dict[Key, Versioned[LimitState]] = {}
        conflicts: dict[Key, Stored[LimitState] | None] = {}
        unknown: dict[Key, Unavailable] = {}
        for key in sorted(writes):  # so that a seed gives the same run whatever the order of sets
            fate = self.faults.write()
            saved: Saved[LimitState] = Saved()
            if fate is not Fate.THROTTLED:
                saved = self.kept.save({key: writes[key]})
            self.faults.answered()
            if fate is whole is Fate.STORED:
                stored |= saved.stored
                conflicts |= saved.conflicts
            else:
                unknown[key] = Unavailable(fate.value)
        return Saved(stored, conflicts, unknown)

    def partition(self, partition: str) -> list[LimitState]:
        return self.kept.partition(partition)


@dataclass
class FaultyQuarantine:
    """One worker's connection to the quarantine; a put may fail halfway. Implements engine.quarantine.Quarantine."""

    kept: InMemoryQuarantine
    faults: FaultPlan

    def put(self, entries: Iterable[Quarantined]) -> None:
        for entry in entries:
            fate = self.faults.request()
            if fate is not Fate.THROTTLED:
                self.kept.put([entry])
            self.faults.answered()
            if fate is not Fate.STORED:
                raise Unavailable(fate.value)


class WatchedPlace(InMemoryPlace):
    """The place of an archive, with the data of all records in it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[Position, bytes] = {}

    def write(self, path: str, content: bytes) -> None:
        super().write(path, content)
        for line in gzip.decompress(content).splitlines():
            record = decode(line)
            assert self.records.setdefault(record.position, record.data) == record.data


@dataclass
class FaultyPlace:
    """One worker's connection to the place of the archive. Implements archive.Place."""

    kept: InMemoryPlace
    faults: FaultPlan

    def write(self, path: str, content: bytes) -> None:
        fate = self.faults.request()
        if fate is not Fate.THROTTLED:
            self.kept.write(path, content)
        self.faults.answered()
        if fate is not Fate.STORED:
            raise Unavailable(fate.value)

    def read(self, path: str) -> bytes:
        return self.kept.read(path)

    def list(self, prefix: str = "") -> Iterator[Found]:
        return self.kept.list(prefix)


# the stream


@dataclass(frozen=True)
class Put:
    """A record on a shard. The daemon delivers an aggregate as one record."""

    position: Position
    samples: Sequence[Sample]

    @property
    def data(self) -> bytes:
        data = [sample.data for sample in self.samples]
        return data[0] if len(data) == 1 else kpl.aggregate(*data)

    @property
    def text(self) -> str:
        return base64.b64encode(self.data).decode()

    @property
    def archived(self) -> dict[Position, bytes]:
        """What the archive must hold of it: an aggregate in one line if there is another one inside."""
        if any(sample.data.startswith(kpl.MAGIC) for sample in self.samples):
            return {self.position: self.data}
        return {position: sample.data for position, sample in self.parts}

    @property
    def delivered(self) -> OddDelivered:
        """The record in a message of the daemon."""
        sequence, sub_sequence = self.place
        return OddDelivered(sequence, self.text, sub_sequence)

    @property
    def place(self) -> tuple[str, int]:
        return (self.position.sequence, self.position.sub_sequence)

    @property
    def parts(self) -> Iterator[tuple[Position, Sample]]:
        return ((self.position._replace(sub_sequence=sub), sample) for sub, sample in enumerate(self.samples))


@dataclass
class Shard:
    """done: the number of records before the checkpoint; ended: the shard's end is checkpointed."""

    name: str
    parents: Sequence["Shard"] = ()
    puts: list[Put] = field(default_factory=list)
    closed: bool = False
    done: int = 0
    ended: bool = False
    holder: "ShardProcessor | None" = None

    @property
    def open_for_reading(self) -> bool:
        """Whether its parents have ended and it has not."""
        return not self.ended and all(parent.ended for parent in self.parents)

    @property
    def finished(self) -> bool:
        return self.ended or (not self.closed and self.done == len(self.puts))


@dataclass(frozen=True)
class Message:
    """The input of any callback; each callback reads its part."""

    checkpointer: "ShardProcessor"
    records: Sequence[OddDelivered] = ()
    millis_behind_latest: int = 0
    shard_id: str = ""
    sequence_number: str = BEGINNING
    sub_sequence_number: int = 0


class ShardProcessor:
    """One record processor of a shard, from taking the lease until it is notified that the lease is lost.

    It is also the record processor's checkpointer.
    """

    def __init__(self, fleet: "Fleet", shard: Shard, faults: FaultPlan, cached: int) -> None:
        self.fleet, self.shard, self.faults = fleet, shard, faults
        self.start = self.next = shard.done
        self.alive, self.stopping, self.busy = True, False, False
        self.interrupted = False
        self.owed = 0
        self.outcomes: Counter[str] = Counter()
        core: Processor[LimitEvent, LimitState] = Processor(
            LIMITS,
            FaultyTable(fleet.table, faults),
            FaultyQuarantine(fleet.quarantine, faults),
            fleet.clock,
            known=Known(cached),
            archive=self._archive(),
        )
        self.consumer = ShardConsumer(core, BelievedStream(STREAM), fleet.rules, self.measure, self.runtime())
        self._call(self.consumer.initialize, Message(self, (), 0, shard.name, *self.begun_after()))

    def _archive(self) -> PlaceArchive | None:
        if self.fleet.archive is None:
            return None
        return PlaceArchive(FaultyPlace(self.fleet.archive, self.faults), lambda: round(self.fleet.time * 1_000))

    def begun_after(self) -> tuple[str, int]:
        return self.shard.puts[self.start - 1].place if self.start else (BEGINNING, 0)

    def runtime(self) -> Runtime:
        fleet = self.fleet
        return Runtime(fleet.clock, fleet.clock, fleet.pass_time, lambda: 0.5, lambda: self.stopping, exit_process)

    def measure(self, metric: metrics.Metric, value: float, *labels: str) -> None:
        if metric is metrics.RECORDS:
            self.outcomes[labels[1]] += int(value)

    @property
    def holds_the_lease(self) -> bool:
        return self.shard.holder is self

    @property
    def gathers(self) -> bool:
        """Whether records are delivered to it that wait to be processed."""
        return self.consumer.seconds_to_settle() is not None

    def work(self, size: int, behind: float = 0.0) -> None:
        """Processes the next batch, or, after the last one of a closed shard, its end.

        KCL checks that it still holds the lease before it reports the end.
        """
        batch = self.shard.puts[self.next : self.next + size]
        if not batch and self.shard.closed:
            ending = self.consumer.shard_ended if self.holds_the_lease else self.consumer.lease_lost
            self._call(ending, Message(self))
            self.end()
            return
        self.next += len(batch)
        self.owed += sum(len(put.samples) for put in batch)
        message = Message(self, [put.delivered for put in batch], round(behind * 1_000))
        self._call(self.consumer.process_records, message)
        if self.alive and self.holds_the_lease and not self.stopping:
            self._check_outcomes()

    def silence(self, is_message_waiting: Callable[[], bool]) -> None:
        """The daemon sends nothing for as long as records may wait."""
        self.fleet.pass_time(self.consumer.seconds_to_settle() or 0.0)
        self._call(lambda _: self.consumer.settle_gathered(is_message_waiting), Message(self))
        self.interrupted |= self.alive and self.gathers

    def _check_outcomes(self) -> None:
        """Every delivered record has an outcome, and only one unless a message interrupted the work in a silence."""
        if self.gathers:
            return
        counted = self.outcomes.total()
        assert counted == self.owed or (self.interrupted and counted > self.owed), f"{self.outcomes} do not add up"

    def lease_lost(self) -> None:
        self._call(self.consumer.lease_lost, Message(self))
        self.end()

    def stop(self) -> None:
        """Shuts down and releases the lease, as in a deployment."""
        self.stopping = True
        self._call(self.consumer.shutdown_requested, Message(self))
        self.end()

    def end(self) -> None:
        self.alive = False
        if self.holds_the_lease:
            self.shard.holder = None

    def checkpoint(self, sequence: str | None = None, sub_sequence: int = 0) -> None:
        """Like the daemon, refuses to go back, or past what was delivered. Raises CheckpointError."""
        place = self._place(sequence, sub_sequence)
        fate = self.faults.request()
        if fate is Fate.THROTTLED:
            raise CheckpointError(BUSY)
        if not self.holds_the_lease:
            raise CheckpointError(LEASE_GONE)
        if not self.shard.done <= place <= self.next:
            raise CheckpointError(NOT_ALLOWED)
        self.fleet.check_settled(self.shard.puts[self.shard.done : place])
        self.shard.done = place
        self.shard.ended = sequence is None
        self.faults.answered()
        if fate is Fate.REPLY_LOST:
            raise CheckpointError(UNSURE)

    def _place(self, sequence: str | None, sub_sequence: int) -> int:
        """How many records are before the checkpoint."""
        if sequence is None:
            return len(self.shard.puts)
        if (sequence, sub_sequence) == self.begun_after():
            return self.start
        return next(index for index, put in enumerate(self.shard.puts, 1) if put.place == (sequence, sub_sequence))

    def _call(self, callback: Callable[[Message], None], message: Message) -> None:
        self.busy = True
        try:
            callback(message)
        except ProcessExited:
            self.end()
        finally:
            self.busy = False


def exit_process(code: int) -> NoReturn:
    """Only a killed process exits, and one that cannot checkpoint the end of a shard."""
    cause = sys.exc_info()[1]
    if isinstance(cause, Killed | NotCheckpointed):
        raise ProcessExited
    raise AssertionError(f"a record processor exited unexpectedly with {code}: {cause!r}") from cause


# the application as a whole


class Fleet:
    """The stream, the application that consumes it, and its stores."""

    def __init__(self, shards: int, rules: ShardRules | None = None, archive: WatchedPlace | None = None) -> None:
        self.table, self.quarantine, self.archive = WatchedTable(), WatchedQuarantine(), archive
        self.rules = rules or ShardRules(CheckpointPolicy(seconds=5, records=1), batch_deadline=5)
        self.time = 0.0
        self.forgotten: set[Key] = set()
        self._numbers = count(1)
        self._names = (f"shardId-{number:012}" for number in count())
        self.shards = [Shard(next(self._names)) for _ in range(shards)]

    def clock(self) -> float:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += seconds

    # the stream

    def open_shards(self) -> list[Shard]:
        """The shards that accept records, in order."""
        return [shard for shard in self.shards if not shard.closed]

    def put(self, *samples: Sample) -> None:
        """Puts one record, an aggregate if there are several samples. A user's records go to one shard."""
        shards = self.open_shards()
        shard = shards[sum(samples[0].partition_key.encode()) % len(shards)]
        position = Position(STREAM, shard.name, f"{next(self._numbers):056}")
        shard.puts.append(Put(position, samples))

    def reshard(self, closing: Sequence[Shard], children: int) -> None:
        """Splits or merges: closes these shards and opens their children."""
        for shard in closing:
            shard.closed = True
        self.shards += [Shard(next(self._names), tuple(closing)) for _ in range(children)]

    @property
    def finished(self) -> bool:
        return all(shard.finished for shard in self.shards)

    # the application

    def take(self, shard: Shard, faults: FaultPlan | None = None, cached: int = 1_000) -> ShardProcessor:
        """Gives the lease to a new record processor. The previous holder may not know of it yet."""
        shard.holder = ShardProcessor(self, shard, faults or NoFaults(), cached)
        return shard.holder

    def lose_the_leases(self) -> None:
        """Simulates a deleted lease table: no lease is held, and all shards start from the beginning."""
        for shard in self.shards:
            shard.holder, shard.done, shard.ended = None, 0, False

    def forget_a_limit(self, key: Key) -> None:
        """Deletes a limit, as an operator does. Until everything is read again, some of its events have no effect."""
        self.forgotten.add(key)
        found = self.table.load([key]).get(key)
        assert found is None or self.table.forget(key, found)

    def read_all_again(self) -> None:
        """Reads everything again with new record processors, which rebuilds the deleted limits."""
        self.lose_the_leases()
        self.forgotten.clear()
        self.drain()

    def drain(self) -> None:
        """Reads all shards to their ends with new record processors and without faults."""
        for _ in self.shards:
            for shard in [shard for shard in self.shards if shard.open_for_reading and not shard.finished]:
                processor = self.take(shard)
                for _ in range(len(shard.puts) + 2):
                    if processor.alive:
                        self.pass_time(3_600)
                        processor.work(100)
        assert self.finished, "the shards are not read to their ends"

    # invariants

    def samples(self) -> Iterator[Sample]:
        return (sample for _, sample in self.parts())

    def parts(self) -> Iterator[tuple[Position, Sample]]:
        return (part for shard in self.shards for put in shard.puts for part in put.parts)

    def check_settled(self, puts: Sequence[Put]) -> None:
        if self.archive:
            unarchived = [put.position for put in puts if not put.archived.items() <= self.archive.records.items()]
            assert not unarchived, f"a checkpoint is past {unarchived[0]}, which is not archived"
        parts = (part for put in puts for part in put.parts)
        unsettled = [position for position, sample in parts if not self.is_settled(position, sample)]
        assert not unsettled, f"a checkpoint is past {unsettled[0]}, which is not settled"

    def is_settled(self, position: Position, sample: Sample) -> bool:
        """Whether it is in the table, by the stamps of the registers it writes, or in the quarantine."""
        event = sample.event
        if event is None:
            return position in self.quarantine.positions
        if event["type"] not in oracle.OURS:
            return True
        key = (event["payload"]["userId"], event["payload"]["userLimitId"])
        if key in self.forgotten:
            return True
        found = self.table.load([key]).get(key)
        own = (event["sequenceNumber"], event["eventId"])
        return found is not None and all(stamp(LIMITS.dump(found.state), name) >= own for name in written_by(event))

    def problems(self) -> list[str]:
        """Every violated invariant, once everything is settled."""
        return [*self.table.violations, *self._wrong_limits(), *self._wrong_quarantine()]

    def _wrong_limits(self) -> list[str]:
        events = [sample.event for sample in self.samples() if sample.event]
        found = {(state.user_id, state.user_limit_id): view(state, NOW).to_json() for state in self.table.states()}
        wanted = oracle.expected(events, NOW)
        states = {(state.user_id, state.user_limit_id): state for state in self.table.states()}
        return differences(found, wanted) + differences(states, fold_of_all(events_of(self.samples())))

    def _wrong_quarantine(self) -> list[str]:
        found = {entry.record.position: (entry.record.data, entry.reason) for entry in self.quarantine.entries()}
        wanted = {
            position: (sample.data, sample.poison_reason) for position, sample in self.parts() if sample.poison_reason
        }
        return differences(found, wanted)


def written_by(event: Mapping[str, Any]) -> list[str]:
    """The registers that the event always writes."""
    names = {"USER_LIMIT_CREATED": ["definition"], "USER_LIMIT_PROGRESS_CHANGED": ["progress"]}
    always = names.get(event["type"], ["progress", "lastReset", "inferredValue", "inferredKind"])
    return [*always, "nextReset"] if "nextResetTime" in event["payload"] else always


def events_of(samples: Iterable[Sample]) -> list[LimitEvent]:
    decoded = [LIMITS.decode(sample.data) for sample in samples if sample.event]
    return [event for event in decoded if not isinstance(event, Ignored)]


def fold_of_all(events: Iterable[LimitEvent]) -> dict[Key, LimitState]:
    """Each limit's state: the events merged one by one, without an engine."""
    writes: dict[Key, list[LimitState]] = {}
    for event in events:
        writes.setdefault(LIMITS.key(event), []).append(LIMITS.state_of(event))
    return {key: reduce(LIMITS.merge, of_limit) for key, of_limit in writes.items()}


def differences(found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> list[str]:
    """One line per key whose values differ, or that only one of the two has."""
    return [
        f"{key}: found {found.get(key)}, wanted {wanted.get(key)}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
