"""The life of a shard as a machine: batches, crashes, thieves and outages in any order, and one state at the end."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consumer.engine.folding import Outcome
from consumer.engine.projection import Key
from consumer.engine.quarantine import InMemoryQuarantine
from consumer.engine.records import Record
from consumer.engine.repository import Change, InMemoryRepository, Saved
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.property.strategies import NOW, histories, identity
from tests.support import oracle
from tests.support.core import Core, Fate, Patient, UnsteadyRepository
from tests.support.events import Event, record

POISON = b"poison"
LIMITS = Limits()


class Watched(InMemoryRepository[LimitState]):
    """A table that notices when a limit's state goes back."""

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.went_back: list[Key] = []

    def save(self, changes: Mapping[Key, Change[LimitState]]) -> Saved[LimitState]:
        before = self.load(changes)
        saved = super().save(changes)
        after = self.load(changes)
        self.went_back += [
            key for key, old in before.items() if LIMITS.merge(old.state, after[key].state) != after[key].state
        ]
        return saved


class Worker:
    """One that holds the shard's lease, or believes it does: where it is, and a core with its own knowledge."""

    def __init__(self, table: Watched, quarantine: InMemoryQuarantine, checkpoint: int) -> None:
        self.next = checkpoint
        self.repository = UnsteadyRepository(table)
        self.core = Core(self.repository, quarantine, Patient(most=2))

    def work(self, stream: list[Record], size: int, fates: Iterable[Fate] = ()) -> None:
        """The next batch; what was not settled comes again."""
        left = iter(fates)
        self.repository.fate = lambda _key: next(left, Fate.STORED)
        self.core.patience.waits.clear()
        batch = stream[self.next : self.next + size]
        unsettled = self.core.deliver(*batch).unsettled
        positions = [each.position for each in batch]
        self.next += positions.index(unsettled) if unsettled else len(batch)


class Shard(RuleBasedStateMachine):
    """A stream that grows, an owner that reads it, and former owners that have not heard of their loss."""

    @initialize()
    def start(self) -> None:
        self.stream: list[Record] = []
        self.events: dict[tuple[str, str, int, str], Event] = {}
        self.table, self.quarantine = Watched(), InMemoryQuarantine()
        self.checkpoint = 0
        self.owner = self.new_worker()
        self.zombies: list[Worker] = []

    def new_worker(self) -> Worker:
        return Worker(self.table, self.quarantine, self.checkpoint)

    @rule(events=histories(size=5))
    def put(self, events: list[Event]) -> None:
        """Some have been put before: then they are put again as they were."""
        for event in events:
            self.append(self.events.setdefault(identity(event), event))

    @rule()
    def put_poison(self) -> None:
        self.append(POISON)

    def append(self, data: object) -> None:
        self.stream.append(record(data, len(self.stream) + 1))

    @rule(size=st.integers(1, 6), fates=st.lists(st.sampled_from(Fate), max_size=8))
    def work(self, size: int, fates: list[Fate]) -> None:
        self.owner.work(self.stream, size, fates)

    @rule(size=st.integers(1, 6), fates=st.lists(st.sampled_from(Fate), max_size=8), data=st.data())
    def a_zombie_works(self, size: int, fates: list[Fate], data: st.DataObject) -> None:
        if self.zombies:
            data.draw(st.sampled_from(self.zombies)).work(self.stream, size, fates)

    @rule(size=st.integers(1, 6), data=st.data())
    def a_zombie_works_while_the_owner_is_about_to_write(self, size: int, data: st.DataObject) -> None:
        if self.zombies:
            zombie = data.draw(st.sampled_from(self.zombies))
            self.owner.repository.before_save = partial(zombie.work, self.stream, size)
            self.owner.work(self.stream, size)
            self.owner.repository.before_save = lambda: None

    @rule()
    def make_checkpoint(self) -> None:
        self.checkpoint = self.owner.next

    @rule()
    def crash(self) -> None:
        """Between the writes of a batch and its checkpoint, for instance."""
        self.owner = self.new_worker()

    @rule()
    def lose_the_lease(self) -> None:
        self.zombies.append(self.owner)
        self.owner = self.new_worker()

    @rule()
    def replay_from_the_start(self) -> None:
        self.checkpoint = 0
        self.owner = self.new_worker()

    @invariant()
    def no_limit_ever_goes_back(self) -> None:
        assert self.table.went_back == []

    @invariant()
    def only_poison_is_quarantined(self) -> None:
        assert all(entry.record.data == POISON for entry in self.quarantine.entries())

    def teardown(self) -> None:
        """The owner reads on to the end."""
        while self.owner.next < len(self.stream):
            self.owner.work(self.stream, 10)
        poison = [each.position for each in self.stream if each.data == POISON]
        assert sorted(entry.record.position for entry in self.quarantine.entries()) == poison
        assert self.stored() == oracle.expected(self.events.values(), NOW)
        again = self.new_worker().core.deliver(*self.stream)
        assert not again.outcomes[Outcome.APPLIED]

    def stored(self) -> dict[Key, dict[str, Any]]:
        users = {key[0] for key in self.events}
        return {(user, name): limit for user in users for name, limit in self.owner.core.limits(user, NOW).items()}


TestShard = Shard.TestCase
TestShard.settings = settings(settings.get_profile("consumer"), max_examples=60, stateful_step_count=30)
