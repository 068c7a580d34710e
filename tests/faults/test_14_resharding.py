"""Row 14: shards split and merge under load. A child starts after its parents are finished; no state goes back."""

from pathlib import Path

import pytest

from tests.faults.conftest import Note, stage_of
from tests.support.driven.leases import END, leases, lost, owed
from tests.support.driven.load import Producer
from tests.support.driven.scenario import Stage, poison, until_equal
from tests.support.driven.shards import Shard, logged_at, merge, shards, split
from tests.support.driven.waiting import until
from tests.support.driven.watch import Watch
from tests.support.driven.workers import FAST_REBALANCING, consuming_since, with_properties, worker
from tests.support.emulators.aws import Emulator

pytestmark = pytest.mark.conformance

RATE = 60.0
"""Records per second."""


@pytest.fixture
def stage(streams: Emulator, tables: Emulator, tmp_path: Path) -> Stage:
    return stage_of(2, streams, tables, tmp_path, "resharding")


def test_14_split_and_merge_under_load(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    produce = Producer(stage, seed)
    settings = with_properties(tmp_path, **FAST_REBALANCING)

    def consumed(children: list[Shard]) -> bool:
        return {shard.name for shard in children} <= consuming_since(running, 0)

    with Watch(stage) as watch, worker(stage, tmp_path, "worker", **settings) as running:
        with produce.steadily(RATE):
            first, second = shards(stage).values()
            until(lambda: consumed([first, second]), "records of both shards")
            left, right = split(stage, first)
            until(lambda: consumed([left, right]), "records of the children")
            (middle,) = merge(stage, right, second)
            until(lambda: consumed([middle]), "records of the merged shard")
        until_equal(stage, produce.put)
        until(lambda: owed(stage) == 0, "the last checkpoints")
        assert running.stop() == 0

    assert watch.polls > 10
    assert watch.went_back == []
    assert lost(stage) == []
    assert stage.quarantined() == poison(produce.put)
    closed = {first.name, second.name, right.name}
    ended, started = logged_at([running], "shard ended"), logged_at([running], "shard started")
    assert ended.keys() == closed
    assert {lease.checkpoint for name, lease in leases(stage).items() if name in closed} <= {END}
    assert started.keys() == shards(stage).keys()
    lineage = [(parent, shard.name) for shard in shards(stage).values() for parent in shard.parents]
    assert len(lineage) == 4
    assert [(parent, child) for parent, child in lineage if started[child][0] < ended[parent][-1]] == []
    note(f"{len(produce.put)} records over {len(started)} shards, {watch.polls} polls of the table")
