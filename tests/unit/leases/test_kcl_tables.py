"""The KCL's tables in both layouts; the older one as written by KCL 3.1.3."""

from typing import Any

import pytest

from consumer.leases import kcl_tables
from consumer.leases.kcl_tables import Layout, Lease, Report
from tests.support.emulators.kcl_tables import COORDINATOR, LEASES, METRICS, WORKER, one_table

ONE_TABLE = one_table(LEASES, METRICS, COORDINATOR)


def migration(state: str) -> dict[str, Any]:
    status = f"TABLE_MIGRATION_STATUS_{state}"
    return {"key": {"S": "TableMigration3.5"}, "tm": {"S": status}, "mb": {"S": WORKER}, "mts": {"N": "1795372570897"}}


def load(*figures: str) -> dict[str, Any]:
    return {"L": [{"N": figure} for figure in figures]}


def test_the_layout_of_kcl_3_1() -> None:
    tables = kcl_tables.read(LEASES, METRICS, COORDINATOR)
    first, second = tables.leases
    assert first == Lease("shardId-000000000000", WORKER, "000000017953725608050000000502", 0, 28, 0, 0.003045)
    assert (second.shard, second.ended) == ("shardId-000000000001", False)
    assert tables.reports == [Report(WORKER, 1795372597, {})]
    assert (tables.layout, tables.leader) == (Layout.THREE_TABLES, WORKER)


def test_the_layout_of_kcl_3_5_has_the_same_contents() -> None:
    before, after = kcl_tables.read(LEASES, METRICS, COORDINATOR), kcl_tables.read(ONE_TABLE, None, None)
    assert after.layout == Layout.ONE_TABLE
    assert (after.leases, after.reports, after.leader) == (before.leases, before.reports, before.leader)


def test_a_row_of_an_unknown_kind_is_not_a_lease() -> None:
    later = {"leaseKey": {"S": "x"}, "entityType": {"S": "SOME_FUTURE_TYPE"}}
    assert len(kcl_tables.read([*ONE_TABLE, later], None, None).leases) == 2


def test_a_row_without_a_kind_is_a_lease_in_one_table_too() -> None:
    assert len(kcl_tables.read([*ONE_TABLE, {"leaseKey": {"S": "shardId-000000000002"}}], None, None).leases) == 3


@pytest.mark.parametrize("state", ["INIT", "DEPLOYED", "PENDING"])
def test_during_a_migration_both_places_are_read_and_the_lock_is_in_the_old_one(state: str) -> None:
    old = {"wid": {"S": "old"}, "lut": {"N": "5"}}
    again = {"wid": {"S": WORKER}, "lut": {"N": "1"}}
    tables = kcl_tables.read(
        ONE_TABLE, [old, again], [migration(state), {"key": {"S": "Leader"}, "ownerName": {"S": "b"}}]
    )
    assert tables.layout == Layout.MIGRATING
    assert tables.leader == "b"
    assert [(report.worker, report.at) for report in tables.reports] == [(WORKER, 1795372597), ("old", 5)]


@pytest.mark.parametrize("in_the_lease_table", [True, False])
def test_after_a_migration_the_old_tables_are_ignored(in_the_lease_table: bool) -> None:
    done = migration("COMPLETE")
    rows = [*ONE_TABLE, *one_table([], [], [done])] if in_the_lease_table else ONE_TABLE
    left = [{"key": {"S": "Leader"}, "ownerName": {"S": "old"}}, *([] if in_the_lease_table else [done])]
    tables = kcl_tables.read(rows, [{"wid": {"S": "old"}, "lut": {"N": "5"}}], left)
    assert (tables.layout, tables.leader) == (Layout.ONE_TABLE, WORKER)
    assert [report.worker for report in tables.reports] == [WORKER]


def test_a_released_lock_has_no_holder() -> None:
    lock = {"key": {"S": "Leader"}, "ownerName": {"S": WORKER}, "isReleased": {"S": "1"}}
    assert kcl_tables.read([], [], [lock]).leader is None
    assert kcl_tables.read([], [], []).leader is None


def test_a_lease_during_a_handoff_still_belongs_to_its_old_owner() -> None:
    row = {**LEASES[0], "leaseOwner": {"S": "new"}, "checkpointOwner": {"S": "old"}}
    (lease,) = kcl_tables.read([row], [], []).leases
    assert (lease.owner, lease.successor) == ("old", "new")


def test_a_new_lease_has_no_owner() -> None:
    row = {"leaseKey": {"S": "s"}, "checkpoint": {"S": "TRIM_HORIZON"}, "leaseCounter": {"N": "0"}}
    (lease,) = kcl_tables.read([row], [], []).leases
    assert lease == Lease("s", None, "TRIM_HORIZON", 0, 0, 0)


def test_the_loads_of_a_worker_are_its_last_values() -> None:
    figures = {"M": {"C": load("10", "35.5"), "NI": load("-1"), "X": load("2"), "T": load()}}
    (report,) = kcl_tables.read([], [{"wid": {"S": "w"}, "lut": {"N": "7"}, "sts": figures}], []).reports
    assert report.loads == {"cpu": 35.5, "X": 2.0}


def test_a_lease_with_a_mark_and_parents() -> None:
    row = {**LEASES[0], "consumerStream": {"S": "arn made at t"}, "parentShardId": {"SS": ["b", "a"]}}
    (lease,) = kcl_tables.read([row], None, None).leases
    assert (lease.origin, lease.parents) == ("arn made at t", ("a", "b"))
