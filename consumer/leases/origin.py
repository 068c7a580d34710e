"""Which stream the leases are of, kept on each lease and compared before anything is read.

Leases name shards, and nearly every stream has a shard of that name: with another stream's leases KCL would ask for
records after sequence numbers that Kinesis refuses, for ever. So each lease carries, as an attribute of ours, the ARN
of its stream and when that was made, as a stream may be deleted and made again under its name.

KCL creates leases without it, on the condition that they are not there, and changes them attribute by attribute:
what it does not know stays (DynamoDBLeaseRefresher of KCL 3.1.3 and 3.5.1). A lease without the mark is one that KCL
made. It is marked when it fits the stream: its shard is listed or older than one that is, and Kinesis takes its
checkpoint.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from consumer.engine.errors import SettingsError
from consumer.leases import kcl_tables, tables
from consumer.leases.kcl_tables import ORIGIN, Lease
from consumer.settings import variable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import StreamDescriptionSummaryTypeDef

FORGET = "consumer provision --forget-leases"
WAY_OUT = f"use another {variable('application_name')}, or start over with `{FORGET}`"


def origin_of(summary: "StreamDescriptionSummaryTypeDef") -> str:
    """ARN and time of creation of a stream: what tells it from every other."""
    made = summary["StreamCreationTimestamp"].astimezone(UTC)
    return f"{summary['StreamARN']} made at {made:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class Application:
    """Leases and the stream that they should be of.

    Its methods raise SettingsError, what is wrong and what to do, and boto3's errors when that cannot be found out.
    """

    name: str
    stream: str
    kinesis: "KinesisClient"
    dynamodb: "DynamoDBClient"

    def origin(self) -> str | None:
        """The stream as it is now, None when there is none."""
        try:
            summary = self.kinesis.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]
        except self.kinesis.exceptions.ResourceNotFoundException:
            return None
        return origin_of(summary)

    def leases(self) -> Sequence[Lease]:
        """None are there when there is no table."""
        return kcl_tables.read(tables.rows(self.dynamodb, self.name) or (), None, None).leases

    def check(self, found: Sequence[Lease], origin: str) -> list[Lease]:
        """The leases to be marked. Raises SettingsError when any is of another stream."""
        if foreign := next((lease.origin for lease in found if lease.origin not in (None, origin)), None):
            raise self._foreign(foreign, origin)
        unmarked = [lease for lease in found if lease.origin is None]
        self._check_fit(unmarked)
        return unmarked

    def mark(self, unmarked: Iterable[Lease], origin: str) -> None:
        """One after the other by name, so that of two workers with two streams the first lease lets one go on."""
        for lease in sorted(unmarked, key=lambda lease: lease.shard):
            self._mark(lease.shard, origin)

    def settle(self, found: Sequence[Lease] | None = None) -> str | None:
        """Checks the leases, read now unless given, and marks those that are not marked. The stream they are of.

        None without leases, or a stream: there is nothing to settle.
        """
        found = self.leases() if found is None else found
        origin = self.origin() if found else None
        if origin:
            self.mark(self.check(found, origin), origin)
        return origin

    def refuse_other(self, error: ClientError, origin: str) -> None:
        """Of a write that was refused: raises SettingsError when the lease there is of another stream."""
        item: Any = error.response.get("Item", {})
        theirs = item.get(ORIGIN, {}).get("S")
        if theirs not in (None, origin):
            raise self._foreign(theirs, origin) from None

    def _mark(self, shard: str, origin: str) -> None:
        try:
            self.dynamodb.update_item(
                TableName=self.name,
                Key={"leaseKey": {"S": shard}},
                UpdateExpression=f"SET {ORIGIN} = :origin",
                ConditionExpression=f"attribute_exists(leaseKey) AND attribute_not_exists({ORIGIN})",
                ExpressionAttributeValues={":origin": {"S": origin}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException as error:
            # marked by another worker, or gone
            self.refuse_other(error, origin)

    def _foreign(self, theirs: str, ours: str) -> SettingsError:
        return SettingsError([f"leases of application {self.name} are of stream {theirs}, not {ours}: {WAY_OUT}"])

    def _check_fit(self, unmarked: Sequence[Lease]) -> None:
        if not unmarked:
            return
        pages = self.kinesis.get_paginator("list_shards").paginate(StreamName=self.stream)
        listed = {shard["ShardId"] for page in pages for shard in page["Shards"]}
        for lease in unmarked:
            if why := self._misfit(lease, listed):
                line = f"leases of application {self.name} are not of stream {self.stream}: {why}: {WAY_OUT}"
                raise SettingsError([line])

    def _misfit(self, lease: Lease, listed: set[str]) -> str | None:
        """The newest shard of a stream is open and therefore listed: whatever has left it is older."""
        if lease.shard not in listed:
            return f"it has no {lease.shard}" if lease.shard > max(listed, default="") else None
        return f"it refuses the checkpoint of {lease.shard}" if self._refused(lease) else None

    def _refused(self, lease: Lease) -> bool:
        if not lease.checkpoint.isdecimal():
            return False
        try:
            self.kinesis.get_shard_iterator(
                StreamName=self.stream,
                ShardId=lease.shard,
                ShardIteratorType="AFTER_SEQUENCE_NUMBER",
                StartingSequenceNumber=lease.checkpoint,
            )
        except self.kinesis.exceptions.InvalidArgumentException:
            return True
        return False
