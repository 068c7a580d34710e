"""`consumer provision --forget-leases`: deletes the leases, so that the application starts over on any stream."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from consumer.admin import status
from consumer.engine.errors import Unavailable
from consumer.leases import kcl_tables, tables
from consumer.leases.kcl_tables import Lease, Tables
from consumer.settings import Settings, variable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def forget(
    settings: Settings, dynamodb: "DynamoDBClient", confirm: Callable[[str], object], report: Callable[[str], object]
) -> None:
    """Deletes every lease after `confirm` returns. The limits stay: records that are read again change nothing.

    Raises Unavailable while a worker is running, because it would keep reading without leases.
    """
    name = settings.application_name
    found = _read(dynamodb, name)
    alive = status.workers(found, time.time(), silent_after=settings.failover_millis / 1000 + 1)
    if running := [worker.name for worker in alive if worker.alive]:
        raise Unavailable(f"application {name}: {running[0]} is running: stop every worker, wait a moment, try again")
    if found.leases:
        start = f"{variable('start_at')} ({settings.start_at})"
        confirm(f"Forget {len(found.leases)} leases of application {name}? The next worker reads from {start}.")
        for lease in found.leases:
            _delete(dynamodb, name, lease)
    report(f"forgot {len(found.leases)} leases of application {name}")


def _read(dynamodb: "DynamoDBClient", name: str) -> Tables:
    own, metrics, coordinator = (tables.rows(dynamodb, table.name) for table in tables.kcl_tables(name))
    return kcl_tables.read(own or (), metrics, coordinator)


def _delete(dynamodb: "DynamoDBClient", name: str, lease: Lease) -> None:
    # A worker that starts now renews the lease and changes its counter. The condition keeps that lease.
    try:
        dynamodb.delete_item(
            TableName=name,
            Key={"leaseKey": {"S": lease.shard}},
            ConditionExpression="attribute_not_exists(leaseKey) OR leaseCounter = :seen",
            ExpressionAttributeValues={":seen": {"N": str(lease.counter)}},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        raise Unavailable(f"application {name}: {lease.shard} was renewed: stop every worker and try again") from None
