"""Creates the AWS resources that the service needs. Existing resources are never changed and never deleted.

KCL can create its own tables, but this takes two minutes and needs the permission to do so. If the tables, the index
and the first lease rows exist, the first record is processed within seconds, and the task needs no CreateTable.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from consumer import projections
from consumer.engine.errors import SettingsError
from consumer.leases.kcl_tables import ORIGIN, TRIM_HORIZON
from consumer.leases.origin import FORGET, Application
from consumer.leases.shards import Shard
from consumer.leases.tables import Table, described, index_status, kcl_tables, states_table, wrong_keys
from consumer.settings import Settings, variable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import ShardTypeDef
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

Kind = Literal["stream", "table", "index", "marks", "leases", "bucket"]

# Error codes of emulators for operations that they do not support. AWS never returns them here.
_UNSUPPORTED = frozenset(
    {"UnknownOperationException", "NotImplemented", "NotImplementedException", "InvalidAction", "501", "404", "405"}
)


@dataclass(frozen=True, slots=True)
class Clients:
    """boto3 clients. That of Kinesis may be of another account and region."""

    kinesis: "KinesisClient"
    dynamodb: "DynamoDBClient"
    s3: "S3Client"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The resources that must exist.

    shards        None if the stream is managed elsewhere
    stream_arn    of a stream that may be in another account or region, and is therefore never created
    buckets       of the quarantine and the archive, unless they are managed elsewhere
    states        the table of the states, None if they are kept in memory
    lease_rows    create the first lease row of each shard, so that reading starts at TRIM_HORIZON
    """

    region: str
    stream: str
    application: str
    states: Table | None
    lease_rows: bool
    shards: int | None = None
    buckets: Sequence[str] = ()
    stream_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One resource that must exist. `str()` gives its line in the plan."""

    what: Kind
    name: str
    exists: bool
    create: Callable[[], None] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{'exists' if self.exists else 'create'} {self.what} {self.name}"


def wanted(settings: Settings, *, shards: int | None = None, buckets: bool = False) -> Wanted:
    """The resources that the settings require. `buckets`: with those of the quarantine and the archive in S3."""
    keys = projections.load(settings.projection).key_names
    places = [urlsplit(place) for place in (settings.quarantine, settings.archive or "") if place.startswith("s3:")]
    return Wanted(
        region=settings.region,
        stream=settings.stream_name,
        application=settings.application_name,
        states=states_table(settings.table_name, keys) if settings.enable_dynamo_db else None,
        lease_rows=settings.start_at == "trim-horizon",
        shards=shards,
        buckets=tuple(dict.fromkeys(place.netloc for place in places)) if buckets else (),
        stream_arn=settings.stream_arn,
    )


def tables(wanted: Wanted) -> tuple[Table, ...]:
    """The table of the states and those of KCL."""
    states = (wanted.states,) if wanted.states else ()
    return (*states, *kcl_tables(wanted.application))


def plan(clients: Clients, wanted: Wanted) -> list[Step]:
    """The steps in the order of creation: what exists and what to create. Changes nothing.

    Raises SettingsError if a table has other keys, if there are leases of another stream, or if the stream does not
    exist and may not be created.
    """
    application = Application(wanted.application, wanted.stream, clients.kinesis, clients.dynamodb)
    steps = [_stream_step(clients.kinesis, wanted)]
    steps += [step for table in tables(wanted) for step in _table_steps(clients.dynamodb, table)]
    steps += _lease_steps(application, rows=wanted.lease_rows)
    steps += [_bucket_step(clients.s3, bucket, wanted.region) for bucket in wanted.buckets]
    return steps


def apply(steps: Iterable[Step], report: Callable[[str], object] = lambda _: None) -> None:
    """Creates each missing resource and waits until it is usable. Safe to run again, and to run concurrently."""
    for step in steps:
        report(str(step))
        if not step.exists:
            step.create()


def _unless(call: Callable[[], T], *codes: str) -> T | None:
    """The response, or None if AWS returned one of these error codes."""
    try:
        return call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in codes:
            return None
        raise


def _wait(waiter: Any, **names: str) -> None:
    waiter.wait(**names, WaiterConfig={"Delay": 1, "MaxAttempts": 300})


# --- The stream ----------------------------------------------------------------------------------------------------


def _stream_step(kinesis: "KinesisClient", wanted: Wanted) -> Step:
    name, shards = wanted.stream, wanted.shards
    exists = _stream_exists(kinesis, name)
    if not exists and wanted.stream_arn:
        arn = wanted.stream_arn
        raise SettingsError(
            [f"stream {arn} does not exist: create it in its account, or correct {variable('stream_arn')}"]
        )
    if not exists and shards is None:
        raise SettingsError([f"stream {name} does not exist: create it, or use --stream SHARDS"])
    return Step("stream", name, exists, lambda: _create_stream(kinesis, name, shards or 1))


def _stream_exists(kinesis: "KinesisClient", name: str) -> bool:
    found = _unless(lambda: kinesis.describe_stream_summary(StreamName=name), "ResourceNotFoundException")
    return found is not None and found["StreamDescriptionSummary"]["StreamStatus"] != "CREATING"


def _create_stream(kinesis: "KinesisClient", name: str, shards: int) -> None:
    # another process may have created it since the plan: waiting is enough then
    _unless(lambda: kinesis.create_stream(StreamName=name, ShardCount=shards), "ResourceInUseException")
    _wait(kinesis.get_waiter("stream_exists"), StreamName=name)


# --- Tables --------------------------------------------------------------------------------------------------------


def _table_steps(dynamodb: "DynamoDBClient", table: Table) -> Iterator[Step]:
    found = described(dynamodb, table.name)
    if wrong := found and wrong_keys(found, table):
        raise SettingsError([wrong])
    exists = found is not None and found["TableStatus"] != "CREATING"
    yield Step("table", table.name, exists, lambda: _create_table(dynamodb, table))
    if found and table.index and not index_status(found, table.index):
        # KCL creates its lease table without the index, and adds the index later.
        yield Step("index", f"{table.index} of {table.name}", exists=False, create=lambda: _add_index(dynamodb, table))


def _create_table(dynamodb: "DynamoDBClient", table: Table) -> None:
    _unless(lambda: dynamodb.create_table(**_definition(table)), "ResourceInUseException")
    _wait(dynamodb.get_waiter("table_exists"), TableName=table.name)
    if table.recoverable:
        _create_recoverable(dynamodb, table.name)


def _add_index(dynamodb: "DynamoDBClient", table: Table) -> None:
    create: Any = {"Create": _index(table)}
    dynamodb.update_table(
        TableName=table.name, AttributeDefinitions=_attributes(table), GlobalSecondaryIndexUpdates=[create]
    )
    while index_status(described(dynamodb, table.name), str(table.index)) != "ACTIVE":
        time.sleep(1)


def _definition(table: Table) -> Any:
    return {
        "TableName": table.name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": _attributes(table),
        "KeySchema": _schema(table.keys),
        **({"GlobalSecondaryIndexes": [_index(table)]} if table.index else {}),
    }


def _index(table: Table) -> dict[str, Any]:
    return {
        "IndexName": table.index,
        "KeySchema": _schema(table.index_keys),
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


def _attributes(table: Table) -> Any:
    names = dict.fromkeys(table.keys + table.index_keys)
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def _schema(keys: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)]


def _create_recoverable(dynamodb: "DynamoDBClient", name: str, tries: int = 30) -> None:
    on: Any = {"PointInTimeRecoveryEnabled": True}
    update = dynamodb.update_continuous_backups
    try:
        _unless(lambda: update(TableName=name, PointInTimeRecoverySpecification=on), *_UNSUPPORTED)
    except dynamodb.exceptions.ContinuousBackupsUnavailableException:
        # Right after the creation of a table AWS does not support this yet.
        if tries == 1:
            raise
        time.sleep(1)
        _create_recoverable(dynamodb, name, tries - 1)


# --- The first leases ----------------------------------------------------------------------------------------------


def roots(shards: Iterable["ShardTypeDef"]) -> list["ShardTypeDef"]:
    """The shards that KCL starts with at TRIM_HORIZON: those without a parent in the stream."""
    present = {shard["ShardId"]: shard for shard in shards}
    parents = ("ParentShardId", "AdjacentParentShardId")
    return [shard for shard in present.values() if not any(shard.get(parent) in present for parent in parents)]


def lease_row(shard: "ShardTypeDef", origin: str, checkpoint: str = TRIM_HORIZON) -> dict[str, Any]:
    """The row that KCL 3.1 writes for a shard it has never read, and the origin of the stream."""
    parents = Shard.listed(shard).parents
    return {
        "leaseKey": {"S": shard["ShardId"]},
        "checkpoint": {"S": checkpoint},
        "checkpointSubSequenceNumber": {"N": "0"},
        "leaseCounter": {"N": "0"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "startingHashKey": {"S": shard["HashKeyRange"]["StartingHashKey"]},
        "endingHashKey": {"S": shard["HashKeyRange"]["EndingHashKey"]},
        ORIGIN: {"S": origin},
        **({"parentShardId": {"SS": list(parents)}} if parents else {}),
    }


def _lease_steps(application: Application, *, rows: bool) -> Iterator[Step]:
    found = application.leases()
    origin = application.origin()
    if found and origin is None:
        gone = f"application {application.name} has leases, but stream {application.stream} does not exist"
        raise SettingsError([f"{gone}: check its name, or start over with `{FORGET}`"])
    unmarked = application.check(found, origin) if origin else []
    if unmarked:
        name = f"of stream {application.stream} on leases of {application.name}"
        yield Step("marks", name, exists=False, create=lambda: application.mark(unmarked, str(origin)))
    if rows:
        # Only if there are no leases: KCL alone adds rows to an application that has started.
        name = f"of stream {application.stream} in {application.name}"
        yield Step("leases", name, bool(found), lambda: _create_leases(application))


def _create_leases(application: Application) -> None:
    pages = application.kinesis.get_paginator("list_shards").paginate(StreamName=application.stream)
    origin = application.origin() or ""
    shards = roots(shard for page in pages for shard in page["Shards"])
    for shard in sorted(shards, key=lambda shard: shard["ShardId"]):
        _put_row(application, lease_row(shard, origin), origin)


def _put_row(application: Application, row: Any, origin: str) -> None:
    try:
        application.dynamodb.put_item(
            TableName=application.name,
            Item=row,
            ConditionExpression="attribute_not_exists(leaseKey)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except application.dynamodb.exceptions.ConditionalCheckFailedException as error:
        application.refuse_other(error, origin)


# --- The buckets ---------------------------------------------------------------------------------------------------


def _bucket_step(s3: "S3Client", name: str, region: str) -> Step:
    return Step("bucket", name, _bucket_exists(s3, name), lambda: _create_bucket(s3, name, region))


def _bucket_exists(s3: "S3Client", name: str) -> bool:
    return _unless(lambda: s3.head_bucket(Bucket=name), "404", "NoSuchBucket") is not None


def _create_bucket(s3: "S3Client", name: str, region: str) -> None:
    place: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    _unless(lambda: s3.create_bucket(Bucket=name, **place), "BucketAlreadyOwnedByYou")
    _wait(s3.get_waiter("bucket_exists"), Bucket=name)
    for harden in (_block_public_access, _encrypt, _keep_versions):
        _unless(partial(harden, s3, name), *_UNSUPPORTED)


def _block_public_access(s3: "S3Client", name: str) -> None:
    kinds = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    everything: Any = dict.fromkeys(kinds, True)
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=everything)


def _encrypt(s3: "S3Client", name: str) -> None:
    rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})


def _keep_versions(s3: "S3Client", name: str) -> None:
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
