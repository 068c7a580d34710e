"""Rows 1 and 2: `kill -9` of a record processor or of the JVM, and a daemon that keeps crashing.

Nothing is lost or applied twice, and the same worker consumes every shard again within 30 s.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumer.limits.sample import Sample
from tests.faults.conftest import Note
from tests.support.driven.leases import lost, owed
from tests.support.driven.scenario import Stage, expected, poison, samples, until_equal, until_received
from tests.support.driven.service import Service, gone, service
from tests.support.driven.waiting import until
from tests.support.driven.workers import held_worker, processes, until_consuming
from tests.support.faults.hold_points import HoldPoints, Point

RECOVERY_SECONDS = 30.0
ORPHAN_SECONDS = 5.0
SHARDS = 2


@dataclass(frozen=True)
class Scenario:
    """Events to put before, during and after the kill. The second part is one batch per shard."""

    stage: Stage
    running: Service
    hold_points: HoldPoints
    before: list[Sample]
    meanwhile: list[Sample]
    afterwards: list[Sample]

    @property
    def so_far(self) -> list[Sample]:
        return self.before + self.meanwhile

    def hold_at(self, point: Point) -> None:
        """Settles the first part and waits until both record processors are held at the point with the second."""
        self.stage.put(self.before)
        until_received(self.running, len(self.before))
        until(lambda: owed(self.stage) == 0, "the checkpoints after the first part")
        self.hold_points.at(point)
        self.stage.put(self.meanwhile)
        until(lambda: len(self.hold_points.held(point)) == SHARDS, f"both record processors to be held {point}")

    def recover(self, killed: float) -> float:
        """Asserts that the same worker recovers, and returns the seconds from `killed` until then."""
        self.stage.put(self.afterwards)
        seconds = until_consuming(self.running, SHARDS, killed)
        made = self.so_far + self.afterwards
        until_equal(self.stage, made)
        until(lambda: owed(self.stage) == 0, "the last checkpoints")

        assert lost(self.stage) == []
        assert self.stage.quarantined() == poison(made)
        assert self.running.received() >= len(made)
        assert self.running.stop() == 0
        assert sum(line["message"] == "daemon started" for line in self.running.lines()) == 2
        return seconds


@pytest.fixture
def play(stage: Stage, seed: int, tmp_path: Path) -> Iterator[Scenario]:
    made = samples(seed, count=1_900, users=40)
    with held_worker(stage, tmp_path, "worker") as (running, hold_points):
        yield Scenario(stage, running, hold_points, made[:1_000], made[1_000:1_400], made[1_400:])


def test_01_kill_before_write(play: Scenario, note: Note) -> None:
    def is_so() -> bool:
        return play.stage.limits() == expected(play.before) and owed(play.stage) == len(play.meanwhile)

    kill_a_record_processor(play, Point.BEFORE_WRITE, is_so, note)


def test_01_kill_mid_batch(play: Scenario, note: Note) -> None:
    def is_so() -> bool:
        return play.stage.limits() not in (expected(play.before), expected(play.so_far))

    kill_a_record_processor(play, Point.MID_BATCH, is_so, note)


def test_01_kill_after_write(play: Scenario, note: Note) -> None:
    def is_so() -> bool:
        return play.stage.limits() == expected(play.so_far) and owed(play.stage) == len(play.meanwhile)

    kill_a_record_processor(play, Point.AFTER_WRITE, is_so, note)


def test_01_kill_after_checkpoint(play: Scenario, note: Note) -> None:
    def is_so() -> bool:
        return play.stage.limits() == expected(play.so_far) and owed(play.stage) == 0

    kill_a_record_processor(play, Point.AFTER_CHECKPOINT, is_so, note)


def kill_a_record_processor(play: Scenario, point: Point, is_so: Callable[[], bool], note: Note) -> None:
    """`is_so` checks that both record processors really are at the point."""
    play.hold_at(point)
    assert is_so()
    os.kill(play.running.record_processors()[0], signal.SIGKILL)
    killed = time.time()
    play.hold_points.release(point)
    seconds = play.recover(killed)
    note(f"every shard consumed again after {seconds:.1f} s")
    assert seconds < RECOVERY_SECONDS


def test_02_kill_jvm(play: Scenario, note: Note) -> None:
    """The JVM is killed in the middle of a batch, when no record processor reads its pipe."""
    play.hold_at(Point.BEFORE_WRITE)
    _, jvm, *processors = processes(play.running)
    os.kill(jvm, signal.SIGKILL)
    killed = time.time()
    gone([jvm, *processors], seconds=ORPHAN_SECONDS)
    orphans = time.time() - killed
    play.hold_points.release(Point.BEFORE_WRITE)
    seconds = play.recover(killed)
    note(f"no orphan after {orphans:.1f} s, every shard consumed again after {seconds:.1f} s")
    assert seconds < RECOVERY_SECONDS


def test_02_a_crash_loop_ends_after_its_budget(stage: Stage, tmp_path: Path, note: Note) -> None:
    """The record processors crash at the start."""
    variables, begun = {**stage.variables, "CONSUMER_RESTARTS": "2"}, time.monotonic()
    with service(variables, tmp_path / "log", ("tests.support.driven.worker", "false")) as running:
        assert running.process.wait(180) == 1
        note(f"given up after {time.monotonic() - begun:.0f} s")
        (last,) = [line for line in running.lines() if line["message"].startswith("giving up")]

    assert last["level"] == "ERROR"
    assert last["ends"] == 3
