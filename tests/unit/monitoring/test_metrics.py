"""The metrics: named by the conventions, bounded, documented, and what a batch and a request add to them."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from prometheus_client import CollectorRegistry, generate_latest

from consumer.engine.errors import Reason
from consumer.kcl.record_processor import ANSWERS
from consumer.limits import event_types
from consumer.limits.event_types import WARNINGS
from consumer.monitoring import metrics
from consumer.monitoring.metrics import Kind, Measurement, Metric
from consumer.monitoring.prometheus import PrometheusSink
from consumer.stores.requests import RequestOutcome, _received, observe_requests
from tests.support.driven.processes import free_port
from tests.support.generators.events import START, created, progress_changed
from tests.support.simulation.core import Core, FakeRetryPolicy, Fate, FlakyRepository, memory, times

ROOT = Path(__file__).parents[3]
BOUNDED = {
    *("type", "outcome", "reason", "kind", "operation", "result", "part", "version", "kclpy", "python", "problem"),
    *("route", "status", "table"),
}
"""Labels whose values are closed lists, or a single table."""
UNITS = (
    *("_seconds", "_bytes", "_records", "_held", "_owned", "_up", "_info", "_total", "_shards", "_alive", "_busy"),
    *("_limits", "_damages", "_in_flight"),
)


def test_the_document_is_what_the_module_says() -> None:
    written = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert written == metrics.document(), "docs/reference/metrics.md is out of date: run `make docs`"


def test_every_metric_is_in_one_list_and_documented() -> None:
    defined = {value for value in vars(metrics).values() if isinstance(value, Metric)}
    assert len(metrics.ALL) == len(set(metrics.ALL)) == len({metric.name for metric in metrics.ALL})
    assert defined == set(metrics.ALL)
    assert all(f"| `{metric.name}` |" in metrics.document() for metric in metrics.ALL)


@pytest.mark.parametrize("metric", metrics.ALL, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"consumer(_[a-z]+)+", metric.name)
    assert metric.name.endswith(UNITS)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.help.endswith(".")
    assert sorted(metric.buckets) == list(metric.buckets)
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)


@pytest.mark.parametrize("metric", metrics.ALL, ids=lambda metric: metric.name)
def test_no_label_is_unbounded(metric: Metric) -> None:
    unbounded = set(metric.labels) - BOUNDED
    assert unbounded <= {"shard"} or (metric is metrics.LEASE_OWNER and unbounded == {"shard", "owner"})
    assert not unbounded or metric.kind is Kind.GAUGE, "what a shard leaves behind must vanish with it"


def test_the_core_has_nothing_that_makes_no_sense_in_lambda() -> None:
    assert not [metric for metric in metrics.CORE if metric.kind is Kind.GAUGE or "shard" in metric.labels]


def test_prometheus_has_every_metric_under_its_name() -> None:
    registry = CollectorRegistry()
    measure = PrometheusSink(metrics.ALL, registry)
    for metric in metrics.ALL:
        measure(metric, 1, *metric.labels)
    reported = re.findall(r"^# TYPE (\S+) (\S+)$", generate_latest(registry).decode(), re.MULTILINE)
    assert {(metric.name, metric.kind) for metric in metrics.ALL} <= set(reported)


def added(measurements: Sequence[Measurement], metric: Metric) -> list[float]:
    return [value for one, value, _ in measurements if one == metric]


def deliver(core: Core, *events: object) -> list[Measurement]:
    return list(metrics.of_batch(core.deliver(*events), seconds=2.5, now=START / 1000 + 60))


def test_a_batch_tells_its_phases() -> None:
    reported = deliver(Core(), created(1), b"poison")
    assert added(reported, metrics.BATCH_SECONDS) == [2.5]
    for phase in metrics.PHASES.values():
        assert len(added(reported, phase)) == 1


def test_folding_saves_writes_where_a_limit_has_several_events() -> None:
    reported = deliver(Core(), created(1), progress_changed(2), progress_changed(3), created(4, userLimitId="other"))
    assert (added(reported, metrics.WRITES), added(reported, metrics.SAVED)) == ([2], [2])


def test_duplicates_and_conflicts_save_nothing() -> None:
    kept = memory()
    Core(kept).deliver(created(1))
    core = Core(kept)
    reported = deliver(core, created(1), created(1))
    assert (added(reported, metrics.WRITES), added(reported, metrics.SAVED)) == ([0], [0])
    first = times(1)
    core = Core(FlakyRepository(kept, before_save=lambda: first() and Core(kept).deliver(progress_changed(2))))
    reported = deliver(core, progress_changed(3))
    assert added(reported, metrics.CONFLICTS) == [1]
    assert (added(reported, metrics.WRITES), added(reported, metrics.SAVED)) == ([2], [0])


def test_the_event_lag_is_that_of_the_oldest_event() -> None:
    reported = deliver(Core(), created(1), {**progress_changed(2), "createdAt": START - 30_000}, b"poison")
    assert added(reported, metrics.EVENT_LAG) == [90]
    assert added(deliver(Core(), {**created(1), "createdAt": START + 3_600_000}), metrics.EVENT_LAG) == [0]


def test_no_event_has_no_lag_nor_has_what_is_not_settled() -> None:
    assert added(deliver(Core(), b"poison"), metrics.EVENT_LAG) == []
    throttled = Core(FlakyRepository(memory(), lambda _: Fate.THROTTLED), retry_policy=FakeRetryPolicy(0))
    assert added(deliver(throttled, created(1)), metrics.EVENT_LAG) == []


def test_what_is_known_beforehand_begins_at_zero() -> None:
    reported = {(metric, labels) for metric, value, labels in metrics.nothing_yet(WARNINGS, ANSWERS) if value == 0}
    assert reported >= {(metrics.QUARANTINED, (reason,)) for reason in Reason}
    assert reported >= {(metrics.CHECKPOINTS, (answer,)) for answer in ("made", "refused", "ShutdownException")}
    assert reported >= {(metrics.RETRIES, ("store",)), (metrics.WARNINGS, ("over_limit",))}


def test_every_kind_of_warning_is_known_beforehand() -> None:
    kinds = {value for name, value in vars(event_types).items() if name.isupper() and isinstance(value, str)}
    assert {kind.partition(":")[0] for kind in WARNINGS} == kinds


def outcome_of(
    answer: dict[str, Any] | None, event: str = "response-received.dynamodb.BatchExecuteStatement"
) -> RequestOutcome:
    reported: list[RequestOutcome] = []
    _received(reported.append, event_name=event, parsed_response=answer, exception=None)
    (only,) = reported
    return only


def answer(status: HTTPStatus, **content: object) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPStatusCode": status.value}, **content}


@pytest.mark.parametrize(
    ("given", "result", "throttled"),
    [
        (answer(HTTPStatus.OK), "ok", 0),
        (None, "unanswered", 0),
        (answer(HTTPStatus.BAD_REQUEST, Error={"Code": "ThrottlingException"}), "throttled", 1),
        (answer(HTTPStatus.SERVICE_UNAVAILABLE, Error={"Code": "SlowDown"}), "throttled", 1),
        (answer(HTTPStatus.BAD_REQUEST, Error={"Code": "AccessDeniedException"}), "refused", 0),
        (answer(HTTPStatus.INTERNAL_SERVER_ERROR), "refused", 0),
        (
            answer(
                HTTPStatus.OK,
                Responses=[
                    {"Error": {"Code": "ThrottlingError"}},
                    {"Error": {"Code": "ConditionalCheckFailed"}},
                    {"Error": {"Code": "ProvisionedThroughputExceeded"}},
                    {},
                ],
            ),
            "ok",
            2,
        ),
        (answer(HTTPStatus.OK, Responses={"t": []}, UnprocessedKeys={"t": {"Keys": [{}, {}, {}]}}), "ok", 3),
    ],
)
def test_a_request_is_told_by_result(given: dict[str, Any] | None, result: str, throttled: int) -> None:
    assert outcome_of(given) == RequestOutcome("BatchExecuteStatement", result, throttled)


def test_a_throttled_request_counts_twice() -> None:
    reported = list(metrics.of_request("PutObject", "throttled", 1))
    assert reported == [(metrics.REQUESTS, 1, ("PutObject", "throttled")), (metrics.THROTTLES, 1, ("PutObject",))]
    assert list(metrics.of_request("PutObject", "ok", 0)) == [(metrics.REQUESTS, 1, ("PutObject", "ok"))]


def test_every_try_is_told_also_one_without_an_answer() -> None:
    reported: list[RequestOutcome] = []
    config = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=5)
    client = boto3.client("dynamodb", endpoint_url=f"http://127.0.0.1:{free_port()}", config=config)
    observe_requests(client, reported.append)
    with pytest.raises(EndpointConnectionError):
        client.batch_get_item(RequestItems={"t": {"Keys": [{"id": {"S": "1"}}]}})
    assert reported == [RequestOutcome("BatchGetItem", "unanswered", 0)] * 2
