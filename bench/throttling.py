"""How long the core sleeps when DynamoDB refuses statements at random: the real processor, in virtual time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from statistics import median
from typing import NoReturn

from bench import load
from bench.child import Failed
from bench.results import Figure, Report
from consumer import bootstrap
from consumer.engine.errors import Unavailable
from consumer.engine.projection import Key
from consumer.engine.records import Position, Record
from consumer.engine.repository import InMemoryRepository, PendingWrite, Saved, Stored
from consumer.kcl.retry import Runtime, UntilStopped
from consumer.limits.state import LimitState
from consumer.settings import RecordSettings

LIMITS = 2_000
REFUSED = 0.3
SEEDS = range(1, 6)


@dataclass(slots=True)
class Refusing:
    """A repository that does not execute each statement with the probability REFUSED, as DynamoDB throttles."""

    kept: InMemoryRepository[LimitState]
    chance: Random
    saves: int = 0

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[LimitState]]:
        return self.kept.load(keys)

    def save(self, writes: Mapping[Key, PendingWrite[LimitState]]) -> Saved[LimitState]:
        self.saves += 1
        refused = {key for key in writes if self.chance.random() < REFUSED}
        saved = self.kept.save({key: write for key, write in writes.items() if key not in refused})
        return replace(saved, unknown=dict.fromkeys(refused, Unavailable("throttled")))

    def partition(self, partition: str) -> list[LimitState]:
        return self.kept.partition(partition)


@dataclass(slots=True)
class VirtualTime:
    """A clock in seconds that only `sleep` advances."""

    now: float = 0.0
    chance: Random = field(default_factory=Random)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def measure(report: Report) -> list[Figure]:
    slept = [seconds_asleep(seed) for seed in SEEDS]
    report(f"{LIMITS} limits, {REFUSED:.0%} of statements refused: {median(slept):.2f} s asleep")
    title = f"{LIMITS:,} limits, {REFUSED:.0%} of statements throttled at random: asleep"
    return [Figure("throttled", title, "s", median(slept), min(slept), max(slept))]


def seconds_asleep(seed: int) -> float:
    """For one batch with an event of each limit. Raises Failed if a limit is missing afterwards."""
    core, states = bootstrap.in_memory_processor(RecordSettings())
    time = VirtualTime(chance=Random(seed))
    throttled = replace(core, repository=Refusing(states, Random(seed)), clock=time.clock)
    runtime = Runtime(time.clock, time.clock, time.sleep, time.chance.random, lambda: False, _exit)
    records = [
        Record(Position("bench", "shardId-000000000000", f"{number}"), load.data(event), load.START)
        for number, event in enumerate(load.spread(0, LIMITS).setup, 1)
    ]
    result = throttled.process(records, UntilStopped(runtime, 5.0, lambda: None, lambda _: None))
    if result.unsettled or len(states.states()) != LIMITS:
        raise Failed("throttled writes were lost")
    return time.now


def _exit(code: int) -> NoReturn:
    raise SystemExit(code)
