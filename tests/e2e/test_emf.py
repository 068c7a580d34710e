"""The service logs its metrics for CloudWatch: what it counted, and the shards that it reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from consumer.monitoring.metrics import LEASES, OPEN_SHARDS, QUARANTINED, Metric
from consumer.monitoring.worker_emf import APPLIED, LINE
from tests.support.driven.scenario import Stage, poison, samples, until_received
from tests.support.driven.service import Service, service
from tests.support.driven.waiting import until
from tests.support.emulators import emf
from tests.support.emulators.emf import Reading

SECONDS = 1
COUNT = 1_000
SHARDS = (OPEN_SHARDS, LEASES)


def test_the_lines_of_a_worker_add_up_to_what_it_did(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=17, count=COUNT)
    variables = {**stage.variables, "CONSUMER_EMF_SECONDS": str(SECONDS), "CONSUMER_LOG_LEVEL": "WARNING"}
    with service(variables, tmp_path / "log") as running:
        stage.put(made)
        until_received(running, COUNT)
        applied = running.outcomes()["applied"]
        until(lambda: latest(running).keys() == {metric.name for metric in LINE}, "a line with all metrics")
        until(lambda: [latest(running).get(each.name) for each in SHARDS] == [[2], [2]], "both shards to be read")
        assert running.stop() == 0
        lines = readings(running)

    assert {line.dimensions["application"] for line in lines} == {stage.variables["CONSUMER_APPLICATION_NAME"]}
    assert all(line.properties["message"] == "metrics" for line in lines)
    assert total(lines, APPLIED) == applied > 0
    assert total(lines, QUARANTINED) == poison(made).total()
    times = [line.millis for line in lines if LEASES.name in line.values]
    assert len(times) == len(set(times)), "one value of a worker in an interval"
    assert [millis for millis in times if millis % (SECONDS * 1000)] == []


def readings(running: Service) -> list[Reading]:
    """Every line that CloudWatch would take metrics from."""
    texts = [text for text in running.log.read_text(encoding="utf-8").splitlines(keepends=True) if text.endswith("\n")]
    return [emf.read(text.removesuffix("\n")) for text in texts if "_aws" in json.loads(text)]


def latest(running: Service) -> Mapping[str, list[float]]:
    """The values of the last line; empty before the first."""
    return next((line.values for line in reversed(readings(running))), {})


def total(lines: Sequence[Reading], metric: Metric) -> float:
    return sum(sum(line.values[metric.name]) for line in lines)
