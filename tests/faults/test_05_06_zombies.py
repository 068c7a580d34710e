"""Rows 5 and 6: a worker keeps writing after its lease is lost. The newest state wins, whichever worker writes it.

The writes of the old owner are stale and change nothing, its checkpoint is refused, and it continues with its other
shards. No process exits.
"""

import os
import signal
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.faults.conftest import Note
from tests.support.driven.leases import hand_over, lost, owed, owners
from tests.support.driven.load import Producer
from tests.support.driven.scenario import Stage, poison, until_equal, until_received
from tests.support.driven.service import Service
from tests.support.driven.waiting import until
from tests.support.driven.watch import Watch
from tests.support.driven.workers import consuming_since, held_worker, worker
from tests.support.faults.hold_points import Point

SHARDS = 2
SHARD = "shardId-000000000000"


@pytest.fixture
def produce(stage: Stage, seed: int) -> Producer:
    return Producer(stage, seed)


def test_05_lease_stolen_mid_batch(stage: Stage, produce: Producer, tmp_path: Path, note: Note) -> None:
    """The JVM is stopped while its record processor is held before the write, so the other workers take it for dead."""
    settings = {"CONSUMER_FAILOVER_MILLIS": "2000"}
    with (
        Watch(stage) as watch,
        worker(stage, tmp_path, "heir", CONSUMER_WORKER_ID="heir", **settings) as heir,
    ):
        produce(500)
        until_received(heir, 500)
        with held_worker(stage, tmp_path, "zombie", CONSUMER_WORKER_ID="zombie", **settings) as (zombie, hold_points):
            until_ready(zombie)
            hand_over(stage, SHARD, "zombie")
            until(lambda: produce(50) and zombie.received(), "its first batch", every=0.5)
            hold_points.at(Point.BEFORE_WRITE)
            until(lambda: produce(50) and hold_points.held(Point.BEFORE_WRITE), "its next batch", every=0.5)
            jvm = zombie.jvm()
            assert jvm
            os.kill(jvm, signal.SIGSTOP)
            until(lambda: owners(stage) == {"heir": SHARDS}, "the lease to be taken")
            produce(500)
            until_equal(stage, produce.put)
            written = conflicts(zombie)
            os.kill(jvm, signal.SIGCONT)
            hold_points.release(Point.BEFORE_WRITE)
            until_put_out(zombie)
            until_equal(stage, produce.put)
            note(f"{conflicts(zombie) - written:.0f} late writes were refused")

            assert conflicts(zombie) > written
            unharmed(stage, watch, produce, zombie, heir)
            assert zombie.jvm() == jvm


@pytest.mark.parametrize("handoff", ["0", "2"])
def test_06_forced_handoff(stage: Stage, produce: Producer, tmp_path: Path, handoff: str) -> None:
    """A lease is reassigned in the middle of a batch: at once, or after the handoff timeout."""
    settings = {"CONSUMER_HANDOFF_SECONDS": handoff, "CONSUMER_BATCH_DEADLINE_SECONDS": "1"}
    with (
        Watch(stage) as watch,
        held_worker(stage, tmp_path, "zombie", CONSUMER_WORKER_ID="zombie", **settings) as (zombie, hold_points),
    ):
        produce(500)
        until_received(zombie, 500)
        with worker(stage, tmp_path, "heir", CONSUMER_WORKER_ID="heir", **settings) as heir:
            until_ready(heir)
            hold_points.at(Point.BEFORE_WRITE)
            until(
                lambda: produce(50) and len(hold_points.held(Point.BEFORE_WRITE)) == SHARDS, "both batches", every=0.5
            )
            hand_over(stage, SHARD, "heir", gracefully=handoff > "0")
            until(lambda: produce(50) and SHARD in consuming_since(heir, 0), "the other worker's progress", every=0.5)
            hold_points.release(Point.BEFORE_WRITE)
            until_put_out(zombie)
            produce(500)
            until_equal(stage, produce.put)
            unharmed(stage, watch, produce, zombie, heir)


def until_ready(running: Service) -> None:
    until(lambda: running.get("/readyz")[0] == HTTPStatus.OK, "the worker to be ready")


def until_put_out(zombie: Service) -> None:
    """Waits until the worker is notified of the lost lease: its checkpoint is refused, and it releases the shard."""
    until(lambda: checkpoints(zombie, "ShutdownException"), "the checkpoint to be refused")
    until(lambda: any(line["message"] == "lease lost" for line in zombie.lines()), "the shard to be let go")


def checkpoints(running: Service, answer: str) -> float:
    name = "consumer_checkpoints_total"
    return sum(each.value for each in running.samples() if each.name == name and each.labels["result"] == answer)


def conflicts(running: Service) -> float:
    return sum(each.value for each in running.samples() if each.name == "consumer_write_conflicts_total")


def unharmed(stage: Stage, watch: Watch, produce: Producer, *workers: Service) -> None:
    until(lambda: owed(stage) == 0, "the last checkpoints")
    assert lost(stage) == []
    assert stage.quarantined() == poison(produce.put)
    assert watch.polls
    assert watch.went_back == []
    for running in workers:
        assert sum(line["message"] == "daemon started" for line in running.lines()) == 1
