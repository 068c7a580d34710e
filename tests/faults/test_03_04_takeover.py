"""Rows 3 and 4: all processes of a worker are killed, and another worker takes over within three minutes.

KCL's leader lock expires after two minutes, and only its holder assigns leases. Both rows wait for that, so they run at
the same time.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from consumer.limits.sample import Sample
from tests.faults.conftest import Note
from tests.support.driven.leases import leader, lost, owed, owners
from tests.support.driven.load import Producer
from tests.support.driven.scenario import Stage, poison, samples, until_equal, until_received
from tests.support.driven.service import Service, consumer, environment, gone
from tests.support.driven.waiting import until
from tests.support.driven.watch import Watch
from tests.support.driven.workers import FAST_REBALANCING, processes, until_consuming, with_properties, worker
from tests.support.emulators.aws import Emulator

TAKE_OVER_SECONDS = 180.0
SHARDS = 2


@pytest.fixture(scope="module")
def takeovers(aws: Emulator, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[float]]]:
    """Runs both rows at once: the seconds from the kill to progress on every shard."""
    with ThreadPoolExecutor() as together:
        yield {
            play.__name__: together.submit(play, aws, seed, tmp_path_factory.mktemp(play.__name__))
            for play in (a_new_container, the_leader_of_two)
        }


def test_03_kill_whole_worker(takeovers: dict[str, Future[float]], note: Note) -> None:
    seconds = takeovers["a_new_container"].result()
    note(f"a new container consumed every shard after {seconds:.0f} s")
    assert seconds < TAKE_OVER_SECONDS


def test_04_kill_the_leader_of_two(takeovers: dict[str, Future[float]], note: Note) -> None:
    seconds = takeovers["the_leader_of_two"].result()
    note(f"the other worker consumed every shard after {seconds:.0f} s")
    assert seconds < TAKE_OVER_SECONDS


def a_new_container(aws: Emulator, seed: int, directory: Path) -> float:
    """Only the leases of the old worker are left; the new worker has another id."""
    stage = provisioned("new-container", aws, directory)
    made = samples(seed, count=2_000, users=40)
    with Watch(stage) as watch:
        with worker(stage, directory, "old") as old:
            stage.put(made[:1_000])
            until_received(old, 500)
            killed = kill(old)
        (before,) = owners(stage)
        with worker(stage, directory, "new") as new:
            stage.put(made[1_000:])
            seconds = until_consuming(new, SHARDS, killed)
            until_equal(stage, made)
            until(lambda: owed(stage) == 0, "the last checkpoints")
            (after,) = owners(stage)
            settled(stage, watch, made)
            assert new.stop() == 0
    assert before != after
    return seconds


def the_leader_of_two(aws: Emulator, seed: int, directory: Path) -> float:
    stage = provisioned("leader-of-two", aws, directory)
    produce = Producer(stage, seed)
    settings = with_properties(directory, **FAST_REBALANCING)
    with (
        Watch(stage) as watch,
        worker(stage, directory, "leader", CONSUMER_WORKER_ID="leader", **settings) as first,
    ):
        produce(500)
        until_received(first, 500)
        with worker(stage, directory, "other", CONSUMER_WORKER_ID="other", **settings) as other:
            until(lambda: produce(50) and len(owners(stage)) == SHARDS, "the second worker to get its share", every=0.5)
            assert leader(stage) == "leader"
            killed = kill(first)
            produce(500)
            until(lambda: owners(stage) == {"other": SHARDS}, "the take-over", seconds=TAKE_OVER_SECONDS)
            produce(500)
            seconds = until_consuming(other, SHARDS, killed)
            until_equal(stage, produce.put)
            until(lambda: owed(stage) == 0, "the last checkpoints")
            settled(stage, watch, produce.put)
            assert leader(stage) == "other"
            assert other.stop() == 0
    return seconds


def provisioned(name: str, aws: Emulator, directory: Path) -> Stage:
    variables = environment(name, directory, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", str(SHARDS))
    return Stage(variables)


def kill(running: Service) -> float:
    """Kills the whole process group at once and returns the time in Unix seconds."""
    everything = processes(running)
    for process in everything:
        os.kill(process, signal.SIGKILL)
    killed = time.time()
    running.process.wait()
    gone(everything)
    return killed


def settled(stage: Stage, watch: Watch, made: Sequence[Sample]) -> None:
    assert lost(stage) == []
    assert stage.quarantined() == poison(made)
    assert watch.polls
    assert watch.went_back == []
