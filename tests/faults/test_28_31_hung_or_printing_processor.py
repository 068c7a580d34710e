"""Rows 28 and 31: a record processor that hangs, and one in which a library prints to stdout and reads stdin."""

import os
import signal
import time
from pathlib import Path

import pytest

from consumer.limits.sample import Sample
from tests.faults.conftest import Note
from tests.support.driven.leases import lost, owed
from tests.support.driven.scenario import Stage, poison, samples, until_equal, until_received
from tests.support.driven.service import gone, service
from tests.support.driven.stdout_child import EXECUTABLE
from tests.support.driven.waiting import until
from tests.support.driven.workers import held_worker, until_consuming
from tests.support.emulators.aws import ROOT
from tests.support.faults.hold_points import Point
from tests.support.faults.writes_to_stdout import STRAY_OUTPUT

SHARDS = 2
HANG_SECONDS = 6


@pytest.fixture
def made(seed: int) -> list[Sample]:
    return samples(seed, count=1_400, users=40)


def test_28_hung_record_processor(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """Stopped in the middle of a batch: the daemon gets no response in time, exits, and is restarted."""
    with held_worker(stage, tmp_path, "worker", CONSUMER_HANG_SECONDS=str(HANG_SECONDS)) as (running, hold_points):
        stage.put(made[:500])
        until_received(running, 500)
        hold_points.at(Point.BEFORE_WRITE)
        stage.put(made[500:900])
        hung = hold_points.until_held(Point.BEFORE_WRITE)
        os.kill(hung, signal.SIGSTOP)
        stopped = time.time()
        hold_points.release(Point.BEFORE_WRITE)
        gone([hung], seconds=60)
        ended = time.time() - stopped
        stage.put(made[900:])
        seconds = until_consuming(running, SHARDS, stopped + ended)
        note(f"ended {ended:.1f} s after it hung, every shard consumed again {seconds:.1f} s later")
        settled(stage, made)
        assert ended > HANG_SECONDS - 1, "nothing else ended it"
        assert running.stop() == 0
        assert sum(line["message"] == "daemon started" for line in running.lines()) == 2


def test_31_library_prints_and_reads(stage: Stage, made: list[Sample], tmp_path: Path) -> None:
    """Its output would be taken for messages, and its input would be the daemon's."""
    variables = {**stage.variables, "PYTHONPATH": str(ROOT)}
    with service(variables, tmp_path / "log", ("tests.support.driven.worker", *EXECUTABLE.split())) as running:
        stage.put(made)
        settled(stage, made)
        said = running.log.read_text()
        until_received(running, len(made))
        assert running.received() == len(made), "no record came twice"
        assert running.stop() == 0
    assert said.count(STRAY_OUTPUT) > 3
    assert "read: '' b''" in said, "and there was nothing to read"


def settled(stage: Stage, made: list[Sample]) -> None:
    until_equal(stage, made)
    until(lambda: owed(stage) == 0, "the last checkpoints")
    assert stage.quarantined() == poison(made)
    assert lost(stage) == []
