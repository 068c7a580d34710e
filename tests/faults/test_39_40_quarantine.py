"""Rows 39 and 40: 10,000 poison records in one batch; a process that is killed while it quarantines a record."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumer.engine.errors import Reason
from consumer.limits.sample import Sample
from consumer.settings import Settings
from tests.faults.conftest import Note, stage_of_one_shard
from tests.support.driven.leases import owed
from tests.support.driven.scenario import Stage, expected, poison, samples, until_equal
from tests.support.driven.service import Service, service
from tests.support.driven.waiting import until
from tests.support.driven.workers import held_worker
from tests.support.emulators.aws import ROOT, Emulator
from tests.support.faults.held_writer import ENTRY
from tests.support.faults.hold_points import HoldPoints, Point

MANY = 10_000
HANG_SECONDS = Settings.model_fields["hang_seconds"].default
HEARTBEAT_SECONDS = 52.0
"""A heartbeat precedes each group of two requests, with two tries each of 3 s to connect and 10 s to read."""

REMOVED = "scratch files of exited processes removed from the quarantine"


@pytest.mark.parametrize("place", ["dir", "s3"])
def test_39_ten_thousand_poison_records(aws: Emulator, seed: int, tmp_path: Path, note: Note, place: str) -> None:
    """They are quarantined in seconds while heartbeats continue, and the valid records behind them are applied."""
    stage = stage_of_one_shard(aws, tmp_path, "many", place)
    made = [Sample(f"{number}", b"poison %d" % number, None, Reason.JSON) for number in range(MANY)]
    sound = [sample for sample in samples(seed, 200, users=20) if not sample.poison_reason]
    stage.put(made)
    stage.put(sound)
    with service(stage.variables, tmp_path / "log") as running:
        until(lambda: heartbeats(running), "the shard to start")
        oldest = 0.0
        while owed(stage):
            oldest = max(oldest, *(time.time() - beat for beat in heartbeats(running)))
            assert running.get("/livez")[0] == 200
        batches = [line for line in running.lines() if line["message"] == "batch"]
        seconds = batches[0]["seconds"]["quarantine"]
        note(f"{place}: quarantined in {seconds:.1f} s, no heartbeat older than {oldest:.1f} s")
        assert max(batch["quarantined"] for batch in batches) > MANY / 2, "one batch, or nearly"
        assert oldest < HEARTBEAT_SECONDS
        assert sum(batch["seconds"]["quarantine"] for batch in batches) < HANG_SECONDS
        assert stage.quarantined() == poison(made)
        assert stage.limits() == expected(sound)
        assert running.stop() == 0
        assert sum(line["message"] == "daemon started" for line in running.lines()) == 1


def heartbeats(running: Service) -> list[float]:
    """The time in Unix seconds."""
    name = "consumer_shard_heartbeat_timestamp_seconds"
    return [sample.value for sample in running.samples() if sample.name == name]


def test_40_killed_while_it_writes_to_the_quarantine(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """Its scratch files are removed at the next start, but not those of another process that is still writing."""
    root = Path(stage.variables["CONSUMER_QUARANTINE"].removeprefix("dir:"))
    bad = [Sample(f"{number}", b"poison %d" % number, None, Reason.JSON) for number in range(40)]
    sound = [sample for sample in samples(seed, 200, users=20) if not sample.poison_reason]
    with (
        held_worker(stage, tmp_path, "worker") as (running, hold_points),
        writer(root, tmp_path) as (other, its_hold_points),
    ):
        its_hold_points.until_held(Point.MID_QUARANTINE)
        spared = set(root.rglob("*.tmp"))
        assert len(spared) == 1

        hold_points.at(Point.MID_QUARANTINE)
        stage.put([*bad, *sound])
        killed = hold_points.until_held(Point.MID_QUARANTINE)
        left = set(root.rglob("*.tmp")) - spared
        assert left
        os.kill(killed, signal.SIGKILL)
        hold_points.release(Point.MID_QUARANTINE)

        until(lambda: owed(stage) == 0, "the last checkpoints", seconds=120)
        until_equal(stage, sound)
        assert set(root.rglob("*.tmp")) == spared
        removed = sum(line["files"] for line in running.lines() if line["message"] == REMOVED)
        assert removed > 0
        note(f"{removed} scratch files of a killed process removed")
        assert stage.quarantined() == poison(bad)

        its_hold_points.release(Point.MID_QUARANTINE)
        assert other.wait() == 0
        assert running.stop() == 0
    assert stage.quarantined() == poison(bad) + Counter([ENTRY.record.data])
    assert list(root.rglob("*.tmp")) == []


@contextmanager
def writer(root: Path, directory: Path) -> Iterator[tuple["subprocess.Popen[bytes]", HoldPoints]]:
    """Runs a process that is held while it writes an entry."""
    hold_points = HoldPoints(directory / "writer.holds")
    hold_points.at(Point.MID_QUARANTINE)
    command = [sys.executable, "-m", "tests.support.faults.held_writer", str(root), str(hold_points.directory)]
    variables: Mapping[str, str] = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=variables, cwd=ROOT) as process:
        try:
            yield process, hold_points
        finally:
            process.kill()
