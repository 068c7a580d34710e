"""Writes to KCL's tables: the same in memory, where the simulation makes them, and in DynamoDB in both layouts.

The rows are those that KCL 3.1.3 wrote, with our mark on each lease.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import pytest

from consumer.leases import kcl_tables
from consumer.leases.kcl_tables import Lease, Lock, Report, Tables
from consumer.leases.lease_store import DynamoLeases
from consumer.leases.tables import kcl_tables as tables_of
from consumer.leases.taking import LeaseStore
from consumer.stores.aws import CLIENT
from tests.contract.conftest import DYNAMODB, Emulators
from tests.support.emulators.aws import session
from tests.support.emulators.kcl_tables import COORDINATOR, LEASES, METRICS, WORKER, Row, one_table
from tests.support.simulation.lease_tables import MemoryLeases

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ME, FIRST, SECOND = "worker-2", "shardId-000000000000", "shardId-000000000001"
MARK = {"consumerStream": {"S": "arn:aws:kinesis:eu-north-1:000000000000:stream/events made at 2026-01-31T00:00:00Z"}}
MARKED: Sequence[Row] = [{**row, **MARK} for row in LEASES]
WRITTEN = {"leaseOwner", "leaseCounter", "ownerSwitchesSinceCheckpoint"}
"""All attributes of a lease that a supervisor writes."""


class Place(Protocol):
    """Tables with the captured rows."""

    store: LeaseStore

    def put(self, lease: Row) -> None:
        """Replaces a lease, as another worker would."""

    def delete(self, shard: str) -> None: ...

    def rows(self) -> dict[str, Row]:
        """The leases with all their attributes."""


class Memory:
    def __init__(self) -> None:
        self._tables = MemoryLeases()
        self.store: LeaseStore = self._tables
        found = kcl_tables.read(MARKED, METRICS, COORDINATOR)
        self._tables.leases = {lease.shard: lease for lease in found.leases}
        self._tables.reports = {report.worker: report.at for report in found.reports}
        self._tables.lock = found.lock

    def put(self, lease: Row) -> None:
        [read] = kcl_tables.read([lease], None, None).leases
        self._tables.leases[read.shard] = read

    def delete(self, shard: str) -> None:
        del self._tables.leases[shard]

    def rows(self) -> dict[str, Row]:
        names = {"owner": "leaseOwner", "counter": "leaseCounter", "owner_switches": "ownerSwitchesSinceCheckpoint"}
        return {
            shard: {names.get(name, name): getattr(lease, name) for name in Lease.__slots__}
            for shard, lease in self._tables.leases.items()
        }


class Dynamo:
    def __init__(self, client: "DynamoDBClient", *, one: bool) -> None:
        self._client, self._one = client, one
        self._application = f"app-{uuid4()}"
        self.store: LeaseStore = DynamoLeases(lambda: client, self._application)
        rows = [one_table(MARKED, METRICS, COORDINATOR)] if one else [MARKED, METRICS, COORDINATOR]
        for table, content in zip(tables_of(self._application), rows, strict=False):
            client.create_table(
                TableName=table.name,
                KeySchema=[{"AttributeName": table.keys[0], "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": table.keys[0], "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            client.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
            for row in content:
                client.put_item(TableName=table.name, Item=row)

    def put(self, lease: Row) -> None:
        kind = {"entityType": {"S": "LEASE"}} if self._one else {}
        self._client.put_item(TableName=self._application, Item={**lease, **kind})

    def delete(self, shard: str) -> None:
        self._client.delete_item(TableName=self._application, Key={"leaseKey": {"S": shard}})

    def rows(self) -> dict[str, Row]:
        rows: list[Any] = self._client.scan(TableName=self._application, ConsistentRead=True)["Items"]
        return {row["leaseKey"]["S"]: row for row in rows if row.get("entityType", {"S": "LEASE"})["S"] == "LEASE"}

    def remove(self) -> None:
        for table in tables_of(self._application)[: 1 if self._one else 3]:
            self._client.delete_table(TableName=table.name)


@pytest.fixture(params=["memory", *DYNAMODB])
def emulator(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["three tables", "one table"])
def place(request: pytest.FixtureRequest, emulator: str, emulators: Emulators) -> Iterator[Place]:
    if emulator == "memory":
        yield Memory()
        return
    with ExitStack() as stack:
        endpoint = emulators.tables(emulator)
        client = stack.enter_context(closing(session().client("dynamodb", endpoint_url=endpoint, config=CLIENT)))
        tables = Dynamo(client, one=request.param == "one table")
        stack.callback(tables.remove)
        yield tables


def read(place: Place) -> Tables:
    tables = place.store.read()
    assert tables
    return tables


def lease_of(place: Place, shard: str = FIRST) -> Lease:
    return next(lease for lease in read(place).leases if lease.shard == shard)


def changed(before: dict[str, Row], after: dict[str, Row]) -> set[tuple[str, str]]:
    """The shards and attributes that differ."""
    assert before.keys() == after.keys()
    return {
        (shard, name)
        for shard in before
        for name in before[shard].keys() | after[shard].keys()
        if before[shard].get(name) != after[shard].get(name)
    }


def renewed(row: Row) -> Row:
    return {**row, "leaseCounter": {"N": str(int(row["leaseCounter"]["N"]) + 1)}}


def unowned(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "leaseOwner"}


def test_the_rows_are_read(place: Place) -> None:
    tables = read(place)
    assert [(lease.shard, lease.owner, lease.counter) for lease in tables.leases] == [
        (FIRST, WORKER, 28),
        (SECOND, WORKER, 28),
    ]
    assert tables.reports == [Report(WORKER, 1795372597, {})]
    assert tables.lock == Lock(WORKER, "61703042-97a8-4909-85a2-79325aa95c71")


def test_a_lease_that_is_as_it_was_seen_is_taken(place: Place) -> None:
    before, lease = place.rows(), lease_of(place)
    assert place.store.take(lease, ME)
    assert lease_of(place) == replace(lease, owner=ME, counter=29, owner_switches=1)
    assert changed(before, place.rows()) == {(FIRST, name) for name in WRITTEN}


def test_a_lease_without_an_owner_is_taken(place: Place) -> None:
    place.put(unowned(MARKED[0]))
    before, lease = place.rows(), lease_of(place)
    assert lease.owner is None
    assert place.store.take(lease, ME)
    assert lease_of(place) == replace(lease, owner=ME, counter=29)
    assert changed(before, place.rows()) == {(FIRST, "leaseOwner"), (FIRST, "leaseCounter")}


@pytest.mark.parametrize(
    "seen",
    [
        MARKED[0],
        unowned(MARKED[0]),
        renewed(MARKED[0]),
        {**MARKED[0], "leaseOwner": {"S": "worker-3"}},
    ],
    ids=["owned", "unowned", "renewed", "of another"],
)
@pytest.mark.parametrize(
    "now",
    [
        {**renewed(renewed(MARKED[0]))},
        {**MARKED[0], "leaseOwner": {"S": "worker-4"}},
        renewed(unowned(MARKED[0])),
        {**MARKED[0], "leaseOwner": {"S": "worker-4"}, "checkpointOwner": {"S": WORKER}},
    ],
    ids=["renewed twice", "of a third", "given back", "handed off"],
)
def test_a_lease_that_is_not_as_it_was_seen_is_not_taken(place: Place, seen: Row, now: Row) -> None:
    [lease] = kcl_tables.read([seen], None, None).leases
    place.put(now)
    before = place.rows()
    assert not place.store.take(lease, ME)
    assert place.rows() == before


def test_of_two_that_take_the_same_lease_one_wins(place: Place) -> None:
    lease = lease_of(place)
    assert [place.store.take(lease, worker) for worker in (ME, "worker-3")] == [True, False]
    assert lease_of(place).owner == ME


def test_a_lease_in_a_handoff_is_neither_taken_nor_given_back(place: Place) -> None:
    place.put({**MARKED[0], "leaseOwner": {"S": "worker-4"}, "checkpointOwner": {"S": WORKER}})
    before, lease = place.rows(), lease_of(place)
    assert lease.owner == WORKER
    assert not place.store.take(lease, ME)
    assert not place.store.give_back(lease)
    assert place.rows() == before


def test_a_deleted_lease_is_not_created_again(place: Place) -> None:
    owned, free = lease_of(place), lease_of(place, SECOND)
    place.delete(FIRST)
    place.delete(SECOND)
    for write in (take(owned), take(replace(free, owner=None)), give_back(owned)):
        assert not write(place.store)
    assert place.rows() == {}


def take(lease: Lease) -> Callable[[LeaseStore], bool]:
    return lambda store: store.take(lease, ME)


def give_back(lease: Lease) -> Callable[[LeaseStore], bool]:
    return lambda store: store.give_back(lease)


def test_a_lease_is_given_back_also_after_a_renewal(place: Place) -> None:
    lease = lease_of(place)
    place.put(renewed(MARKED[0]))
    before = place.rows()
    assert place.store.give_back(lease)
    assert lease_of(place) == replace(lease, owner=None, counter=30)
    assert changed(before, place.rows()) == {(FIRST, "leaseOwner"), (FIRST, "leaseCounter")}


@pytest.mark.parametrize("now", [unowned(MARKED[0]), {**MARKED[0], "leaseOwner": {"S": ME}}], ids=["free", "taken"])
def test_a_lease_of_another_is_not_given_back(place: Place, now: Row) -> None:
    lease = lease_of(place)
    place.put(now)
    before = place.rows()
    assert not place.store.give_back(lease)
    assert place.rows() == before


def test_the_lock_is_removed_once_if_it_is_as_it_was_seen(place: Place) -> None:
    before, lock = place.rows(), read(place).lock
    assert lock
    assert not place.store.remove_lock(replace(lock, version="another"))
    assert read(place).lock == lock
    assert [place.store.remove_lock(lock) for _ in range(2)] == [True, False]
    assert read(place).lock is None
    assert place.rows() == before


def test_a_report_is_removed_and_no_other(place: Place) -> None:
    before = place.rows()
    place.store.remove_report(ME)
    assert [report.worker for report in read(place).reports] == [WORKER]
    place.store.remove_report(WORKER)
    assert read(place).reports == []
    assert place.rows() == before


def test_a_lease_is_not_taken_for_the_report_of_a_worker(place: Place) -> None:
    before = place.rows()
    place.store.remove_report(FIRST)
    assert place.rows() == before


@pytest.mark.parametrize("emulator", DYNAMODB, indirect=True)
def test_without_tables_there_is_nothing_to_read_or_remove(place: Dynamo) -> None:
    store = DynamoLeases(lambda: place._client, f"none-{uuid4()}")
    assert store.read() is None
    assert not store.remove_lock(Lock(WORKER, "1"))
    store.remove_report(WORKER)


# --- consumer rewind: in DynamoDB only, because no worker does it --------------------------------------------------

REWOUND = {
    "checkpoint",
    "checkpointSubSequenceNumber",
    "ownerSwitchesSinceCheckpoint",
    "leaseOwner",
    "checkpointOwner",
    "leaseCounter",
    *(PENDING := ("pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState")),
}
"""All attributes of a lease that a rewind writes or removes."""
READ: Row = {
    **MARKED[0],
    "checkpointSubSequenceNumber": {"N": "3"},
    "ownerSwitchesSinceCheckpoint": {"N": "2"},
    **dict(zip(PENDING, ({"S": "50"}, {"N": "0"}, {"B": b"state"}), strict=True)),
}
HANDED_OFF: Row = {**READ, "leaseOwner": {"S": "worker-4"}, "checkpointOwner": {"S": WORKER}}


def store_of(place: Dynamo) -> DynamoLeases:
    assert isinstance(place.store, DynamoLeases)
    return place.store


@pytest.mark.parametrize("emulator", DYNAMODB, indirect=True)
@pytest.mark.parametrize("row", [READ, unowned(READ), HANDED_OFF], ids=["owned", "unowned", "in a handoff"])
def test_a_lease_that_is_as_it_was_read_is_rewound(place: Dynamo, row: Row) -> None:
    """Nobody owns it afterwards, and who still believes to own it can no longer renew it or checkpoint."""
    place.put(row)
    before, lease = place.rows(), lease_of(place)
    assert store_of(place).rewind(lease, "TRIM_HORIZON")
    found = replace(lease, owner=None, successor=None, checkpoint="TRIM_HORIZON", sub_sequence=0, owner_switches=0)
    assert lease_of(place) == replace(found, counter=29)
    assert changed(before, place.rows()) == {(FIRST, name) for name in REWOUND & {*row, "leaseCounter"}}
    assert not store_of(place).rewind(lease, "TRIM_HORIZON"), "a second one finds another counter"


@pytest.mark.parametrize("emulator", DYNAMODB, indirect=True)
@pytest.mark.parametrize(
    "now",
    [
        renewed(READ),
        {**READ, "leaseOwner": {"S": "worker-4"}},
        unowned(READ),
        {**READ, "checkpoint": {"S": "50"}},
        {**READ, "checkpointSubSequenceNumber": {"N": "4"}},
        HANDED_OFF,
    ],
    ids=["renewed", "taken", "given back", "checkpointed", "checkpointed in an aggregate", "handed off"],
)
def test_a_lease_that_is_not_as_it_was_read_is_not_rewound(place: Dynamo, now: Row) -> None:
    place.put(READ)
    lease = lease_of(place)
    place.put(now)
    before = place.rows()
    assert not store_of(place).rewind(lease, "TRIM_HORIZON")
    assert place.rows() == before


@pytest.mark.parametrize("emulator", DYNAMODB, indirect=True)
def test_a_lease_is_created_once_and_is_never_replaced(place: Dynamo) -> None:
    place.delete(FIRST)
    row = unowned(MARKED[0])
    assert store_of(place).create(row)
    assert place.rows()[FIRST] == row
    assert [lease.shard for lease in read(place).leases] == [FIRST, SECOND]
    assert not store_of(place).create({**row, "checkpoint": {"S": "TRIM_HORIZON"}})
    assert place.rows()[FIRST] == row


@pytest.mark.parametrize("emulator", DYNAMODB, indirect=True)
def test_a_deleted_lease_is_not_rewound(place: Dynamo) -> None:
    lease = lease_of(place)
    place.delete(FIRST)
    assert not store_of(place).rewind(lease, "TRIM_HORIZON")
    assert FIRST not in place.rows()
