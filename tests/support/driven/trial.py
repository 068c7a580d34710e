"""A running service under test: the records it was given, and what must hold whatever happened meanwhile."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from consumer.limits.sample import Sample
from tests.support.driven.leases import leases, lost, owed
from tests.support.driven.scenario import Stage, poison, until_equal
from tests.support.driven.service import RUN, Service, service
from tests.support.driven.waiting import until
from tests.support.faults.proxy import Fault

CHILD = ("consumer", "process")


def with_endpoints(**endpoints: str) -> Sequence[str]:
    """A command for service() that sets these environment variables for the record processors only."""
    return ("tests.support.driven.worker", "env", *(f"{name}={value}" for name, value in endpoints.items()), *CHILD)


@contextmanager
def started_trial(
    stage: Stage,
    variables: Mapping[str, str],
    directory: Path,
    source: Iterator[Sample],
    command: Sequence[str] = RUN,
    *,
    first: int = 500,
) -> Iterator["Trial"]:
    """Runs a service that has settled its first records. It must shut down gracefully after the block."""
    with service(variables, directory / "log", command) as running:
        trial = Trial(stage, running, source)
        trial.put(first)
        trial.until_settled()
        yield trial
        assert running.stop() == 0


@contextmanager
def undisturbed(trial: "Trial") -> Iterator[None]:
    """Asserts that during the block no process exits, no lease is lost, and no record is delivered twice."""
    before = trial.processes()
    yield
    assert trial.processes() == before
    assert trial.logged("lease lost") == []
    assert trial.delivered() == len(trial.made)


@dataclass
class Trial:
    """`made`: the records put on the stage's stream so far, most of them from `source`."""

    stage: Stage
    running: Service
    source: Iterator[Sample]
    made: list[Sample] = field(default_factory=list)

    def put(self, count: int) -> None:
        self.put_these(list(islice(self.source, count)))

    def put_these(self, samples: Sequence[Sample]) -> None:
        self.stage.put(samples)
        self.made += samples

    def put_until(self, enough: Callable[[], bool], count: int = 50) -> None:
        """Puts `count` records and waits until they are settled, until there are `enough`."""
        while not enough():
            self.put(count)
            until(lambda: self.running.received() >= len(self.made), "the records to be settled")

    def until_settled(self, seconds: float = 120.0) -> None:
        """Waits until everything is settled and checkpointed; asserts that nothing is lost, invented or not counted."""
        until_equal(self.stage, self.made, seconds)
        until(lambda: owed(self.stage) == 0, "the last checkpoints", seconds=seconds)
        assert self.stage.quarantined() == poison(self.made)
        assert lost(self.stage) == []
        until(lambda: self.delivered() == self.running.received(), "the outcomes to add up to what was delivered")
        assert self.running.received() >= len(self.made)

    def delivered(self) -> int:
        """How many records the daemon has delivered; redelivered ones count again."""
        return int(self.metric("consumer_batch_records_sum"))

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the metric's samples with these labels."""
        return sum(
            sample.value
            for sample in self.running.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def lags(self) -> dict[str, float]:
        """How many seconds each shard is behind, according to its metric."""
        return {sample.labels["shard"]: sample.value for sample in self.samples("shard_behind_latest_seconds")}

    def samples(self, name: str) -> list[Any]:
        return [sample for sample in self.running.samples() if sample.name == f"consumer_{name}"]

    def checkpoints(self) -> dict[str, str]:
        return {shard: lease.checkpoint for shard, lease in leases(self.stage).items()}

    def processes(self) -> set[int]:
        return {self.running.jvm() or 0, *self.running.record_processors()}

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The log lines with this message."""
        return [line for line in self.running.lines() if line["message"] == message]

    def until_logged(self, message: str, *, seconds: float = 60.0, **fields: str) -> None:
        until(
            lambda: any(fields.items() <= line.items() for line in self.logged(message)),
            f"the log message {message!r} {fields or ''}",
            seconds=seconds,
        )

    def stops_consuming(self, fault: Fault, seconds: float, least: int = 3) -> float:
        """Asserts that nothing is settled, checkpointed or given up while the fault lasts, and that `/livez` is 200.

        Observes for `seconds`, and until `least` more requests were hit. Returns the longest lag, in seconds.
        """
        until(fault.hits.total, "the fault to hit a request")
        before = self._state()
        hit, end, lag = fault.hits.total(), time.monotonic() + seconds, 0.0
        while time.monotonic() < end or fault.hits.total() < hit + least:
            assert self._state() == before
            assert lost(self.stage) == []
            assert self.running.get("/livez")[0] == 200
            lag = max(lag, *self.lags().values())
        return lag

    def _state(self) -> Mapping[str, Any]:
        return {
            "checkpoints": self.checkpoints(),
            "quarantined": self.stage.quarantined(),
            "processes": self.processes(),
            "stored": self.stage.states(),
        }
