"""Leases, workers and the leader, as read from the KCL's tables in the layouts of KCL 3.1 and 3.5. Pure.

KCL 3.1 has three tables: leases (key `leaseKey`), `-WorkerMetricStats` (key `wid`), `-CoordinatorState` (key `key`).
KCL 3.5 keeps everything in the lease table of a new application, under `leaseKey`: `entityType` distinguishes the rows,
and a row without it is a lease. An older application keeps its three tables until it is migrated. Its row
`TableMigration3.5` holds the state of the migration. Until that is COMPLETE, both places are read, and the leader's
lock is in the old one.

Source: EntityType, DynamoDBLeaseSerializer, WorkerMetricStats, CoordinatorStateDAO, TableMigrationState of KCL 3.5.1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

Item: TypeAlias = Mapping[str, Any]
"""A row in the form of the DynamoDB API: `{"leaseKey": {"S": "shardId-000000000000"}}`."""

ORIGIN = "consumerStream"
"""An attribute that we add to a lease: its stream (origin.py). The KCL keeps attributes that it does not know."""
TRIM_HORIZON = "TRIM_HORIZON"
LATEST = "LATEST"
SHARD_END = "SHARD_END"
LEADER = "Leader"
"""The key of the leader's lock."""
_COMPLETE = "TABLE_MIGRATION_STATUS_COMPLETE"
_LOADS: Mapping[str, str] = MappingProxyType(
    {"C": "cpu", "M": "memory", "NI": "network in", "NO": "network out", "T": "throughput"}
)
"""The meaning of the KCL's abbreviations for worker metrics (WorkerMetricType)."""


class Layout(StrEnum):
    """Where the KCL keeps its data. MIGRATING: partly in three tables, partly in one."""

    THREE_TABLES = "three tables"
    MIGRATING = "migrating"
    ONE_TABLE = "one table"


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of a shard.

    checkpoint  a sequence number, or a word such as TRIM_HORIZON
    counter     increases with every renewal
    successor   the worker to which the lease is being handed off, while `owner` still reads the shard
    parents     shards that must be read to their end first, as far as the KCL has stored them
    origin      the stream, None when the lease is not marked
    """

    shard: str
    owner: str | None
    checkpoint: str
    sub_sequence: int
    counter: int
    owner_switches: int
    kilobytes: float | None = None
    successor: str | None = None
    parents: tuple[str, ...] = ()
    origin: str | None = None

    @property
    def ended(self) -> bool:
        return self.checkpoint == SHARD_END


@dataclass(frozen=True, slots=True)
class Report:
    """The last report of a worker, at Unix second `at`. `loads`: utilisation in percent, by kind."""

    worker: str
    at: int
    loads: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Lock:
    """The leader's lock. `version` changes with every heartbeat of the leader (daemon/kcl_constants.py)."""

    owner: str
    version: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The contents of the KCL's tables. `lock` is None when no worker holds it."""

    layout: Layout
    leases: Sequence[Lease]
    reports: Sequence[Report]
    lock: Lock | None

    @property
    def leader(self) -> str | None:
        return self.lock.owner if self.lock else None


def read(rows: Iterable[Item], metrics: Iterable[Item] | None, coordinator: Iterable[Item] | None) -> Tables:
    """Reads the rows of the lease table and of the other two; None for a table that does not exist."""
    own = _by_kind(rows)
    states = {_text(row, "key"): row for row in coordinator or ()}
    layout = _layout(own, states, legacy=coordinator is not None)
    old = list(metrics or ()) if layout is not Layout.ONE_TABLE else []
    reports = [_report(row, "leaseKey") for row in own["WORKER_METRIC_STATS"]] + [_report(row, "wid") for row in old]
    lock = next(iter(own["LEADER"]), None) if layout is Layout.ONE_TABLE else states.get(LEADER)
    leases = sorted((_lease(row) for row in own["LEASE"]), key=lambda lease: lease.shard)
    return Tables(layout, leases, _latest(reports), _held(lock))


def _by_kind(rows: Iterable[Item]) -> dict[str, list[Item]]:
    """The lease table's rows by `entityType`; ignores kinds that later versions may add."""
    kinds: dict[str, list[Item]] = {"LEASE": [], "LEADER": [], "WORKER_METRIC_STATS": [], "TABLE_MIGRATION": []}
    for row in rows:
        kinds.get(_text(row, "entityType") or "LEASE", []).append(row)
    return kinds


def _layout(own: Mapping[str, Sequence[Item]], states: Mapping[str | None, Item], *, legacy: bool) -> Layout:
    moved = [_text(row, "tm") for row in (*own["TABLE_MIGRATION"], *states.values())]
    if not legacy or _COMPLETE in moved:
        return Layout.ONE_TABLE
    return Layout.MIGRATING if any(moved) or own["WORKER_METRIC_STATS"] else Layout.THREE_TABLES


def _lease(row: Item) -> Lease:
    return Lease(
        shard=_text(row, "leaseKey") or "",
        owner=_text(row, "checkpointOwner") or _text(row, "leaseOwner"),
        checkpoint=_text(row, "checkpoint") or "",
        sub_sequence=int(_number(row, "checkpointSubSequenceNumber") or 0),
        counter=int(_number(row, "leaseCounter") or 0),
        owner_switches=int(_number(row, "ownerSwitchesSinceCheckpoint") or 0),
        kilobytes=_number(row, "throughputKBps"),
        successor=_text(row, "leaseOwner") if "checkpointOwner" in row else None,
        parents=tuple(sorted(row.get("parentShardId", {}).get("SS", ()))),
        origin=_text(row, ORIGIN),
    )


def readable(leases: Iterable[Lease], owner: str) -> list[str]:
    """The shards that `owner` should be reading: not at their end, with no parent that still has to be read.

    KCL waits for the parents in the same way (BlockOnParentShardTask).
    """
    unread = {lease.shard: lease for lease in leases if not lease.ended}
    return [
        lease.shard for lease in unread.values() if lease.owner == owner and unread.keys().isdisjoint(lease.parents)
    ]


def _report(row: Item, key: str) -> Report:
    return Report(_text(row, key) or "", int(_number(row, "lut") or 0), _loads(row))


def _loads(row: Item) -> dict[str, float]:
    """The last value of each kind; -1 is the KCL's value for one that is unavailable."""
    series = {name: each["L"] for name, each in row.get("sts", {"M": {}})["M"].items() if each["L"]}
    last = {_LOADS.get(name, name): float(values[-1]["N"]) for name, values in series.items()}
    return {name: value for name, value in last.items() if value >= 0}


def _latest(reports: Iterable[Report]) -> list[Report]:
    """The latest report of each worker; during a migration there may be an older one in the old table."""
    latest: dict[str, Report] = {}
    for report in sorted(reports, key=lambda report: report.at):
        latest[report.worker] = report
    return sorted(latest.values(), key=lambda report: report.worker)


def _held(lock: Item | None) -> Lock | None:
    """A lock of the DynamoDB lock client, which marks a released lock with `isReleased`."""
    if not lock or "isReleased" in lock:
        return None
    return Lock(_text(lock, "ownerName") or "", _text(lock, "recordVersionNumber") or "")


def _text(row: Item, name: str) -> str | None:
    text: str | None = row.get(name, {}).get("S")
    return text


def _number(row: Item, name: str) -> float | None:
    number = row.get(name, {}).get("N")
    return None if number is None else float(number)
