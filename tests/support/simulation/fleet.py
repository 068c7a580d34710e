"""A KCL application in this process: shards, leases, checkpoints, and the real record processors that hold them.

The daemon, the table and the quarantine are played here, and whatever can go wrong with them goes as `FaultPlan` says.
What must never happen is watched for all the while: `Fleet.problems` lists it.
"""

import base64
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import count
from typing import Any, NoReturn, Protocol

from amazon_kclpy.checkpoint_error import CheckpointError

from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import Unavailable
from consumer.engine.processor import Known, Processor
from consumer.engine.projection import Ignored, Key
from consumer.engine.quarantine import InMemoryQuarantine, Quarantined
from consumer.engine.records import Position
from consumer.engine.repository import InMemoryRepository, PendingWrite, Saved, Stored, Versioned
from consumer.engine.stream import BelievedStream
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
"""The time, epoch milliseconds, at which limits are looked at."""
LIMITS = Limits()
BUSY = "ThrottlingException"
UNSURE = "KinesisClientLibDependencyException"
NOT_ALLOWED = "IllegalArgumentException"
REGISTERS = ("definition", "progress", "nextReset", "lastReset", "previousValue", "inferredValue", "inferredKind")


class Killed(BaseException):
    """`kill -9`, at the point where it is raised."""


class ProcessExited(BaseException):
    """The record processor's process has ended."""


class FaultPlan(Protocol):
    """What becomes of the next request. Any of them may raise Killed, or have somebody else act first."""

    def request(self) -> Fate:
        """Of a request as a whole: a save, a load, a quarantined record, a checkpoint."""
        ...

    def write(self) -> Fate:
        """Of one item of a save."""
        ...

    def answered(self) -> None:
        """Called when a request has had its effect, before anybody hears of it."""
        ...


class NoFaults:
    def request(self) -> Fate:
        return Fate.STORED

    def write(self) -> Fate:
        return Fate.STORED

    def answered(self) -> None:
        """Goes on."""


# the stores


class WatchedTable(InMemoryRepository[LimitState]):
    """A table that tells of every register that went back or vanished.

    writes: all that were asked for; races: those that came after somebody else's; conflicts: those that were refused.
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
        for key, met in before.items():
            self.violations += went_back(met.state, self.load([key])[key].state)
        return saved

    def lose_everything(self) -> None:
        """As when the table is deleted and made again."""
        self._kept.clear()


class WatchedQuarantine(InMemoryQuarantine):
    """A quarantine that says at once what is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: set[Position] = set()

    def put(self, entries: Iterable[Quarantined]) -> None:
        taken = list(entries)
        super().put(taken)
        self.positions |= {entry.record.position for entry in taken}


def went_back(old: LimitState, new: LimitState) -> list[str]:
    """The registers whose stamp is lower in `new`."""
    if new is old:
        return []
    before, after = LIMITS.dump(old), LIMITS.dump(new)
    return [
        f"{old.user_limit_id}: {name} went from {before[name]} to {after.get(name)}"
        for name in REGISTERS
        if stamp(before, name) > stamp(after, name)
    ]


def stamp(item: Mapping[str, Any], name: str) -> tuple[int, str]:
    """Sequence number and event id of a register as it is stored; less than any when there is none."""
    register = item.get(name)
    return (register["sequence"], register["eventId"]) if register else (0, "")


@dataclass
class FaultyTable:
    """Implements engine.repository.Repository: what one worker sees of the table."""

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
        for key in sorted(writes):  # so that a seed's story is the same whatever the order of sets
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
    """Implements engine.quarantine.Quarantine: what one worker sees of it. A put may take some and then fail."""

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


# the stream


@dataclass(frozen=True)
class Put:
    """A record on a shard, as the daemon delivers it: an aggregate comes whole."""

    position: Position
    samples: Sequence[Sample]

    @property
    def text(self) -> str:
        data = [sample.data for sample in self.samples]
        return base64.b64encode(data[0] if len(data) == 1 else kpl.aggregate(*data)).decode()

    @property
    def place(self) -> tuple[str, int]:
        return (self.position.sequence, self.position.sub_sequence)

    @property
    def parts(self) -> Iterator[tuple[Position, Sample]]:
        return ((replace(self.position, sub_sequence=sub), sample) for sub, sample in enumerate(self.samples))


@dataclass
class Shard:
    """done: records that lie before the checkpoint; ended: the shard's end is checkpointed."""

    name: str
    parents: Sequence["Shard"] = ()
    puts: list[Put] = field(default_factory=list)
    closed: bool = False
    done: int = 0
    ended: bool = False
    holder: "ShardProcessor | None" = None

    @property
    def open_for_reading(self) -> bool:
        """Its parents are done, it is not."""
        return not self.ended and all(parent.ended for parent in self.parents)

    @property
    def finished(self) -> bool:
        return self.ended or (not self.closed and self.done == len(self.puts))


@dataclass(frozen=True)
class Delivered:
    """A record as amazon_kclpy hands it over."""

    data: str
    sequence_number: str
    sub_sequence_number: int
    timestamp_millis: int = 0


@dataclass(frozen=True)
class Message:
    """A callback's input: whichever part of it the callback looks at."""

    checkpointer: "ShardProcessor"
    records: Sequence[Delivered] = ()
    millis_behind_latest: int = 0
    shard_id: str = ""
    sequence_number: str = BEGINNING
    sub_sequence_number: int = 0


class ShardProcessor:
    """One record processor's time with a shard: while it holds the lease, and after, until it has heard of its loss.

    It is also the checkpointer that the record processor talks to.
    """

    def __init__(self, fleet: "Fleet", shard: Shard, faults: FaultPlan, cached: int) -> None:
        self.fleet, self.shard, self.faults = fleet, shard, faults
        self.start = self.next = shard.done
        self.alive, self.stopping, self.busy = True, False, False
        self.outcomes: Counter[str] = Counter()
        core: Processor[LimitEvent, LimitState] = Processor(
            LIMITS,
            FaultyTable(fleet.table, faults),
            FaultyQuarantine(fleet.quarantine, faults),
            fleet.clock,
            known=Known(cached),
        )
        self.consumer = ShardConsumer(core, BelievedStream(STREAM), fleet.rules, self.measure, self.runtime())
        self._call(self.consumer.initialize, Message(self, (), 0, shard.name, *self.begun_after()))

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

    def work(self, size: int) -> None:
        """The next batch, or, after the last of a closed shard, its end.

        Before KCL tells of the end it looks whether the lease is still there.
        """
        batch = self.shard.puts[self.next : self.next + size]
        if not batch and self.shard.closed:
            ending = self.consumer.shard_ended if self.holds_the_lease else self.consumer.lease_lost
            self._call(ending, Message(self))
            self.end()
            return
        self.next += len(batch)
        counted = self.outcomes.total()
        self._call(self.consumer.process_records, Message(self, [Delivered(put.text, *put.place) for put in batch]))
        if self.alive and self.holds_the_lease and not self.stopping:
            size = sum(len(put.samples) for put in batch)
            assert self.outcomes.total() - counted == size, f"{self.outcomes} do not add up"

    def lease_lost(self) -> None:
        self._call(self.consumer.lease_lost, Message(self))
        self.end()

    def stop(self) -> None:
        """As before a deployment: asked to stop, and the lease let go."""
        self.stopping = True
        self._call(self.consumer.shutdown_requested, Message(self))
        self.end()

    def end(self) -> None:
        self.alive = False
        if self.holds_the_lease:
            self.shard.holder = None

    def checkpoint(self, sequence: str | None = None, sub_sequence: int = 0) -> None:
        """As the daemon answers: KCL goes neither back nor past what was delivered. Raises CheckpointError."""
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
        """How many records lie before the checkpoint."""
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
    """Who is killed leaves, and who cannot checkpoint the end of a shard; nobody else does."""
    cause = sys.exc_info()[1]
    if isinstance(cause, Killed | NotCheckpointed):
        raise ProcessExited
    raise AssertionError(f"a record processor left unasked with {code}: {cause!r}") from cause


# all together


class Fleet:
    """The stream, its application, and what has become of it."""

    def __init__(self, shards: int, rules: ShardRules | None = None) -> None:
        self.table, self.quarantine = WatchedTable(), WatchedQuarantine()
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
        """Those that take records, in order."""
        return [shard for shard in self.shards if not shard.closed]

    def put(self, *samples: Sample) -> None:
        """One record; more than one sample are an aggregate. A user's records go to one shard."""
        shards = self.open_shards()
        shard = shards[sum(samples[0].partition_key.encode()) % len(shards)]
        position = Position(STREAM, shard.name, f"{next(self._numbers):056}")
        shard.puts.append(Put(position, samples))

    def reshard(self, closing: Sequence[Shard], children: int) -> None:
        """Splits or merges: the closed ones take no more records, their children do."""
        for shard in closing:
            shard.closed = True
        self.shards += [Shard(next(self._names), tuple(closing)) for _ in range(children)]

    @property
    def finished(self) -> bool:
        return all(shard.finished for shard in self.shards)

    # the application

    def take(self, shard: Shard, faults: FaultPlan | None = None, cached: int = 1_000) -> ShardProcessor:
        """The shard's lease goes to a new record processor, whoever held it; that one may not know yet."""
        shard.holder = ShardProcessor(self, shard, faults or NoFaults(), cached)
        return shard.holder

    def lose_the_leases(self) -> None:
        """As when the lease table is deleted: nobody holds anything, all shards begin anew."""
        for shard in self.shards:
            shard.holder, shard.done, shard.ended = None, 0, False

    def forget_a_limit(self, key: Key) -> None:
        """As an operator does: deletes what is stored. Until all is read again, some of its events have no effect."""
        self.forgotten.add(key)
        found = self.table.load([key]).get(key)
        assert found is None or self.table.forget(key, found)

    def read_all_again(self) -> None:
        """From the beginning to the end, by new record processors: what was forgotten is built again."""
        self.lose_the_leases()
        self.forgotten.clear()
        self.drain()

    def drain(self) -> None:
        """New record processors, whom nothing troubles, read all shards to their ends."""
        for _ in self.shards:
            for shard in [shard for shard in self.shards if shard.open_for_reading and not shard.finished]:
                processor = self.take(shard)
                for _ in range(len(shard.puts) + 2):
                    if processor.alive:
                        self.pass_time(3_600)
                        processor.work(100)
        assert self.finished, "the shards are not read to their ends"

    # what must hold

    def samples(self) -> Iterator[Sample]:
        return (sample for _, sample in self.parts())

    def parts(self) -> Iterator[tuple[Position, Sample]]:
        return (part for shard in self.shards for put in shard.puts for part in put.parts)

    def check_settled(self, puts: Iterable[Put]) -> None:
        parts = (part for put in puts for part in put.parts)
        unsettled = [position for position, sample in parts if not self.is_settled(position, sample)]
        assert not unsettled, f"a checkpoint lies past {unsettled[0]}, which is not settled"

    def is_settled(self, position: Position, sample: Sample) -> bool:
        """Whether its effect is there: by the stamps of the registers it writes, or in the quarantine."""
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
        """Everything that must not be; to be asked when all is settled."""
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
    """The registers that the event writes for sure."""
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
    """A line for each key whose values differ, or that only one of them has."""
    return [
        f"{key}: found {found.get(key)}, wanted {wanted.get(key)}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
