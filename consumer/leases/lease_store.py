"""The KCL's tables in DynamoDB, as taking.py reads and writes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumer.leases import tables
from consumer.leases.kcl_tables import LEADER, Item, Lease, Lock, Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_ONE, _ZERO = {"N": "1"}, {"N": "0"}
_SETTLED = "attribute_not_exists(checkpointOwner)"
"""While a lease is handed over gracefully, its two owners settle it between them."""
_REWIND = (
    "SET checkpoint = :to, checkpointSubSequenceNumber = :zero, ownerSwitchesSinceCheckpoint = :zero"
    " REMOVE leaseOwner, checkpointOwner, pendingCheckpoint, pendingCheckpointSubSequenceNumber, pendingCheckpointState"
    " ADD leaseCounter :one"
)


@dataclass(slots=True)
class DynamoLeases:
    """Implements taking.LeaseStore, for the tables of KCL 3.1 and for the one table of KCL 3.5.

    `connect` returns the client; it may raise BotoCoreError.
    """

    connect: Callable[[], "DynamoDBClient"]
    application: str

    def read(self) -> Tables | None:
        return tables.read(self.connect(), self.application)

    def take(self, lease: Lease, worker: str) -> bool:
        # The attributes and the condition are those of DynamoDBLeaseRefresher.takeLease in KCL 3.1.3.
        values = {":me": {"S": worker}, ":one": _ONE, ":seen": {"N": str(lease.counter)}}
        update, owner = "SET leaseOwner = :me ADD leaseCounter :one", "attribute_not_exists(leaseOwner)"
        if lease.owner is not None:
            values[":owner"] = {"S": lease.owner}
            update, owner = f"{update}, ownerSwitchesSinceCheckpoint :one", "leaseOwner = :owner"
        return self._update(lease, update, f"leaseCounter = :seen AND {owner} AND {_SETTLED}", values)

    def give_back(self, lease: Lease) -> bool:
        # The attributes are those of DynamoDBLeaseRefresher.evictLease.
        values = {":owner": {"S": str(lease.owner)}, ":one": _ONE}
        condition = f"leaseOwner = :owner AND {_SETTLED}"
        return self._update(lease, "REMOVE leaseOwner ADD leaseCounter :one", condition, values)

    def rewind(self, lease: Lease, checkpoint: str) -> bool:
        """Sets the checkpoint and removes the owner, if the lease is exactly as it was read.

        The counter increases: a worker that was only frozen can then neither renew the lease nor checkpoint.
        """
        condition, owners = _owned_as(lease)
        values = {
            ":to": {"S": checkpoint},
            ":one": _ONE,
            ":zero": _ZERO,
            ":seen": {"N": str(lease.counter)},
            ":from": {"S": lease.checkpoint},
            ":sub": {"N": str(lease.sub_sequence)},
        }
        seen = "leaseCounter = :seen AND checkpoint = :from AND checkpointSubSequenceNumber = :sub"
        return self._update(lease, _REWIND, f"{seen} AND {condition}", values | owners)

    def create(self, row: Item) -> bool:
        """Adds a lease if there is none for its shard."""
        dynamodb = self.connect()
        try:
            dynamodb.put_item(
                TableName=self.application, Item=row, ConditionExpression="attribute_not_exists(leaseKey)"
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def remove_lock(self, lock: Lock) -> bool:
        # During a migration the lock is still in the old table.
        same, seen = "recordVersionNumber = :seen", {":seen": {"S": lock.version}}
        old, new = f"{self.application}-CoordinatorState", self.application
        return self._delete(old, "key", LEADER, same, seen) or self._delete(new, "leaseKey", LEADER, same, seen)

    def remove_report(self, worker: str) -> None:
        self._delete(
            f"{self.application}-WorkerMetricStats", "wid", worker, "wid = :worker", {":worker": {"S": worker}}
        )
        # In the one table, a worker may have the id of a shard: the condition tells its report from a lease.
        report = {":report": {"S": "WORKER_METRIC_STATS"}}
        self._delete(self.application, "leaseKey", worker, "entityType = :report", report)

    def _update(self, lease: Lease, update: str, condition: str, values: Mapping[str, Any]) -> bool:
        dynamodb = self.connect()
        try:
            dynamodb.update_item(
                TableName=self.application,
                Key={"leaseKey": {"S": lease.shard}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _delete(self, table: str, key: str, value: str, condition: str, values: Mapping[str, Any]) -> bool:
        dynamodb = self.connect()
        refused = dynamodb.exceptions.ConditionalCheckFailedException
        missing = dynamodb.exceptions.ResourceNotFoundException
        try:
            dynamodb.delete_item(
                TableName=table,
                Key={key: {"S": value}},
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        except (refused, missing):
            return False
        return True


def _owned_as(lease: Lease) -> tuple[str, dict[str, Any]]:
    """The condition that the lease has the owner that it had, and no successor that it did not have."""
    if lease.owner is None:
        return f"attribute_not_exists(leaseOwner) AND {_SETTLED}", {}
    if lease.successor is None:
        return f"leaseOwner = :owner AND {_SETTLED}", {":owner": {"S": lease.owner}}
    owners = {":owner": {"S": lease.owner}, ":successor": {"S": lease.successor}}
    return "leaseOwner = :successor AND checkpointOwner = :owner", owners
