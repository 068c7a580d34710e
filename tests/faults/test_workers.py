"""Workers of one application share eight shards: one joins, one leaves, one is killed; shards split and merge.

Every shard is consumed, and the table is what it must be. The longest pause of any part of the stream is reported.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.conftest import Note, stage_of
from tests.support.driven.leases import leader, lost, owed, owners
from tests.support.driven.load import Producer
from tests.support.driven.scenario import Stage, poison, until_equal
from tests.support.driven.service import Service
from tests.support.driven.shards import Shard, logged_at, merge, shards, split
from tests.support.driven.waiting import until
from tests.support.driven.watch import Watch
from tests.support.driven.workers import FAST_REBALANCING, kill, with_properties, worker
from tests.support.emulators.aws import Emulator

pytestmark = pytest.mark.conformance

SHARDS = 8
RATE = 80.0
"""Records per second."""
STANDSTILL_SECONDS = 60.0


@pytest.fixture
def stage(streams: Emulator, tables: Emulator, tmp_path: Path) -> Stage:
    return stage_of(SHARDS, streams, tables, tmp_path, "workers")


def test_workers_come_and_go_while_shards_split_and_merge(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    produce = Producer(stage, seed, users=200)
    settings = with_properties(tmp_path, **FAST_REBALANCING)
    with Watch(stage) as watch, ExitStack() as stack:

        def join(name: str) -> Service:
            return stack.enter_context(worker(stage, tmp_path, name, CONSUMER_WORKER_ID=name, **settings))

        def share(*names: str) -> None:
            until(lambda: owners(stage).keys() == set(names), f"the shards to be with {names}", seconds=120)

        workers = {name: join(name) for name in ("first", "second")}
        with produce.steadily(RATE):
            share(*workers)
            until_all_at_work(stage, workers.values())
            workers["third"] = join("third")
            share(*workers)
            one, two, three, *_ = shards(stage).values()
            split(stage, one)
            merge(stage, two, three)
            until_all_at_work(stage, workers.values())
            # The leader stays: row 4 is about its death.
            staying, leaving, doomed = sorted(workers, key=lambda name: name != leader(stage))
            assert workers[leaving].stop() == 0
            share(staying, doomed)
            kill(workers[doomed])
            share(staying)
            until_all_at_work(stage, workers.values())
        until_equal(stage, produce.put)
        until(lambda: owed(stage) == 0, "the last checkpoints")
        assert workers[staying].stop() == 0

    everyone = workers.values()
    assert watch.went_back == []
    assert lost(stage) == []
    assert stage.quarantined() == poison(produce.put)
    assert logged_at(everyone, "shard started").keys() == shards(stage).keys()
    still = standstills(shards(stage), everyone)
    by_shard = ", ".join(f"{name[-2:]}: {seconds:.0f} s" for name, seconds in sorted(still.items()))
    note(f"{len(produce.put)} records; longest time without progress of shard {by_shard}")
    assert max(still.values()) < STANDSTILL_SECONDS


def until_all_at_work(stage: Stage, everyone: Iterable[Service]) -> None:
    names = {name for name, shard in shards(stage).items() if shard.open}
    until(lambda: names <= logged_at(everyone, "batch").keys(), "progress of every open shard", seconds=120)


def standstills(known: dict[str, Shard], everyone: Iterable[Service]) -> dict[str, float]:
    """The longest time between two batches of a shard, including the last ones of its parents, in seconds."""
    batches = {
        shard: [datetime.fromisoformat(time).timestamp() for time in times]
        for shard, times in logged_at(everyone, "batch").items()
    }
    before = {name: [batches[parent][-1] for parent in known[name].parents if parent in batches] for name in batches}
    return {name: _longest_gap(sorted(before[name]) + times) for name, times in batches.items()}


def _longest_gap(times: list[float]) -> float:
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
