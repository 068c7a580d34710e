"""The in-memory DynamoDB as a process of its own, and the tables in it."""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests.support.driven.processes import LOOPBACK, Server, free_port, running
from tests.support.emulators.aws import MADE_UP, ROOT, answers_tables, session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEYS = ("userId", "userLimitId")


@dataclass(frozen=True, slots=True)
class Store:
    """A running DynamoDB at `endpoint`: the one of this package, or another one."""

    endpoint: str

    def client(self) -> "DynamoDBClient":
        return session().client("dynamodb", endpoint_url=self.endpoint)

    def create(self, table: str) -> None:
        """Creates an empty table of limits."""
        self.client().create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in KEYS],
            KeySchema=[{"AttributeName": KEYS[0], "KeyType": "HASH"}, {"AttributeName": KEYS[1], "KeyType": "RANGE"}],
        )

    def items(self, table: str) -> list[dict[str, Any]]:
        """All items in DynamoDB's JSON."""
        pages = self.client().get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def counts(self, table: str) -> Mapping[str, int]:
        """Requests by operation, `statements`, `written`, `refused` and `read` items. Only of this package's store."""
        with urllib.request.urlopen(f"{self.endpoint}/counts/{table}", timeout=10) as answer:
            found: Mapping[str, int] = json.load(answer)
            return found


@contextmanager
def in_memory() -> Iterator[Store]:
    """The store of this package, during the block."""
    with TemporaryDirectory(prefix="bench-store-") as directory:
        port = free_port()
        endpoint = f"http://{LOOPBACK}:{port}"
        server = Server(
            name="the in-memory DynamoDB",
            command=[sys.executable, "-m", "bench.dynamodb", str(port)],
            environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **MADE_UP},
            directory=Path(directory),
            answers=lambda: answers_tables(endpoint),
        )
        with running(server):
            yield Store(endpoint)
