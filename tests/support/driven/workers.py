"""Several workers of one application on one stage, with or without hold points."""

import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.support.driven import gathering_child, held_child
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.scenario import Stage
from tests.support.driven.service import RUN, Service, children, gone, send, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import ROOT
from tests.support.faults.hold_points import HoldPoints
from tests.support.faults.lag import Lag

WITH_HELD_CHILD = ("tests.support.driven.worker", *held_child.EXECUTABLE.split())
WITH_GATHERING_CHILD = ("tests.support.driven.worker", *gathering_child.EXECUTABLE.split())

FAST_REBALANCING: Mapping[str, int] = {"parentShardPollIntervalMillis": 500, "varianceBalancingFrequency": 8}
"""Properties with which child shards start soon and a new worker gets its share of leases within seconds.

With more frequent balancing, KCL moves leases again before their new owners have started.
"""


@contextmanager
def worker(
    stage: Stage, directory: Path, name: str, command: Sequence[str] = RUN, **settings: str
) -> Iterator[Service]:
    """Runs one more worker of the application; its log is in `directory`. `settings`: environment variables."""
    with service(_variables(stage, settings), directory / f"{name}.log", command) as running:
        yield running


@contextmanager
def held_worker(stage: Stage, directory: Path, name: str, **settings: str) -> Iterator[tuple[Service, HoldPoints]]:
    """Like `worker`, with hold points in the record processors."""
    hold_points = HoldPoints(directory / f"{name}.holds")
    with worker(stage, directory, name, WITH_HELD_CHILD, **settings, **_controlled_by(hold_points)) as running:
        yield running, hold_points


@contextmanager
def gathering_worker(
    stage: Stage, directory: Path, name: str, **settings: str
) -> Iterator[tuple[Service, Lag, HoldPoints]]:
    """Like `held_worker`, and the record processors gather what is delivered while the lag lasts: for 10 minutes."""
    hold_points = HoldPoints(directory / f"{name}.holds")
    settings = {"CONSUMER_GATHER_SECONDS": "600", **settings, **_controlled_by(hold_points)}
    with worker(stage, directory, name, WITH_GATHERING_CHILD, **settings) as running:
        yield running, Lag(hold_points.directory), hold_points


def _controlled_by(hold_points: HoldPoints) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "TEST_HOLD_POINTS": str(hold_points.directory)}


def _variables(stage: Stage, settings: Mapping[str, str]) -> dict[str, str]:
    return {**stage.variables, "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{free_port()}", **settings}


def with_properties(directory: Path, **properties: object) -> dict[str, str]:
    """The setting that names a copy of the shipped properties in `directory`, changed by `properties`."""
    copy = directory / "properties"
    shutil.copytree(ROOT / "properties", copy)
    file = copy / "consumer.properties"
    text = file.read_text()
    for key, value in properties.items():
        text = re.sub(rf"^{key} *=.*\n", "", text, flags=re.MULTILINE) + f"{key} = {value}\n"
    file.write_text(text)
    return {"CONSUMER_PROPERTIES": str(copy)}


def processes(running: Service) -> list[int]:
    """The process ids of the supervisor, the JVM and its children, the fork server and its forks."""
    jvm = running.jvm()
    forked = [pid for pid in (running.fork_server(), *running.forks()) if pid]
    return [running.process.pid, *([jvm, *children(jvm)] if jvm else []), *forked]


def kill(*running: Service) -> None:
    """Kills all processes of these workers at once, and waits until they have exited."""
    everything = [process for worker in running for process in processes(worker)]
    send(signal.SIGKILL, everything)
    for worker in running:
        worker.process.wait()
    gone(everything)


def consuming_since(running: Service, moment: float) -> set[str]:
    """The shards of which the worker has settled a batch since `moment`, Unix seconds."""
    batches = (line for line in running.lines() if line["message"] == "batch")
    return {line["shard"] for line in batches if datetime.fromisoformat(line["time"]).timestamp() > moment}


def until_consuming(running: Service, shards: int, since: float, seconds: float = 180.0) -> float:
    """Waits until `shards` shards have settled a batch since `since`, Unix seconds; returns the seconds since then."""
    until(lambda: len(consuming_since(running, since)) >= shards, f"progress of {shards} shards", seconds=seconds)
    return time.time() - since
