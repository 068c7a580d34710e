"""The stream of each lease, stored on the lease and compared before anything is read.

Leases name shards, and nearly every stream has shards with the same names. With the leases of another stream, the KCL
would request records after sequence numbers that Kinesis rejects, forever. Each lease therefore has an additional
attribute with the ARN and the creation time of its stream; the time, because a stream can be deleted and created again
under the same name.

The KCL creates leases without this mark, if they do not exist, and updates single attributes, so the mark is kept
(DynamoDBLeaseRefresher of KCL 3.1.3 and 3.5.1). An unmarked lease was created by the KCL. It is marked if it fits the
stream: its shard is listed, or older than a listed one, and Kinesis accepts its checkpoint.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from consumer.engine.errors import SettingsError
from consumer.leases import kcl_tables, tables
from consumer.leases.kcl_tables import ORIGIN, Lease
from consumer.leases.shards import Shard
from consumer.settings import variable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import StreamDescriptionSummaryTypeDef

FORGET = "consumer provision --forget-leases"
WAY_OUT = f"use another {variable('application_name')}, or start over with `{FORGET}`"


def origin_of(summary: "StreamDescriptionSummaryTypeDef") -> str:
    """ARN and creation time of a stream, which together identify it."""
    made = summary["StreamCreationTimestamp"].astimezone(UTC)
    return f"{summary['StreamARN']} made at {made:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class Application:
    """The leases of an application, and the stream to which they should belong.

    The methods raise SettingsError, which says what is wrong and what to do, and boto3's errors when AWS fails.
    """

    name: str
    stream: str
    kinesis: "KinesisClient"
    dynamodb: "DynamoDBClient"

    def origin(self) -> str | None:
        """The identity of the current stream, None when it does not exist."""
        try:
            summary = self.kinesis.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]
        except self.kinesis.exceptions.ResourceNotFoundException:
            return None
        return origin_of(summary)

    def leases(self) -> Sequence[Lease]:
        """All leases; none when the table does not exist."""
        return kcl_tables.read(tables.rows(self.dynamodb, self.name) or (), None, None).leases

    def shards(self) -> list[Shard]:
        """The shards of the stream that have not expired."""
        pages = self.kinesis.get_paginator("list_shards").paginate(StreamName=self.stream)
        return [Shard.listed(shard) for page in pages for shard in page["Shards"]]

    def retention_seconds(self) -> int:
        """How long the stream keeps a record."""
        summary = self.kinesis.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]
        return summary["RetentionPeriodHours"] * 3600

    def check(self, found: Sequence[Lease], origin: str) -> list[Lease]:
        """The leases to mark. Raises SettingsError when one belongs to another stream."""
        if foreign := next((lease.origin for lease in found if lease.origin not in (None, origin)), None):
            raise self._foreign(foreign, origin)
        unmarked = [lease for lease in found if lease.origin is None]
        self._check_fit(unmarked)
        return unmarked

    def mark(self, unmarked: Iterable[Lease], origin: str) -> None:
        """Marks leases, ordered by name: of two workers with different streams, only one marks the first lease."""
        for lease in sorted(unmarked, key=lambda lease: lease.shard):
            self._mark(lease.shard, origin)

    def settle(self, found: Sequence[Lease] | None = None) -> str | None:
        """Checks the leases and marks the unmarked ones. Reads them unless they are given. Returns their stream.

        Returns None when there are no leases or no stream.
        """
        found = self.leases() if found is None else found
        origin = self.origin() if found else None
        if origin:
            self.mark(self.check(found, origin), origin)
        return origin

    def refuse_other(self, error: ClientError, origin: str) -> None:
        """After a rejected conditional write: raises SettingsError when the stored lease belongs to another stream."""
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
            # Another worker has marked the lease, or it was deleted.
            self.refuse_other(error, origin)

    def _foreign(self, theirs: str, ours: str) -> SettingsError:
        return SettingsError([f"leases of application {self.name} are of stream {theirs}, not {ours}: {WAY_OUT}"])

    def _check_fit(self, unmarked: Sequence[Lease]) -> None:
        if not unmarked:
            return
        listed = {shard.name for shard in self.shards()}
        for lease in unmarked:
            if why := self._misfit(lease, listed):
                line = f"leases of application {self.name} are not of stream {self.stream}: {why}: {WAY_OUT}"
                raise SettingsError([line])

    def _misfit(self, lease: Lease, listed: set[str]) -> str | None:
        """Why the lease does not fit. A stream's newest shard is open, so it is listed; expired shards are older."""
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
