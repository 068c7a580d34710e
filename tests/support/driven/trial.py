"""A service at work: what it was given so far, and what must hold of it, whatever befell it meanwhile."""

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
    """What to run, as service() takes it, so that the record processors alone get these environment variables."""
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
    """A service on the stage, with these environment variables, that has settled its first records; it ends well."""
    with service(variables, directory / "log", command) as running:
        trial = Trial(stage, running, source)
        trial.put(first)
        trial.until_settled()
        yield trial
        assert running.stop() == 0


@contextmanager
def undisturbed(trial: "Trial") -> Iterator[None]:
    """Whatever happens in the block: no process ends, no shard changes hands, no record comes twice."""
    before = trial.processes()
    yield
    assert trial.processes() == before
    assert trial.logged("lease lost") == []
    assert trial.delivered() == len(trial.made)


@dataclass
class Trial:
    """`made` is what was put on the stage's stream so far, drawn from `source`."""

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
        """Puts so many records and waits until they are settled, again and again."""
        while not enough():
            self.put(count)
            until(lambda: self.running.received() >= len(self.made), "the records to be settled")

    def until_settled(self, seconds: float = 120.0) -> None:
        """Waits until all is settled and checkpointed, and checks that nothing was lost, made up, or left uncounted."""
        until_equal(self.stage, self.made, seconds)
        until(lambda: owed(self.stage) == 0, "the last checkpoints", seconds=seconds)
        assert self.stage.quarantined() == poison(self.made)
        assert lost(self.stage) == []
        until(lambda: self.delivered() == self.running.received(), "the outcomes to add up to what was delivered")
        assert self.running.received() >= len(self.made)

    def delivered(self) -> int:
        """How many records the daemon has handed over, those that came again included."""
        return int(self.metric("consumer_batch_records_sum"))

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        return sum(
            sample.value
            for sample in self.running.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def lags(self) -> dict[str, float]:
        """Seconds that each shard says to be behind."""
        return {sample.labels["shard"]: sample.value for sample in self.samples("shard_behind_latest_seconds")}

    def samples(self, name: str) -> list[Any]:
        return [sample for sample in self.running.samples() if sample.name == f"consumer_{name}"]

    def checkpoints(self) -> dict[str, str]:
        return {shard: lease.checkpoint for shard, lease in leases(self.stage).items()}

    def processes(self) -> set[int]:
        return {self.running.jvm() or 0, *self.running.record_processors()}

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines of the log with that message."""
        return [line for line in self.running.lines() if line["message"] == message]

    def until_logged(self, message: str, *, seconds: float = 60.0, **fields: str) -> None:
        until(
            lambda: any(fields.items() <= line.items() for line in self.logged(message)),
            f"the log to say {message!r} {fields or ''}",
            seconds=seconds,
        )

    def stops_consuming(self, fault: Fault, seconds: float, least: int = 3) -> float:
        """While the fault lasts nothing is settled, checkpointed or given up, and life is shown.

        Watches for `seconds` and until at least so many requests were hit; returns the longest lag seen, in seconds.
        """
        until(fault.hits.total, "the fault to be met")
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
