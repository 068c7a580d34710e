"""A status as metrics: values that are not known have no sample."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from consumer.admin import status, status_metrics
from consumer.admin.status import FOREIGN, NOT_REQUESTED, Lag, Quarantine, Shard, Status, Stream
from consumer.leases.kcl_tables import Layout, Lease, Lock, Report, Tables
from consumer.monitoring import metrics
from consumer.monitoring.metrics import Metric

NOW, ME, OURS = (
    1_000.0,
    "worker-1",
    "arn:aws:kinesis:eu-north-1:000000000000:stream/events made at 2026-01-31T00:00:00Z",
)
SHARDS = (Shard("p", False), Shard("a", True, ("p",)), Shard("b", True, ("p",)))
"""Two open shards, and their parent."""


def lease(shard: str, owner: str | None = ME, checkpoint: str = "49") -> Lease:
    return Lease(shard, owner, checkpoint, 0, 1, 0, origin=OURS)


def found(
    *leases: Lease,
    shards: Sequence[Shard] = SHARDS,
    lags: Mapping[str, Lag] | None = None,
    reports: Sequence[Report] = (Report(ME, 995, {}),),
) -> Status:
    tables = Tables(Layout.THREE_TABLES, leases, reports, Lock(ME, "1"))
    workers = status.workers(tables, NOW, silent_after=6.0)
    alive = [worker.name for worker in workers if worker.alive]
    lines = status.shards(shards, tables, lags or {}, alive)
    stream = Stream("events", "ACTIVE", 168, shards, OURS)
    return Status(NOW, "limits", stream, tables, lines, workers, Quarantine("s3://bucket/q", None, "not requested"))


def values(seen: Status, metric: Metric) -> dict[tuple[str, ...], float]:
    return {labels: value for one, value, labels in status_metrics.of_status(seen) if one is metric}


def test_a_healthy_application() -> None:
    seen = found(lease("p", None, "SHARD_END"), lease("a"), lease("b"), lags={"a": Lag(0.0), "b": Lag(12.5)})

    assert values(seen, metrics.STATUS_AT) == {(): NOW}
    assert values(seen, metrics.OPEN_SHARDS) == {(): 2}
    assert values(seen, metrics.RETENTION) == {(): 168 * 3_600}
    assert values(seen, metrics.WORKERS_ALIVE) == {(): 1}
    assert values(seen, metrics.CHECKPOINT_LAG) == {("a",): 0.0, ("b",): 12.5}
    assert values(seen, metrics.LEASE_OWNER) == {("a", ME): 1, ("b", ME): 1}
    assert values(seen, metrics.SHARD_PROBLEM) == {}


@pytest.mark.parametrize("lag", [Lag(None, "the checkpoint is LATEST"), Lag(None, "ExpiredToken"), NOT_REQUESTED])
def test_an_unknown_lag_has_no_sample(lag: Lag) -> None:
    seen = found(lease("a", checkpoint="LATEST"), lease("b"), lags={"a": lag, "b": Lag(3.0)})
    assert values(seen, metrics.CHECKPOINT_LAG) == {("b",): 3.0}


def test_a_shard_without_an_owner_has_a_problem_and_no_owner() -> None:
    seen = found(lease("p", None, "SHARD_END"), lease("a", None), lease("b", "gone"))
    assert values(seen, metrics.LEASE_OWNER) == {("b", "gone"): 1}
    assert values(seen, metrics.SHARD_PROBLEM) == {("a", "unowned"): 1, ("b", "owner-silent"): 1}


def test_silent_workers_are_not_alive() -> None:
    seen = found(lease("a"), lease("b", "worker-2"), reports=[Report(ME, 995, {}), Report("worker-2", 900, {})])
    assert values(seen, metrics.WORKERS_ALIVE) == {(): 1}
    assert values(found(reports=[]), metrics.WORKERS_ALIVE) == {(): 0}


def test_leases_of_another_stream_are_a_problem_of_each_such_shard() -> None:
    seen = found(lease("p", None, "SHARD_END"), replace(lease("a"), origin="another"), lease("b"))
    assert values(seen, metrics.SHARD_PROBLEM) == {("a", FOREIGN): 1}


def test_a_lease_that_is_not_marked_yet_is_no_problem() -> None:
    seen = found(lease("p", None, "SHARD_END"), replace(lease("a"), origin=None), lease("b"))
    assert values(seen, metrics.SHARD_PROBLEM) == {}


@pytest.mark.parametrize(
    ("leases", "count"),
    [
        ([], 1),  # the parent comes first, even without a lease
        ([lease("p")], 1),
        ([lease("p"), lease("a", None, "TRIM_HORIZON")], 1),
        ([lease("p", None, "SHARD_END")], 2),
        ([lease("a"), lease("b")], 2),  # the lease of the parent was deleted: it is read
        ([lease("a", None, "SHARD_END"), lease("b")], 1),
    ],
)
def test_open_shards_are_those_that_should_be_read_now(leases: list[Lease], count: int) -> None:
    assert values(found(*leases), metrics.OPEN_SHARDS) == {(): count}


def test_a_shard_that_has_left_the_stream_unread_is_a_problem_and_not_open() -> None:
    seen = found(lease("p"), lease("a"), lease("b"), shards=[Shard("a", True), Shard("b", True)])
    assert values(seen, metrics.OPEN_SHARDS) == {(): 2}
    assert values(seen, metrics.SHARD_PROBLEM) == {("p", "left-unread"): 1}


def test_no_sample_is_there_twice() -> None:
    seen = found(lease("p"), lease("a", None, "TRIM_HORIZON"), lease("b", "gone"), lags={"p": Lag(1.0)})
    keys = [(metric, labels) for metric, _, labels in status_metrics.of_status(seen)]
    assert len(keys) == len(set(keys))
