"""Ten thousand simulated runs of an application. Each is drawn from a seed and can be repeated.

The record processors are the real ones. Every request of theirs may be throttled, or may be done and not heard of;
another record processor may come before it, steal the lease under it, or write what is long done; the process may be
killed before it or after it. Shards split and merge, records come twice, out of order, spoilt, packed together.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from random import Random

import pytest

from consumer.engine.archive import ArchivePolicy
from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.gathering import GatheringPolicy
from consumer.kcl.record_processor import ShardRules
from consumer.limits.sample import Sample, histories
from tests.faults.conftest import Note
from tests.support.simulation.core import Fate
from tests.support.simulation.fleet import Fleet, Killed, Shard, ShardProcessor, WatchedPlace

RUNS = 10_000
PART = 250
HAPPENINGS = frozenset(
    {
        *("throttled", "reply_lost", "killed", "crashed", "interludes", "stolen", "zombie batches"),
        *("stopped in a batch", "outages", "split", "merged", "restarted", "conflicts"),
        *("gathered", "silences", "interrupted silences", "crashed with gathered", "robbed of gathered"),
        *("lost with gathered", "stopped with gathered", "ended with gathered"),
    }
)
"""What must have occurred in ten thousand runs for the test to be meaningful."""
STEPS = 5_000
"""More steps than any run needs that makes progress."""


class RandomFaults:
    """Draws the results of the requests of a processor of `shard`. Implements fleet.FaultPlan."""

    def __init__(self, life: "Life", shard: Shard) -> None:
        self.life, self.shard = life, shard
        random = life.random
        self.failing = random.choice((0.0, 0.1, 0.5))
        self.rivalry = random.choice((0.0, 0.1, 0.3))
        self.killing = random.choice((0.0, 0.02))

    def request(self) -> Fate:
        self.life.interlude(self.rivalry, self.shard)
        return self._fate()

    def write(self) -> Fate:
        self.life.interlude(self.rivalry / 2, self.shard)
        return self._fate()

    def answered(self) -> None:
        self._maybe_killed()

    def _fate(self) -> Fate:
        self._maybe_killed()
        if self.life.fleet.time < self.life.outage_ends:
            return self.life.note(Fate.THROTTLED)
        if not self.life.happens(self.failing):
            return Fate.STORED
        return self.life.note(self.life.random.choice((Fate.THROTTLED, Fate.REPLY_LOST)))

    def _maybe_killed(self) -> None:
        if self.life.happens(self.killing):
            self.life.seen["killed"] += 1
            raise Killed


def an_archive(seed: int) -> tuple[ArchivePolicy, WatchedPlace | None]:
    """When the archive is written; None for its place, in every second life."""
    random = Random(f"archive of {seed}")
    policy = ArchivePolicy(random.choice((0.5, 60.0, 600.0)), random.choice((1, 10**6)))
    return policy, WatchedPlace() if random.random() < 0.5 else None


class Life:
    """One run of an application, from its first record to its last checkpoint."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.seen: Counter[str] = Counter()
        self.depth = 0
        self.outage_ends = 0.0
        self.troubles = self.random.choice((0, 10, 60))
        self.samples = self._in_disorder()
        policy = CheckpointPolicy(self.random.choice((0.5, 60.0)), self.random.choice((1, 7, 1_000)))
        gathering = GatheringPolicy(self.random.choice((0.0, 5.0, 600.0)), records=self.random.choice((2, 10, 100)))
        archiving, archive = an_archive(seed)
        rules = ShardRules(policy, batch_deadline=2.0, gathering=gathering, archiving=archiving)
        self.fleet = Fleet(self.random.randint(1, 2), rules, archive)
        self.processors: list[ShardProcessor] = []
        self.acts = (
            *(self._put, self._work, self._work, self._work, self._silence, self._take),
            *(self._reshard, self._crash, self._stop, self._outage, self._begin_anew),
        )

    def _in_disorder(self) -> list[Sample]:
        """Moves each record by a bounded number of places."""
        size, users = self.random.randint(5, 30), self.random.choice((1, 1, 2, 4))
        samples = list(histories(self.random, size, users, duplicates=0.1, poison=0.06))
        reach = self.random.choice((0, 3, size))
        places = sorted(range(size), key=lambda place: place + self.random.uniform(0, reach))
        return [samples[place] for place in places]

    def live(self) -> None:
        """Runs until everything is put, read and checkpointed."""
        for _ in range(STEPS):
            if not self.samples and self.fleet.finished:
                self.seen["objects"] = len(self.fleet.archive.files) if self.fleet.archive else 0
                self.seen["conflicts"], self.seen["races"] = self.fleet.table.conflicts, self.fleet.table.races
                return
            self.fleet.pass_time(self.random.choice((0.0, 1.0, 60.0)))
            self.random.choice(self.acts)()
        raise AssertionError("this life does not come to its end")

    def happens(self, chance: float) -> bool:
        """Whether a fault happens. The number of faults per run is limited."""
        if self.troubles <= 0 or self.random.random() >= chance:
            return False
        self.troubles -= 1
        return True

    def note(self, fate: Fate) -> Fate:
        self.seen[fate.name.lower()] += 1
        return fate

    def interlude(self, chance: float, shard: Shard) -> None:
        """What happens during a request: other processors act, the lease is stolen, or an outage begins."""
        if self.depth < 3 and self.happens(chance):
            self.depth += 1
            self.seen["interludes"] += 1
            self.random.choice((self.random.choice(self.acts), partial(self._rob, shard), self._begin_outage))()
            self.depth -= 1

    # what may happen

    def _put(self) -> None:
        """Puts a record, or an aggregate of consecutive records of one user."""
        packed: list[Sample] = []
        most = self.random.choice((1, 1, 1, 3))
        while self.samples and len(packed) < most and _same_user([*packed, self.samples[0]]):
            packed.append(self.samples.pop(0))
        if packed:
            self.fleet.put(*packed)

    def _take(self) -> None:
        """Takes the lease of a free shard, or sometimes steals one that is held."""
        shards = [shard for shard in self.fleet.shards if shard.open_for_reading]
        if not shards:
            return
        shard = self.random.choice(shards)
        if shard.holder is None or self.happens(0.3):
            self._start(shard)

    def _start(self, shard: Shard) -> ShardProcessor:
        self.seen["stolen"] += shard.holder is not None
        self.seen["robbed of gathered"] += shard.holder is not None and shard.holder.gathers
        cached = self.random.choice((0, 2, 1_000))
        self.processors.append(self.fleet.take(shard, RandomFaults(self, shard), cached))
        return self.processors[-1]

    def _rob(self, shard: Shard) -> None:
        if shard.open_for_reading:
            thief = self._start(shard)
            for _ in range(self.random.randint(1, 3)):
                if thief.alive:
                    thief.work(self._size(), self._behind())

    def _idle(self) -> list[ShardProcessor]:
        self.processors = [processor for processor in self.processors if processor.alive]
        return [processor for processor in self.processors if not processor.busy]

    def _work(self) -> None:
        """Delivers a batch to any processor, also to one that lost its lease or must stop and does not know it yet."""
        idle = self._idle()
        if not idle:
            return self._take()
        processor = self.random.choice(idle)
        gathers = processor.gathers
        if processor.stopping and self.random.random() < 0.5:
            self.seen["stopped with gathered"] += gathers
            processor.stop()
        elif processor.holds_the_lease or self.happens(0.7):
            self.seen["zombie batches"] += not processor.holds_the_lease
            processor.work(self._size(), self._behind())
            self.seen["gathered"] += processor.alive and processor.gathers
            self.seen["ended with gathered"] += gathers and processor.shard.ended
        else:
            self.seen["lost with gathered"] += gathers
            processor.lease_lost()
        return None

    def _silence(self) -> None:
        """Delivers nothing to a processor until it processes what it has gathered; sometimes a message interrupts."""
        gathering = [processor for processor in self._idle() if processor.gathers]
        if gathering:
            processor = self.random.choice(gathering)
            self.seen["silences"] += 1
            processor.silence(lambda: self.random.random() < 0.3)
            self.seen["interrupted silences"] += processor.alive and processor.gathers

    def _size(self) -> int:
        return self.random.choice((1, 3, 12))

    def _behind(self) -> float:
        """How far behind its shard the processor is told to be."""
        return self.random.choice((0.0, 60.0))

    def _crash(self) -> None:
        """Kills a processor between two batches: its cache is lost, and records after the checkpoint come again."""
        idle = self._idle()
        if idle and self.happens(0.3):
            processor = self.random.choice(idle)
            self.seen["crashed"] += 1
            self.seen["crashed with gathered"] += processor.gathers
            processor.end()

    def _stop(self) -> None:
        """Requests a processor to stop."""
        if self.processors and self.happens(0.2):
            self.random.choice(self.processors).stopping = True

    def _outage(self) -> None:
        if self.happens(0.2):
            self._begin_outage()

    def _begin_outage(self) -> None:
        """Starts an outage. Processors that wait may be requested to stop."""
        self.outage_ends = self.fleet.time + self.random.choice((1.0, 30.0, 90.0))
        self.seen["outages"] += 1
        for processor in self.processors:
            if processor.busy and self.random.random() < 0.5:
                self.seen["stopped in a batch"] += 1
                processor.stopping = True

    def _begin_anew(self) -> None:
        """Deletes the leases, and with them all checkpoints."""
        if self.happens(0.02):
            self.fleet.lose_the_leases()
            self.seen["restarted"] += 1

    def _reshard(self) -> None:
        """Splits a shard, or merges two."""
        shards = self.fleet.open_shards()
        if len(self.fleet.shards) > 6 or not self.happens(0.2):
            return
        if len(shards) > 1 and self.random.random() < 0.5:
            self.fleet.reshard(self.random.sample(shards, 2), 1)
            self.seen["merged"] += 1
        else:
            self.fleet.reshard([self.random.choice(shards)], 2)
            self.seen["split"] += 1


def _same_user(samples: Sequence[Sample]) -> bool:
    return len({sample.partition_key for sample in samples}) == 1


def lived(seed: int, make: Callable[[int], Life] = Life) -> Life:
    """Runs one seed. The error names the seed and the first difference."""
    life = make(seed)
    try:
        life.live()
        problems = life.fleet.problems()
        assert not problems, f"{problems[0]} (and {len(problems) - 1} more)"
    except BaseException as wrong:
        wrong.add_note(f"seed {seed}: to live it again, CONSUMER_TEST_SEED={seed}")
        raise
    return life


@dataclass(frozen=True)
class Lives:
    """What happened in some runs. `failed`: the seed of the first failed run."""

    seen: Counter[str]
    failed: int | None = None


def lives(seeds: Iterable[int]) -> Lives:
    logging.disable()  # ten thousand lives have more to log than anybody reads
    seen: Counter[str] = Counter()
    try:
        for seed in seeds:
            try:
                seen += lived(seed).seen
            except AssertionError:
                return Lives(seen, seed)
    finally:
        logging.disable(logging.NOTSET)
    return Lives(seen)


def test_every_life_ends_well(seed: int, note: Note, others: Executor) -> None:
    parts = [range(first, first + PART) for first in range(seed, seed + RUNS, PART)]
    seen: Counter[str] = Counter()
    for part in others.map(lives, parts):
        if part.failed is not None:
            lived(part.failed)
            raise AssertionError(f"seed {part.failed} went wrong, but not a second time")
        seen += part.seen
    note(f"{RUNS} lives from seed {seed}: {dict(sorted(seen.items()))}")
    assert seen.keys() >= HAPPENINGS


def test_a_seed_is_one_and_the_same_life_everywhere(seed: int, others: Executor) -> None:
    seeds = range(seed, seed + 20)
    assert lives(seeds) == others.submit(lives, seeds).result()


class Forgetful(Life):
    """An application whose table loses its content."""

    def live(self) -> None:
        super().live()
        self.fleet.table.lose_everything()


def test_a_life_that_ends_badly_tells_its_seed_and_the_first_difference() -> None:
    with pytest.raises(AssertionError, match=r"found None, wanted .* \(and [0-9]+ more\)") as wrong:
        lived(7, Forgetful)
    assert wrong.value.__notes__ == ["seed 7: to live it again, CONSUMER_TEST_SEED=7"]
