"""An application as a state machine: several shards, real record processors, and all faults in any order.

Hypothesis chooses the next step and the result of each request, and shrinks a failure to its shortest sequence.
Leases and checkpoints are included.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import Reason
from consumer.kcl.record_processor import ShardRules
from consumer.limits.sample import Sample
from tests.property.strategies import FAR_SEQUENCES, histories, identity, times
from tests.support.generators import oracle
from tests.support.generators.events import Event, encode
from tests.support.simulation.core import Fate
from tests.support.simulation.fleet import Fleet, Killed, Shard, ShardProcessor, WatchedPlace

POISON = Sample("u-1", b"poison", None, Reason.JSON)


class Turn(Enum):
    """The result of a request."""

    DONE = auto()
    REPLY_LOST = auto()
    THROTTLED = auto()
    KILLED_BEFORE = auto()
    KILLED_AFTER = auto()
    A_THIEF_FIRST = auto()
    A_ZOMBIE_FIRST = auto()
    AN_OPERATOR_FIRST = auto()


FATES = {Turn.REPLY_LOST: Fate.REPLY_LOST, Turn.THROTTLED: Fate.THROTTLED}
SCRIPTS = st.lists(st.sampled_from(Turn), max_size=8)
SIZES = st.integers(1, 5)


class Script:
    """Implements fleet.FaultPlan: the requests follow the plan, those after it succeed."""

    def __init__(self, others: Mapping[Turn, Callable[[], object]]) -> None:
        self.turns: deque[Turn] = deque()
        self.others = others
        self.killed_after = False

    def follow(self, turns: Iterable[Turn]) -> None:
        self.turns = deque(turns)

    def request(self) -> Fate:
        turn = self.turns.popleft() if self.turns else Turn.DONE
        if turn is Turn.KILLED_BEFORE:
            raise Killed
        self.others.get(turn, lambda: None)()
        self.killed_after = turn is Turn.KILLED_AFTER
        return FATES.get(turn, Fate.STORED)

    write = request

    def answered(self) -> None:
        if self.killed_after:
            raise Killed


def _work(processor: ShardProcessor, size: int, script: Iterable[Turn]) -> None:
    assert isinstance(processor.faults, Script)
    processor.faults.follow(script)
    processor.work(size)


class Application(RuleBasedStateMachine):
    """A stream that grows, splits and merges, the holders of its shards, and former holders that do not know it."""

    @initialize(shards=st.integers(1, 2), records=st.sampled_from([1, 4, 100]), archives=st.booleans())
    def start(self, shards: int, records: int, archives: bool) -> None:
        rules = ShardRules(CheckpointPolicy(seconds=10, records=records), batch_deadline=2)
        self.fleet = Fleet(shards, rules, WatchedPlace() if archives else None)
        self.events: dict[tuple[str, str, int, str], Event] = {}
        self.refused = {POISON.data: POISON.poison_reason}
        self.processors: list[ShardProcessor] = []

    # the stream

    @rule(events=histories(4, FAR_SEQUENCES))
    def put(self, events: list[Event]) -> None:
        """Events that were put before are sent again unchanged."""
        for event in events:
            self.fleet.put(self._sample(event))

    @rule(events=histories(3, FAR_SEQUENCES))
    def put_together(self, events: list[Event]) -> None:
        """An aggregate with the partition key of its first event. The others may be of other users."""
        self.fleet.put(*map(self._sample, events))

    def _sample(self, event: Event) -> Sample:
        same = self.events.setdefault(identity(event), event)
        data = encode(same)
        if same["sequenceNumber"] <= oracle.CEILING:
            return Sample(same["aggregateId"], data, same)
        self.refused[data] = Reason.SEQUENCE
        return Sample(same["aggregateId"], data, None, Reason.SEQUENCE)

    @rule()
    def put_poison(self) -> None:
        self.fleet.put(POISON)

    @precondition(lambda self: len(self.fleet.shards) < 6)
    @rule(data=st.data(), merge=st.booleans())
    def reshard(self, data: st.DataObject, merge: bool) -> None:
        shards = self.fleet.open_shards()
        if merge and len(shards) > 1:
            self.fleet.reshard(shards[:2], 1)
        else:
            self.fleet.reshard([data.draw(st.sampled_from(shards))], 2)

    # its readers

    @precondition(lambda self: self._readable())
    @rule(data=st.data(), size=SIZES, script=SCRIPTS)
    def work(self, data: st.DataObject, size: int, script: list[Turn]) -> None:
        """A batch for the holder of a shard. If there is none, the shard is taken first."""
        shard = data.draw(st.sampled_from(self._readable()))
        _work(shard.holder or self._take(shard), size, script)

    @precondition(lambda self: self._readable())
    @rule(data=st.data(), size=SIZES, script=SCRIPTS, cached=st.sampled_from([0, 1, 100]))
    def steal(self, data: st.DataObject, size: int, script: list[Turn], cached: int) -> None:
        """Another worker reads the shard from its checkpoint, while the former holder may continue."""
        _work(self._take(data.draw(st.sampled_from(self._readable())), cached), size, script)

    @precondition(lambda self: self._zombies())
    @rule(data=st.data(), size=SIZES, script=SCRIPTS)
    def a_zombie_works(self, data: st.DataObject, size: int, script: list[Turn]) -> None:
        _work(data.draw(st.sampled_from(self._zombies())), size, script)

    @precondition(lambda self: self._living())
    @rule(data=st.data(), size=SIZES)
    def an_outage_and_a_stop(self, data: st.DataObject, size: int) -> None:
        """The batch is interrupted, and another one is delivered nevertheless."""
        processor = data.draw(st.sampled_from(self._living()))
        processor.stopping = True
        _work(processor, size, [Turn.DONE, *[Turn.THROTTLED] * 50])
        if processor.alive:
            _work(processor, size, ())
        if processor.alive:
            processor.stop()

    @precondition(lambda self: self._living())
    @rule(data=st.data(), end=st.sampled_from([ShardProcessor.end, ShardProcessor.stop, ShardProcessor.lease_lost]))
    def end(self, data: st.DataObject, end: Callable[[ShardProcessor], None]) -> None:
        """A crash, for example between writes and checkpoint; a stop; or a notice that the lease is lost."""
        end(data.draw(st.sampled_from(self._living())))

    def _readable(self) -> list[Shard]:
        return [shard for shard in self.fleet.shards if shard.open_for_reading and len(shard.puts) > shard.done]

    def _living(self) -> list[ShardProcessor]:
        self.processors = [processor for processor in self.processors if processor.alive]
        return self.processors

    def _zombies(self) -> list[ShardProcessor]:
        return [processor for processor in self._living() if not processor.holds_the_lease]

    def _take(self, shard: Shard, cached: int = 100) -> ShardProcessor:
        others: dict[Turn, Callable[[], object]] = {
            Turn.A_THIEF_FIRST: partial(self._rob, shard),
            Turn.A_ZOMBIE_FIRST: partial(self._wake_a_zombie, shard),
            Turn.AN_OPERATOR_FIRST: self._forget_the_first,
        }
        self.processors.append(self.fleet.take(shard, Script(others), cached))
        return self.processors[-1]

    def _rob(self, shard: Shard) -> None:
        """At this moment, another worker takes the shard and is faster."""
        if shard.open_for_reading:
            _work(self._take(shard), 100, ())

    def _wake_a_zombie(self, shard: Shard) -> None:
        """At this moment, a former holder writes its last batch."""
        for processor in self._zombies():
            if processor.shard is shard and not processor.busy:
                _work(processor, 1, ())

    @precondition(lambda self: self.fleet.table.states())
    @rule(data=st.data())
    def an_operator_forgets_a_limit(self, data: st.DataObject) -> None:
        state = data.draw(st.sampled_from(self.fleet.table.states()))
        self.fleet.forget_a_limit((state.user_id, state.user_limit_id))

    def _forget_the_first(self) -> None:
        """At this moment, for example between another worker's read and write."""
        for state in self.fleet.table.states()[:1]:
            self.fleet.forget_a_limit((state.user_id, state.user_limit_id))

    @rule(seconds=st.sampled_from([1.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.fleet.pass_time(seconds)

    @rule()
    def replay_from_the_start(self) -> None:
        self.fleet.lose_the_leases()

    # invariants

    @invariant()
    def no_register_ever_goes_back(self) -> None:
        assert self.fleet.table.violations == []

    @invariant()
    def nothing_sound_is_quarantined(self) -> None:
        kept = self.fleet.quarantine.entries()
        assert all(self.refused.get(entry.record.data) == entry.reason for entry in kept)

    @invariant()
    def no_checkpoint_lies_past_what_is_not_settled(self) -> None:
        for shard in self.fleet.shards:
            self.fleet.check_settled(shard.puts[: shard.done])

    def teardown(self) -> None:
        """Once everything is read, the table holds the fold of all events, and the oracle computes the same."""
        self.fleet.drain()
        if self.fleet.forgotten:
            self.fleet.read_all_again()
        assert self.fleet.problems() == []
        self.fleet.lose_the_leases()
        writes = self.fleet.table.writes
        self.fleet.drain()
        assert self.fleet.table.writes == writes, "a second delivery of everything changes nothing and writes nothing"


TestApplication = Application.TestCase
TestApplication.settings = settings(times(2), stateful_step_count=40)
