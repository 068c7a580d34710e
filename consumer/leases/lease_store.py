"""The KCL's tables in DynamoDB, as taking.py reads and writes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumer.leases import tables
from consumer.leases.kcl_tables import LEADER, Lease, Lock, Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_ONE = {"N": "1"}


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
        return self._update(lease, update, f"leaseCounter = :seen AND {owner}", values)

    def give_back(self, lease: Lease) -> bool:
        # The attributes are those of DynamoDBLeaseRefresher.evictLease.
        values = {":owner": {"S": str(lease.owner)}, ":one": _ONE}
        return self._update(lease, "REMOVE leaseOwner ADD leaseCounter :one", "leaseOwner = :owner", values)

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
                # While a lease is handed over gracefully, its two owners settle it between them.
                ConditionExpression=f"{condition} AND attribute_not_exists(checkpointOwner)",
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
