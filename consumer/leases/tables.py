"""The DynamoDB tables of the service: the keys that they need, and how to describe and scan them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.leases import kcl_tables as layouts
from consumer.leases.kcl_tables import Item, Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TableDescriptionTypeDef


@dataclass(frozen=True, slots=True)
class Table:
    """An on-demand table. `keys` and `index_keys` are string attributes: hash key, then range key if any."""

    name: str
    keys: tuple[str, ...]
    index: str | None = None
    index_keys: tuple[str, ...] = ()
    recoverable: bool = False


def states_table(name: str, keys: tuple[str, str]) -> Table:
    """The table of a projection's states."""
    return Table(name, keys, recoverable=True)


def kcl_tables(application: str) -> tuple[Table, ...]:
    """The three tables of KCL 3.1: leases, worker metrics, coordinator state."""
    return (
        Table(application, ("leaseKey",), "LeaseOwnerToLeaseKeyIndex", ("leaseOwner", "leaseKey"), recoverable=True),
        Table(f"{application}-WorkerMetricStats", ("wid",)),
        Table(f"{application}-CoordinatorState", ("key",)),
    )


def described(dynamodb: "DynamoDBClient", name: str) -> "TableDescriptionTypeDef | None":
    """The description of a table, None when it does not exist. Raises ClientError, BotoCoreError."""
    try:
        return dynamodb.describe_table(TableName=name)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None


def wrong_keys(found: "TableDescriptionTypeDef", table: Table) -> str | None:
    """What is wrong with the keys of a table and what to do; None when they are correct."""
    types = {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}
    # HASH sorts before RANGE.
    names = [key["AttributeName"] for key in sorted(found["KeySchema"], key=lambda key: key["KeyType"])]
    keys, wanted = _spelt((name, types[name]) for name in names), _spelt((name, "S") for name in table.keys)
    if keys == wanted:
        return None
    return f"table {table.name} has the keys {keys}, not {wanted}: it does not belong to this service; use another name"


def index_status(found: "TableDescriptionTypeDef | None", index: str) -> str | None:
    indexes = found.get("GlobalSecondaryIndexes", []) if found else []
    return next((each["IndexStatus"] for each in indexes if each["IndexName"] == index), None)


def rows(dynamodb: "DynamoDBClient", name: str) -> list[Item] | None:
    """All rows of a table, None when it does not exist. Raises ClientError, BotoCoreError."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
    try:
        return [item for page in pages for item in page["Items"]]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None


def read(dynamodb: "DynamoDBClient", application: str) -> Tables | None:
    """Leases, reports and lock of an application, None without a lease table. Raises ClientError, BotoCoreError."""
    leases, metrics, coordinator = (rows(dynamodb, table.name) for table in kcl_tables(application))
    return None if leases is None else layouts.read(leases, metrics, coordinator)


def _spelt(keys: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in keys)
