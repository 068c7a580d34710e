"""Captured rows of KCL's tables. kcl_3_1.json: written by KCL 3.1.3, half a minute after its first start.

`one_table` converts the rows to the form of KCL 3.5, after its source (EntityType, WorkerMetricStats,
LeaseTableCoordinatorStateDAODelegate of KCL 3.5.1).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]

WORKER = "ip-10-0-1-17:8:3f9a1c52"
"""The worker that wrote them."""

_WRITTEN: Mapping[str, list[Row]] = json.loads(Path(__file__).with_name("kcl_3_1.json").read_text())
LEASES, METRICS, COORDINATOR = (_WRITTEN[name] for name in ("leases", "workerMetricStats", "coordinatorState"))

_KINDS = {"Leader": "LEADER", "Migration3.0": "CLIENT_VERSION_MIGRATION", "TableMigration3.5": "TABLE_MIGRATION"}


def one_table(leases: Sequence[Row], metrics: Sequence[Row], coordinator: Sequence[Row]) -> list[Row]:
    """The rows of three tables as KCL 3.5 keeps them in the lease table."""
    return [
        *({**row, "entityType": {"S": "LEASE"}} for row in leases),
        *(_moved(row, "wid", "WORKER_METRIC_STATS") for row in metrics),
        *(_moved(row, "key", _KINDS[row["key"]["S"]]) for row in coordinator),
    ]


def _moved(row: Row, key: str, kind: str) -> Row:
    rest = {name: value for name, value in row.items() if name != key}
    return {"leaseKey": row[key], "entityType": {"S": kind}, **rest}
