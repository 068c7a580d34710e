"""Row 20: SIGTERM. The current batch is flushed and checkpointed, and the exit code is 0 within the stop timeout.

A batch that does not end is aborted, and read again by the next worker.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.limits.sample import Sample
from consumer.settings import Settings
from tests.faults.conftest import Note
from tests.support.driven.leases import lost, owed
from tests.support.driven.scenario import Stage, expected, poison, samples, until_equal, until_received
from tests.support.driven.service import Service, consumer, gone, send
from tests.support.driven.waiting import until
from tests.support.driven.workers import held_worker, processes, worker
from tests.support.faults.hold_points import HoldPoints, Point

STOP_SECONDS = float(Settings.model_fields["stop_timeout_seconds"].default)
"""The time after which an orchestrator kills the container."""
SHARDS = 2

Recipients = Callable[[Service], list[int]]
Stop = Callable[[Service, Recipients], None]


def supervisor(running: Service) -> list[int]:
    return [running.process.pid]


@pytest.fixture
def made(seed: int) -> list[Sample]:
    """Events in two parts. The second fits one request, so each shard has it in one batch."""
    return samples(seed, count=900, users=40)


@pytest.fixture
def stop(note: Note) -> Stop:
    """Sends SIGTERM and asserts a graceful exit in time."""

    def stop(running: Service, recipients: Recipients) -> None:
        everything, begun = processes(running), time.monotonic()
        send(signal.SIGTERM, recipients(running))
        assert running.process.wait(STOP_SECONDS) == 0
        note(f"stopped within {time.monotonic() - begun:.1f} s")
        gone(everything)

    return stop


def test_20_sigterm_idle(stage: Stage, made: list[Sample], tmp_path: Path, stop: Stop) -> None:
    with worker(stage, tmp_path, "worker") as running:
        stage.put(made)
        until_received(running, len(made))
        stop(running, supervisor)
    flushed(stage, made)


def test_20_sigterm_in_a_small_batch_to_every_process(
    stage: Stage, made: list[Sample], tmp_path: Path, stop: Stop
) -> None:
    with held_worker(stage, tmp_path, "worker") as (running, hold_points):
        into_a_batch(stage, made, running, hold_points, seconds=1)
        stop(running, processes)
    flushed(stage, made)


def test_20_sigterm_in_a_batch_of_10_seconds(stage: Stage, made: list[Sample], tmp_path: Path, stop: Stop) -> None:
    with held_worker(stage, tmp_path, "worker") as (running, hold_points):
        into_a_batch(stage, made, running, hold_points, seconds=10)
        stop(running, supervisor)
    flushed(stage, made)


def test_20_sigterm_in_an_endless_batch(stage: Stage, made: list[Sample], tmp_path: Path, stop: Stop) -> None:
    with held_worker(stage, tmp_path, "worker", CONSUMER_WORKER_ID="worker") as (running, hold_points):
        into_a_batch(stage, made, running, hold_points, seconds=None)
        stop(running, supervisor)

    assert stage.limits() == expected(made[:500]), "the batch was cut off"
    assert owed(stage) == len(made[500:]), "and is still to be read"
    with worker(stage, tmp_path, "next", CONSUMER_WORKER_ID="worker") as running:
        until_equal(stage, made)
        assert running.stop() == 0
    flushed(stage, made)


def test_20_sigterm_while_there_is_no_table(stage: Stage, made: list[Sample], tmp_path: Path, stop: Stop) -> None:
    """A batch that waits for its environment gives up in time, so the worker need not be killed."""
    with worker(stage, tmp_path, "worker") as running:
        until(lambda: len(running.record_processors()) == SHARDS, "the record processors")
        stage.dynamodb().delete_table(TableName=stage.variables["AWS_TABLE_NAME"])
        stage.put(made)
        until(lambda: waits(running) and busy(running) == SHARDS, "both to wait for the table")
        stop(running, supervisor)
        ends = [line["cut_off"] for line in running.lines() if line["message"] == "shutdown requested"]
        assert ends == [True] * SHARDS
        assert owed(stage) == len(made)
    consumer(stage.variables, "provision")
    with worker(stage, tmp_path, "next") as running:
        until_equal(stage, made)
        assert running.stop() == 0
    flushed(stage, made)


def into_a_batch(
    stage: Stage, made: list[Sample], running: Service, hold_points: HoldPoints, seconds: float | None
) -> None:
    """Waits until both record processors are in a batch that takes `seconds`; None: forever."""
    stage.put(made[:500])
    until_received(running, 500)
    until(lambda: owed(stage) == 0, "the checkpoints after the first part")
    hold_points.at(Point.BEFORE_WRITE, seconds)
    stage.put(made[500:])
    until(lambda: len(hold_points.held(Point.BEFORE_WRITE)) == SHARDS, "both record processors to be in the batch")


def flushed(stage: Stage, made: list[Sample]) -> None:
    assert stage.limits() == expected(made)
    assert stage.quarantined() == poison(made)
    assert owed(stage) == 0
    assert lost(stage) == []


def busy(running: Service) -> float:
    """How many record processors work on a message."""
    return sum(each.value for each in running.samples() if each.name == "consumer_shard_busy")


def waits(running: Service) -> float:
    return sum(each.value for each in running.samples() if each.name == "consumer_environment_retries_total")
