"""Provisioning creates missing resources and changes no existing ones."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from consumer.admin import provision
from consumer.admin.provision import Clients, Wanted
from consumer.engine.errors import SettingsError
from consumer.leases.tables import states_table
from consumer.settings import Settings, load

INDEX = "LeaseOwnerToLeaseKeyIndex"
STATES = states_table("limits", ("userId", "userLimitId"))
WANTED = Wanted("eu-north-1", "events", "app", STATES, lease_rows=True, shards=2, buckets=("kept",))


MADE = datetime(2026, 1, 31, tzinfo=UTC)
ORIGIN = "arn:aws:kinesis:eu-north-1:000000000000:stream/events made at 2026-01-31T00:00:00Z"
OTHER = "arn:aws:kinesis:eu-north-1:000000000000:stream/events made at 2025-01-31T00:00:00Z"


class Busy(ClientError):
    """The backups of the new table are not available yet."""


class Missing(ClientError):
    """The stream or table does not exist."""


class ConditionFailed(ClientError):
    """The condition of the write does not hold."""


class Invalid(ClientError):
    """A sequence number of another stream."""


EXCEPTIONS = SimpleNamespace(
    ContinuousBackupsUnavailableException=Busy,
    ResourceNotFoundException=Missing,
    ConditionalCheckFailedException=ConditionFailed,
    InvalidArgumentException=Invalid,
)


def refused(code: str, kind: type[ClientError] = ClientError, **more: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code}, **more}
    return kind(answer, "an operation")


def missing() -> ClientError:
    return refused("ResourceNotFoundException", Missing)


def waiter(_: str) -> Any:
    return SimpleNamespace(wait=lambda **_: None)


def shard(number: int, *parents: int) -> dict[str, Any]:
    names = dict(
        zip(("ParentShardId", "AdjacentParentShardId"), (f"shard-{parent}" for parent in parents), strict=False)
    )
    return {
        "ShardId": f"shard-{number}",
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
        "SequenceNumberRange": {},
        **names,
    }


@dataclass
class Account:
    """The part of AWS that provisioning uses. Each client is the same object."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    recoverable: set[str] = field(default_factory=set)
    streams: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    buckets: dict[str, dict[str, Any]] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()
    busy: int = 0
    writes: int = 0
    foreign: tuple[str, ...] = ()
    exceptions: Any = field(default_factory=lambda: EXCEPTIONS)
    get_waiter: Any = field(default=waiter)

    def clients(self) -> Clients:
        same: Any = self
        return Clients(same, same, same)

    def _change(self, call: str) -> None:
        if call in self.unsupported:
            raise refused("UnknownOperationException")
        self.writes += 1

    # Kinesis

    def describe_stream_summary(self, StreamName: str) -> Any:  # noqa: N803
        if StreamName not in self.streams:
            raise missing()
        arn = f"arn:aws:kinesis:eu-north-1:000000000000:stream/{StreamName}"
        summary = {"StreamStatus": "ACTIVE", "StreamARN": arn, "StreamCreationTimestamp": MADE}
        return {"StreamDescriptionSummary": summary}

    def create_stream(self, StreamName: str, ShardCount: int) -> None:  # noqa: N803
        self._change("create_stream")
        self.streams[StreamName] = [shard(number) for number in range(ShardCount)]

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=self._scan if operation == "scan" else self._list_shards)

    def _list_shards(self, StreamName: str) -> Iterator[Any]:  # noqa: N803
        for each in self.streams[StreamName]:
            yield {"Shards": [each]}

    def get_shard_iterator(self, StartingSequenceNumber: str, **_: Any) -> None:  # noqa: N803
        if StartingSequenceNumber in self.foreign:
            raise refused("InvalidArgumentException", Invalid)

    # DynamoDB

    def describe_table(self, TableName: str) -> Any:  # noqa: N803
        if TableName not in self.tables:
            raise missing()
        return {"Table": self.tables[TableName]}

    def create_table(self, **definition: Any) -> None:
        self._change("create_table")
        indexes = [{**index, "IndexStatus": "ACTIVE"} for index in definition.get("GlobalSecondaryIndexes", [])]
        self.tables[definition["TableName"]] = definition | {"TableStatus": "ACTIVE", "GlobalSecondaryIndexes": indexes}

    def update_table(self, TableName: str, GlobalSecondaryIndexUpdates: Any, **_: Any) -> None:  # noqa: N803
        self._change("update_table")
        added = [{**update["Create"], "IndexStatus": "ACTIVE"} for update in GlobalSecondaryIndexUpdates]
        self.tables[TableName]["GlobalSecondaryIndexes"] += added

    def update_continuous_backups(self, TableName: str, **_: Any) -> None:  # noqa: N803
        self._change("update_continuous_backups")
        if self.busy:
            self.busy -= 1
            raise refused("ContinuousBackupsUnavailableException", Busy)
        self.recoverable.add(TableName)

    def _scan(self, TableName: str, **_: Any) -> Iterator[Any]:  # noqa: N803
        self.describe_table(TableName)
        yield {"Items": list(self.items.get(TableName, {}).values())}

    def put_item(self, TableName: str, Item: Any, ConditionExpression: str, **_: Any) -> None:  # noqa: N803
        assert ConditionExpression == "attribute_not_exists(leaseKey)"
        self._change("put_item")
        rows = self.items.setdefault(TableName, {})
        if Item["leaseKey"]["S"] in rows:
            raise refused("ConditionalCheckFailedException", ConditionFailed, Item=rows[Item["leaseKey"]["S"]])
        rows[Item["leaseKey"]["S"]] = Item

    def update_item(self, TableName: str, Key: Any, ExpressionAttributeValues: Any, **_: Any) -> None:  # noqa: N803
        self._change("update_item")
        row = self.items[TableName].get(Key["leaseKey"]["S"], {})
        if not row or "consumerStream" in row:
            raise refused("ConditionalCheckFailedException", ConditionFailed, **({"Item": row} if row else {}))
        row["consumerStream"] = ExpressionAttributeValues[":origin"]

    # S3

    def head_bucket(self, Bucket: str) -> Any:  # noqa: N803
        if Bucket not in self.buckets:
            raise refused("404")
        return {}

    def create_bucket(self, Bucket: str, **more: Any) -> None:  # noqa: N803
        self._change("create_bucket")
        self.buckets[Bucket] = more

    def put_public_access_block(self, Bucket: str, **more: Any) -> None:  # noqa: N803
        self._change("put_public_access_block")
        self.buckets[Bucket] |= more

    def put_bucket_encryption(self, Bucket: str, **more: Any) -> None:  # noqa: N803
        self._change("put_bucket_encryption")
        self.buckets[Bucket] |= more

    def put_bucket_versioning(self, Bucket: str, **more: Any) -> None:  # noqa: N803
        self._change("put_bucket_versioning")
        self.buckets[Bucket] |= more


def provisioned(account: Account, wanted: Wanted = WANTED) -> list[str]:
    """Applies the plan and returns its lines."""
    lines: list[str] = []
    provision.apply(provision.plan(account.clients(), wanted), lines.append)
    return lines


def keys(table: dict[str, Any]) -> dict[str, str]:
    return {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]}


def test_everything_is_created_in_an_empty_account() -> None:
    assert provisioned(Account()) == [
        "create stream events",
        "create table limits",
        "create table app",
        "create table app-WorkerMetricStats",
        "create table app-CoordinatorState",
        "create leases of stream events in app",
        "create bucket kept",
    ]


@pytest.mark.parametrize(
    ("quarantine", "archive", "buckets"),
    [
        ("s3://kept/some/where", None, ("kept",)),
        ("s3://kept", None, ("kept",)),
        ("dir:/x", None, ()),
        ("s3://kept/q", "s3://kept/a", ("kept",)),
        ("s3://kept/q", "s3://records", ("kept", "records")),
        ("dir:kept", "s3://records/a", ("records",)),
        ("dir:kept", "dir:records", ()),
    ],
)
def test_the_buckets_of_the_quarantine_and_the_archive(
    quarantine: str, archive: str | None, buckets: tuple[str, ...]
) -> None:
    settings = Settings(region="eu-north-1", stream_name="events", quarantine=quarantine, archive=archive)
    assert provision.wanted(settings, buckets=True).buckets == buckets
    assert provision.wanted(settings).buckets == ()


def test_a_stream_with_an_arn_is_never_created() -> None:
    arn = "arn:aws:kinesis:us-east-1:111122223333:stream/events"
    settings = load(Settings, region="eu-north-1", stream_arn=arn, quarantine="dir:/x")
    account, wanted = Account(), provision.wanted(settings, shards=2)
    with pytest.raises(SettingsError) as refused:
        provision.plan(account.clients(), wanted)
    line = f"stream {arn} does not exist: create it in its account, or correct CONSUMER_STREAM_ARN"
    assert refused.value.problems == [line]

    account.streams["events"] = [shard(0)]
    assert provisioned(account, wanted)[0] == "exists stream events"


def test_the_second_time_everything_exists_and_nothing_is_written() -> None:
    account = Account()
    provisioned(account)
    writes = account.writes
    assert all(line.startswith("exists ") for line in provisioned(account))
    assert account.writes == writes


def test_a_plan_changes_nothing() -> None:
    account = Account()
    provision.plan(account.clients(), WANTED)
    assert account.writes == 0


def test_the_tables_have_the_keys_that_the_service_and_kcl_use() -> None:
    account = Account()
    provisioned(account)
    assert {name: keys(table) for name, table in account.tables.items()} == {
        "limits": {"userId": "HASH", "userLimitId": "RANGE"},
        "app": {"leaseKey": "HASH"},
        "app-WorkerMetricStats": {"wid": "HASH"},
        "app-CoordinatorState": {"key": "HASH"},
    }
    (index,) = account.tables["app"]["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["Projection"]) == (INDEX, {"ProjectionType": "KEYS_ONLY"})
    assert keys(index) == {"leaseOwner": "HASH", "leaseKey": "RANGE"}
    assert {table["BillingMode"] for table in account.tables.values()} == {"PAY_PER_REQUEST"}
    assert account.recoverable == {"limits", "app"}


def test_a_lease_row_is_written_for_each_first_shard() -> None:
    account = Account(streams={"events": [shard(1), shard(2)]})
    provisioned(account)
    assert account.items["app"]["shard-2"] == {
        "leaseKey": {"S": "shard-2"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "checkpointSubSequenceNumber": {"N": "0"},
        "leaseCounter": {"N": "0"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "startingHashKey": {"S": "0"},
        "endingHashKey": {"S": "9"},
        "consumerStream": {"S": ORIGIN},
    }
    assert set(account.items["app"]) == {"shard-1", "shard-2"}


@pytest.mark.parametrize(
    ("shards", "first"),
    [
        ([shard(1), shard(2, 1), shard(3, 1)], {"shard-1"}),
        ([shard(2, 1), shard(3, 1)], {"shard-2", "shard-3"}),
        ([shard(1), shard(2), shard(3, 1, 2)], {"shard-1", "shard-2"}),
        ([shard(2), shard(3, 1, 2)], {"shard-2"}),
        ([shard(3, 1, 2)], {"shard-3"}),
    ],
    ids=["split", "parent trimmed", "merged", "one parent trimmed", "both parents trimmed"],
)
def test_children_get_no_row_while_a_parent_is_in_the_stream(shards: list[Any], first: set[str]) -> None:
    assert {found["ShardId"] for found in provision.roots(shards)} == first


def test_leases_of_a_running_application_are_not_changed() -> None:
    account = Account(streams={"events": [shard(1)]})
    provisioned(account)
    account.streams["events"].append(shard(2))
    assert "exists leases of stream events in app" in provisioned(account)
    assert set(account.items["app"]) == {"shard-1"}


def test_a_row_that_another_process_wrote_meanwhile_stays() -> None:
    account = Account(streams={"events": [shard(1), shard(2)]})
    steps = provision.plan(account.clients(), WANTED)
    theirs = {"leaseKey": {"S": "shard-1"}, "checkpoint": {"S": "49"}}
    account.items["app"] = {"shard-1": theirs}
    provision.apply(steps)
    assert account.items["app"]["shard-1"] == theirs
    assert "shard-2" in account.items["app"]


def test_a_table_that_another_process_is_creating_is_awaited() -> None:
    account = Account()
    provisioned(account)
    account.tables["limits"]["TableStatus"] = "CREATING"
    account.create_table = lambda **_: (_ for _ in ()).throw(refused("ResourceInUseException"))  # type: ignore[method-assign]
    assert "create table limits" in provisioned(account)


def test_a_lease_table_that_kcl_created_gets_its_index() -> None:
    account = Account()
    provisioned(account)
    account.tables["app"]["GlobalSecondaryIndexes"].clear()
    assert f"create index {INDEX} of app" in provisioned(account)
    assert account.tables["app"]["GlobalSecondaryIndexes"][0]["IndexName"] == INDEX


def test_a_table_with_other_keys_is_refused() -> None:
    account = Account()
    provisioned(
        account, Wanted("eu-north-1", "events", "app", replace(STATES, name="other"), lease_rows=False, shards=1)
    )
    account.tables["limits"] = account.tables["app"]
    with pytest.raises(SettingsError, match=r"limits has the keys leaseKey \(S\), not userId \(S\), userLimitId \(S\)"):
        provisioned(account)


def test_a_stream_that_is_managed_elsewhere_must_exist() -> None:
    theirs = Wanted("eu-north-1", "events", "app", STATES, lease_rows=True)
    with pytest.raises(SettingsError, match="stream events does not exist"):
        provision.plan(Account().clients(), theirs)
    assert "exists stream events" in provisioned(Account(streams={"events": [shard(1)]}), theirs)


def test_the_bucket_is_private_encrypted_and_keeps_versions() -> None:
    account = Account()
    provisioned(account)
    bucket = account.buckets["kept"]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["ServerSideEncryptionConfiguration"]["Rules"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["CreateBucketConfiguration"] == {"LocationConstraint": "eu-north-1"}


def test_operations_that_an_emulator_lacks_are_skipped() -> None:
    account = Account(unsupported=("update_continuous_backups", "put_bucket_encryption"))
    provisioned(account)
    assert account.recoverable == set()
    assert "VersioningConfiguration" in account.buckets["kept"]


def test_backups_of_a_new_table_are_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    account = Account(busy=3)
    provisioned(account)
    assert account.recoverable == {"limits", "app"}


def test_a_missing_permission_is_not_a_missing_operation() -> None:
    account = Account()
    account.create_table = lambda **_: (_ for _ in ()).throw(refused("AccessDeniedException"))  # type: ignore[method-assign]
    with pytest.raises(ClientError, match="AccessDenied"):
        provisioned(account)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, {"shards": None, "buckets": (), "lease_rows": True, "states": replace(STATES, name="user-limits")}),
        ({"start_at": "latest"}, {"lease_rows": False}),
        ({"enable_dynamo_db": False}, {"states": None}),
    ],
)
def test_the_settings_determine_the_resources(more: dict[str, Any], found: dict[str, Any]) -> None:
    given = {"region": "eu-north-1", "stream_name": "events", "quarantine": "s3://kept/some/where"}
    wanted = provision.wanted(load(Settings, **given | more))
    assert {name: getattr(wanted, name) for name in found} == found


# --- Leases of another stream --------------------------------------------------------------------------------------


def lease(number: int, checkpoint: str = "49", origin: str | None = None) -> dict[str, Any]:
    mark = {} if origin is None else {"consumerStream": {"S": origin}}
    return {"leaseKey": {"S": f"shard-{number}"}, "checkpoint": {"S": checkpoint}, **mark}


def kept(*rows: dict[str, Any], shards: int = 2, foreign: tuple[str, ...] = ()) -> Account:
    """An account with the tables, these leases, and a stream with this number of shards."""
    account = Account(streams={"events": [shard(number) for number in range(shards)]}, foreign=foreign)
    provisioned(account)
    account.items["app"] = {row["leaseKey"]["S"]: row for row in rows}
    return account


@pytest.mark.parametrize("rows", [True, False], ids=["trim-horizon", "latest"])
@pytest.mark.parametrize(
    ("leases", "why"),
    [
        ([lease(0, origin=OTHER)], f"are of stream {OTHER}, not {ORIGIN}"),
        ([lease(0, origin=ORIGIN), lease(1, origin=OTHER)], f"are of stream {OTHER}, not {ORIGIN}"),
        ([lease(0, "TRIM_HORIZON", OTHER)], f"are of stream {OTHER}"),
        ([lease(0), lease(1, "50")], "it refuses the checkpoint of shard-1"),
        ([lease(0), lease(2)], "it has no shard-2"),
        ([lease(0), lease(2, "SHARD_END")], "it has no shard-2"),
    ],
    ids=["marked", "one of them", "never read", "not marked, read", "more shards", "more shards, ended"],
)
def test_leases_of_another_stream_are_refused_and_nothing_is_written(
    leases: list[dict[str, Any]], why: str, rows: bool
) -> None:
    account = kept(*leases, foreign=("50",))
    writes = account.writes
    with pytest.raises(SettingsError) as wrong:
        provisioned(account, replace(WANTED, lease_rows=rows))
    (line,) = wrong.value.problems
    assert line.startswith("leases of application app are ")
    assert why in line
    assert line.endswith(
        ": use another CONSUMER_APPLICATION_NAME, or start over with `consumer provision --forget-leases`"
    )
    assert account.writes == writes


@pytest.mark.parametrize(
    "leases",
    [
        [lease(2), lease(3)],
        [lease(1), lease(2)],
        [lease(0, "SHARD_END"), lease(2, "SHARD_END"), lease(3, "TRIM_HORIZON")],
        [lease(2, "LATEST"), lease(3, "AT_TIMESTAMP")],
    ],
    ids=["read", "one has left the stream", "at their end", "never read"],
)
def test_leases_of_an_earlier_version_are_marked_if_they_match(leases: list[dict[str, Any]]) -> None:
    account = kept(*leases)
    account.streams["events"] = [shard(2), shard(3)]
    assert "create marks of stream events on leases of app" in provisioned(account)
    assert {row["consumerStream"]["S"] for row in account.items["app"].values()} == {ORIGIN}
    assert all(line.startswith("exists ") for line in provisioned(account))


def test_leases_of_a_deleted_stream_are_refused_before_it_is_created_again() -> None:
    account = kept(lease(0, origin=ORIGIN))
    account.streams.clear()
    with pytest.raises(SettingsError, match="application app has leases, but stream events does not exist"):
        provisioned(account)
    assert account.streams == {}


def test_if_two_streams_are_marked_concurrently_one_is_refused_at_the_first_lease() -> None:
    account = kept(lease(0), lease(1))
    steps = provision.plan(account.clients(), WANTED)
    account.items["app"]["shard-0"] = lease(0, origin=OTHER)
    with pytest.raises(SettingsError, match=f"are of stream {OTHER}"):
        provision.apply(steps)
    assert "consumerStream" not in account.items["app"]["shard-1"]


def test_if_first_leases_of_two_streams_are_created_concurrently_one_is_refused() -> None:
    account = Account(streams={"events": [shard(0), shard(1)]})
    steps = provision.plan(account.clients(), WANTED)
    account.items["app"] = {"shard-0": lease(0, origin=OTHER)}
    with pytest.raises(SettingsError, match=f"are of stream {OTHER}"):
        provision.apply(steps)
    assert list(account.items["app"]) == ["shard-0"]


def test_a_lease_that_disappears_while_it_is_marked_is_ignored() -> None:
    account = kept(lease(0), lease(1))
    steps = provision.plan(account.clients(), WANTED)
    del account.items["app"]["shard-0"]
    provision.apply(steps)
    assert account.items["app"]["shard-1"]["consumerStream"]["S"] == ORIGIN


# --- Keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "wrong", "found"),
    [
        ("limits", [("userId", "N"), ("userLimitId", "S")], r"userId \(N\), userLimitId \(S\)"),
        ("limits", [("userId", "S"), ("limitId", "S")], r"userId \(S\), limitId \(S\)"),
        ("limits", [("userId", "S")], r"userId \(S\)"),
        ("app", [("leaseKey", "B")], r"leaseKey \(B\)"),
        ("app-WorkerMetricStats", [("wid", "S"), ("at", "N")], r"wid \(S\), at \(N\)"),
        ("app-CoordinatorState", [("leaseKey", "S")], r"leaseKey \(S\)"),
    ],
)
def test_a_table_whose_keys_have_other_names_or_types_is_refused(
    table: str, wrong: list[tuple[str, str]], found: str
) -> None:
    account = kept()
    account.tables[table] |= {
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind} for (name, _), kind in zip(wrong, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in wrong],
    }
    with pytest.raises(
        SettingsError,
        match=rf"^table {table} has the keys {found}, not .*: it does not belong to this service; use another",
    ):
        provisioned(account)
