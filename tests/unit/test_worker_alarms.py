"""The alarms of monitoring.yaml on the lines of two workers with four shards: which faults raise which, and when."""

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pytest

from consumer.monitoring.emf import document
from consumer.monitoring.metrics import (
    BEHIND,
    LEASES,
    LEASES_OWNED,
    OPEN_SHARDS,
    QUARANTINED,
    RESTARTS,
    RETENTION,
    RETRIES,
    Metric,
)
from consumer.monitoring.worker_emf import APPLIED, LINE, OLDEST_BATCH
from tests.support.emulators import emf
from tests.support.emulators.alarms import Minute, is_raised
from tests.support.emulators.cloudformation import resolved, resources

Values: TypeAlias = Mapping[Metric, float]

HEALTHY: Values = {
    LEASES_OWNED: 2,
    LEASES: 2,
    OPEN_SHARDS: 4,
    RETENTION: 604_800,
    BEHIND: 0.2,
    OLDEST_BATCH: 1.5,
    APPLIED: 1_000,
    QUARANTINED: 0,
    RETRIES: 1,
    RESTARTS: 0,
}
MINUTES = 30
ALL_FOUR = {LEASES_OWNED: 4, LEASES: 4}


def lines(*workers: Values) -> Minute:
    """A line of each worker, with the values that differ from a healthy one's."""
    documents = [
        document(0, {"application": "limits-consumer"}, _values({**HEALTHY, **changed})) for changed in workers
    ]
    return [emf.read(json.dumps(each)) for each in documents]


def _values(values: Values) -> list[tuple[Metric, list[float]]]:
    return [(metric, [value]) for metric, value in values.items()]


def raised(*last: Minute) -> set[str]:
    """The alarms after half an hour that ends with these minutes."""
    monitoring = resolved("monitoring.yaml", LogGroup="workers")
    minutes: Sequence[Minute] = [lines({}, {})] * (MINUTES - len(last)) + list(last)
    watching = {
        name: monitoring.properties(name)
        for name, each in resources(monitoring.template, "AWS::CloudWatch::Alarm").items()
        if "Metrics" in each or str(each["MetricName"]).startswith("consumer_")
    }
    return {name for name, alarm in watching.items() if is_raised(alarm, minutes)}


def test_the_healthy_line_is_whole() -> None:
    assert HEALTHY.keys() == set(LINE)


@pytest.mark.parametrize(
    ("minute", "long_enough", "wanted"),
    [
        ([], 5, {"DownAlarm"}),
        ([], 15, {"DownAlarm", "WorkersMissingAlarm"}),
        ([ALL_FOUR], 15, {"WorkersMissingAlarm"}),
        ([{}, {LEASES: 1}], 10, {"ShardsUnreadAlarm"}),
        ([{}, {LEASES: 1, LEASES_OWNED: 1}], 10, {"ShardsUnreadAlarm"}),
        ([{}, {BEHIND: 400}], 15, {"LaggingAlarm"}),
        ([{}, {BEHIND: 303_000}], 3, {"LagNearRetentionAlarm"}),
        ([{}, {OLDEST_BATCH: 150}], 3, {"NoBatchAlarm"}),
        ([{}, {RETRIES: 2}], 5, {"EnvironmentFailingAlarm"}),
        ([{}, {QUARANTINED: 1}], 1, {"RecordsQuarantinedAlarm"}),
        ([{QUARANTINED: 11}, {QUARANTINED: 10}], 5, {"RecordsQuarantinedAlarm", "QuarantineFloodAlarm"}),
        ([{RESTARTS: 1}, {}], 3, {"RestartingAlarm"}),
    ],
)
def test_a_fault_raises_its_alarm_once_it_has_lasted_long_enough(
    minute: list[Values], long_enough: int, wanted: set[str]
) -> None:
    assert raised(*[lines(*minute)] * long_enough) == wanted
    assert raised(*[lines(*minute)] * (long_enough - 1)) < wanted


def test_a_handoff_of_shards_a_deployment_and_a_single_retry_raise_none() -> None:
    moving = [lines({}, {LEASES: 0, LEASES_OWNED: 0}), lines({LEASES: 1}, {}), lines({}, {}, {LEASES: 0})]

    assert raised(*moving * 3) == set()


def test_a_worker_that_does_not_know_the_stream_yet_changes_nothing() -> None:
    new = document(0, {"application": "limits-consumer"}, _values({LEASES: 0, LEASES_OWNED: 0}))
    minute = [*lines(ALL_FOUR), emf.read(json.dumps(new))]

    assert raised(*[minute] * 15) == set()
