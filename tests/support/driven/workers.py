"""Several workers of one application on one stage, their record processors to be held up if need be."""

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.support.driven.held_child import EXECUTABLE
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.scenario import Stage
from tests.support.driven.service import Service, children, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import ROOT
from tests.support.faults.hold_points import HoldPoints

WITH_HELD_CHILD = ("tests.support.driven.worker", *EXECUTABLE.split())

FAST_REBALANCING: Mapping[str, int] = {"parentShardPollIntervalMillis": 500, "varianceBalancingFrequency": 8}
"""Properties under which children of shards start soon, and a newcomer gets its share within seconds.

Balancing any more often, leases are moved on before those who got them have begun.
"""


@contextmanager
def worker(stage: Stage, directory: Path, name: str, **settings: str) -> Iterator[Service]:
    """One more worker of the stage's application, its log in `directory`. `settings` are environment variables."""
    with service(_variables(stage, settings), directory / f"{name}.log") as running:
        yield running


@contextmanager
def held_worker(stage: Stage, directory: Path, name: str, **settings: str) -> Iterator[tuple[Service, HoldPoints]]:
    """As `worker`, with record processors that can be held up."""
    hold_points = HoldPoints(directory / f"{name}.holds")
    variables = _variables(stage, settings) | {"PYTHONPATH": str(ROOT), "TEST_HOLD_POINTS": str(hold_points.directory)}
    with service(variables, directory / f"{name}.log", WITH_HELD_CHILD) as running:
        yield running, hold_points


def _variables(stage: Stage, settings: Mapping[str, str]) -> dict[str, str]:
    return {**stage.variables, "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{free_port()}", **settings}


def with_properties(directory: Path, **properties: object) -> dict[str, str]:
    """The setting for a copy, in `directory`, of the shipped properties, changed by `properties`."""
    copy = directory / "properties"
    shutil.copytree(ROOT / "properties", copy)
    file = copy / "consumer.properties"
    text = file.read_text()
    for key, value in properties.items():
        text = re.sub(rf"^{key} *=.*\n", "", text, flags=re.MULTILINE) + f"{key} = {value}\n"
    file.write_text(text)
    return {"CONSUMER_PROPERTIES": str(copy)}


def processes(running: Service) -> list[int]:
    """Every process of the worker: supervisor, JVM, record processors."""
    jvm = running.jvm()
    return [running.process.pid, *([jvm, *children(jvm)] if jvm else [])]


def consuming_since(running: Service, moment: float) -> set[str]:
    """The shards of which the worker has settled records since `moment`, Unix seconds."""
    batches = (line for line in running.lines() if line["message"] == "batch")
    return {line["shard"] for line in batches if datetime.fromisoformat(line["time"]).timestamp() > moment}


def until_consuming(running: Service, shards: int, since: float, seconds: float = 180.0) -> float:
    """Waits until so many shards have made progress since `since`, Unix seconds; how long that took."""
    until(lambda: len(consuming_since(running, since)) >= shards, f"progress of {shards} shards", seconds=seconds)
    return time.time() - since
