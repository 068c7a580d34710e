"""Requests that test the permissions of a role and change nothing: each write has a condition that never holds.

The key contains a NUL, which no name of a shard, worker or user contains. Actions that cannot be tried without an
effect are not tried (docs/how-to/operate.md).
"""

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from consumer.access.advice import code_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

    from consumer.leases.tables import Table

ABSENT = "\0consumer doctor"
UNMET = "ConditionalCheckFailedException"


def read_stream(kinesis: "KinesisClient", name: str) -> None:
    """Reads at the tip of one shard."""
    shard = kinesis.list_shards(StreamName=name, MaxResults=1)["Shards"][0]["ShardId"]
    place = kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType="LATEST")
    kinesis.get_records(ShardIterator=place["ShardIterator"], Limit=1)


def refusals(dynamodb: "DynamoDBClient", table: "Table") -> Iterator[ClientError]:
    """The errors of those KCL operations on one of its tables that are refused."""
    for attempt in _of_kcl(dynamodb, table):
        try:
            attempt()
        except ClientError as error:
            if code_of(error) != UNMET:
                yield error


def _of_kcl(dynamodb: "DynamoDBClient", table: "Table") -> Iterator[Callable[[], object]]:
    name, (hash_key,) = table.name, table.keys
    absent: Any = {hash_key: {"S": ABSENT}}
    if_there: Any = {"ConditionExpression": "attribute_exists(#key)", "ExpressionAttributeNames": {"#key": hash_key}}
    yield lambda: dynamodb.get_item(TableName=name, Key=absent)
    yield lambda: dynamodb.scan(TableName=name, Limit=1)
    yield lambda: dynamodb.put_item(TableName=name, Item=absent, **if_there)
    yield lambda: dynamodb.update_item(TableName=name, Key=absent, UpdateExpression="REMOVE nothing", **if_there)
    yield lambda: dynamodb.delete_item(TableName=name, Key=absent, **if_there)
    if table.index:
        yield lambda: dynamodb.query(
            TableName=name,
            IndexName=str(table.index),
            KeyConditionExpression="#key = :absent",
            ExpressionAttributeNames={"#key": table.index_keys[0]},
            ExpressionAttributeValues={":absent": {"S": ABSENT}},
            Limit=1,
        )


def read_states(dynamodb: "DynamoDBClient", table: "Table") -> None:
    keys: Any = [{name: {"S": ABSENT} for name in table.keys}]
    dynamodb.batch_get_item(RequestItems={table.name: {"Keys": keys}})


def update_states(dynamodb: "DynamoDBClient", table: "Table") -> None:
    """Runs a statement of the form that the service uses. The error names its permission, even inside a batch."""
    where = " AND ".join(f'"{name}" = ?' for name in (*table.keys, "version"))
    statement = f'UPDATE "{table.name}" SET "version" = ? WHERE {where}'  # noqa: S608 - a checked name (settings.py)
    request: Any = {"Statement": statement, "Parameters": [{"S": ABSENT}] * (len(table.keys) + 2)}
    try:
        (response,) = dynamodb.batch_execute_statement(Statements=[request])["Responses"]
    except ClientError as error:
        raise ClientError(error.response, "PartiQLUpdate") from error
    refused: Any = response.get("Error")
    if refused and refused.get("Code") != "ConditionalCheckFailed":
        raise ClientError({"Error": refused}, "PartiQLUpdate")


def write_object(s3: "S3Client", bucket: str, key: str) -> None:
    """S3 checks the permission first, then rejects the body, because its checksum is wrong, and stores nothing."""
    checksum = base64.b64encode(hashlib.md5(b"of another body", usedforsecurity=False).digest()).decode()
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=b"consumer doctor", ContentMD5=checksum)
    except ClientError as error:
        if code_of(error) != "BadDigest":
            raise
        return
    # an emulator that does not verify the checksum has stored the object
    with suppress(ClientError):
        s3.delete_object(Bucket=bucket, Key=key)


def write_directory(root: Path) -> str:
    """Describes the directory. Raises OSError if it is not writable, or is accessible to other users."""
    if not root.exists():
        above = next(parent for parent in root.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(f"{root} does not exist and cannot be created in {above}")
        return f"{root}: will be created"
    with TemporaryFile(dir=root):
        mode = root.stat().st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(f"{root} is accessible to others (mode {mode:o}): records contain personal data")
    return f"{root}: writable"
