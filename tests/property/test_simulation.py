"""Lifelike streams against a store whose every request may fail: a seed is a whole story, and can be told again."""

from collections import Counter
from random import Random

import pytest

from consumer.engine.folding import Outcome
from consumer.engine.records import Record
from consumer.limits.sample import Sample, histories
from tests.support import oracle
from tests.support.core import Core, Fate, Patient, UnsteadyQuarantine, UnsteadyRepository, memory
from tests.support.events import record

SEEDS = range(150)
FATES = (Fate.STORED, Fate.STORED, Fate.STORED, Fate.REPLY_LOST, Fate.THROTTLED)


class Story:
    """One stream, one table, an owner in trouble, and another writer that comes between."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.samples = list(histories(self.random, 120, 4, duplicates=0.1, poison=0.05))
        self.disorder(reach=self.random.choice([0, 3, 120]))
        self.records = [record(sample.data, number) for number, sample in enumerate(self.samples, 1)]
        self.table = memory()
        self.outcomes: Counter[Outcome] = Counter()
        self.quarantine = UnsteadyQuarantine(lambda: self.random.random() < 0.3)
        self.zombie = Core(self.table)
        self.owner = self.new_owner()

    def disorder(self, reach: int) -> None:
        """Records come at most so many places away from where they belong."""
        places = sorted(range(len(self.samples)), key=lambda place: place + self.random.uniform(0, reach))
        self.samples = [self.samples[place] for place in places]

    def new_owner(self) -> Core:
        repository = UnsteadyRepository(
            self.table,
            fate=lambda _key: self.random.choice(FATES),
            unreadable=lambda: self.random.random() < 0.2,
            before_save=self.come_between,
        )
        return Core(repository, self.quarantine, Patient(most=3), cached=self.random.choice([0, 2, 1_000]))

    def come_between(self) -> None:
        if self.random.random() < 0.3:
            self.zombie.deliver(*self.random.sample(self.records, 10))

    def tell(self) -> None:
        """Batch by batch; what was not settled comes again, now and then to a new owner."""
        at = 0
        while at < len(self.records):
            batch = self.records[at : at + self.random.randint(1, 40)]
            if self.random.random() < 0.1:
                self.owner = self.new_owner()
            at += self.settled(batch)

    def settled(self, batch: list[Record]) -> int:
        """How many records of the batch may be checkpointed past."""
        self.owner.patience.waits.clear()
        delivered = self.owner.deliver(*batch)
        positions = [each.position for each in delivered.records]
        count = positions.index(delivered.unsettled) if delivered.unsettled else len(batch)
        self.outcomes += Counter(verdict.outcome for verdict in delivered.verdicts[:count] if verdict)
        return count


@pytest.mark.parametrize("seed", SEEDS)
def test_every_story_ends_well(seed: int) -> None:
    story = Story(seed)
    story.tell()
    events = [sample.event for sample in story.samples if sample.event]
    now = max(event["createdAt"] for event in events)
    users = {event["aggregateId"] for event in events}
    found = {(user, name): limit for user in users for name, limit in story.owner.limits(user, now).items()}
    assert found == oracle.expected(events, now)
    assert {entry.record.data for entry in story.quarantine.entries()} == poison_of(story.samples)
    assert story.outcomes.total() == len(story.records)
    assert story.outcomes[Outcome.QUARANTINED] == sum(sample.event is None for sample in story.samples)


def poison_of(samples: list[Sample]) -> set[bytes]:
    return {sample.data for sample in samples if sample.event is None}
