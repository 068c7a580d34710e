"""Puts events through the whole service and checks what must hold afterwards."""

import json
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from boto3.dynamodb.types import TypeDeserializer

from consumer.admin.put import outgoing, put
from consumer.archive.place import Place
from consumer.engine.quarantine import QuarantineStore
from consumer.limits.projection import Limits
from consumer.limits.sample import Sample, histories
from consumer.limits.state import LimitState
from consumer.limits.view import view
from consumer.stores.directory import DirectoryQuarantine
from consumer.stores.places import DirectoryPlace, S3Place
from consumer.stores.s3 import S3Quarantine
from tests.support.driven.service import Service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import session
from tests.support.generators import oracle

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient

NOW = 1_800_000_000_000
"""The time, in epoch milliseconds, at which limits are viewed."""


@dataclass(frozen=True)
class Stage:
    """The resources of a test: the service's environment, and the stream, table and quarantine that it names."""

    variables: Mapping[str, str]

    def put(self, samples: Iterable[Sample]) -> None:
        records = [outgoing(sample.data) for sample in samples]
        put(self.kinesis(), self.variables["CONSUMER_STREAM_NAME"], records, lambda _: None)

    def limits(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The JSON of every limit in the table, by key."""
        return {key: view(state, NOW).to_json() for key, state in self.states().items()}

    def states(self, without: Container[tuple[str, str]] = ()) -> dict[tuple[str, str], LimitState]:
        """The state of every limit in the table, by key. `without`: keys to leave out."""
        read = TypeDeserializer().deserialize
        items = self.items(self.variables["AWS_TABLE_NAME"])
        items = [item for item in items if (item["userId"]["S"], item["userLimitId"]["S"]) not in without]
        states = [Limits().load({name: read(value) for name, value in item.items()}) for item in items]
        return {(state.user_id, state.user_limit_id): state for state in states}

    def items(self, table: str) -> list[dict[str, Any]]:
        """All items of a table in DynamoDB's JSON."""
        pages = self.dynamodb().get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def kinesis(self) -> "KinesisClient":
        return session().client("kinesis", endpoint_url=self._endpoint("KINESIS"))

    def dynamodb(self) -> "DynamoDBClient":
        return session().client("dynamodb", endpoint_url=self._endpoint("DYNAMODB"))

    def quarantined(self) -> Counter[bytes]:
        """The bytes of every record in the quarantine."""
        return Counter(entry.record.data for entry in self.quarantine().entries())

    def quarantine(self) -> QuarantineStore:
        place = self.variables["CONSUMER_QUARANTINE"]
        if place.startswith("dir:"):
            return DirectoryQuarantine(Path(place.removeprefix("dir:")))
        parts = urlsplit(place)
        s3 = session().client("s3", endpoint_url=self._endpoint("S3"))
        return S3Quarantine(s3, parts.netloc, parts.path, ThreadPoolExecutor())

    def archive(self) -> Place:
        place = self.variables["CONSUMER_ARCHIVE"]
        if place.startswith("dir:"):
            return DirectoryPlace(Path(place.removeprefix("dir:")))
        parts = urlsplit(place)
        return S3Place(session().client("s3", endpoint_url=self._endpoint("S3")), parts.netloc, parts.path)

    def remove(self) -> None:
        """Deletes the stream and every table, which would otherwise stay and cost money."""
        self.kinesis().delete_stream(StreamName=self.variables["CONSUMER_STREAM_NAME"], EnforceConsumerDeletion=True)
        application = self.variables["CONSUMER_APPLICATION_NAME"]
        kcl = (application, f"{application}-WorkerMetricStats", f"{application}-CoordinatorState")
        for table in (self.variables["AWS_TABLE_NAME"], *kcl):
            self.dynamodb().delete_table(TableName=table)

    def _endpoint(self, service: str) -> str | None:
        return self.variables.get(f"AWS_ENDPOINT_URL_{service}") or self.variables.get("AWS_ENDPOINT_URL")


def endless(seed: int, users: int = 60) -> Iterator[Sample]:
    """Records without end, 2 % of them duplicates and 1 % poison."""
    return histories(Random(seed), 10**9, users, duplicates=0.02, poison=0.01)


def samples(seed: int, count: int, users: int = 200) -> list[Sample]:
    """`count` records, 2 % of them duplicates and 1 % poison."""
    return list(histories(Random(seed), count, users, duplicates=0.02, poison=0.01))


def expected(made: Sequence[Sample]) -> dict[tuple[str, str], dict[str, Any]]:
    """What the table must hold, according to the oracle."""
    return oracle.expected([sample.event for sample in made if sample.event], NOW)


def poison(made: Iterable[Sample]) -> Counter[bytes]:
    return Counter(sample.data for sample in made if sample.poison_reason)


def until_received(running: Service, count: int, seconds: float = 120.0) -> None:
    """Waits until `count` records are settled; redelivered ones count again."""
    until(lambda: running.received() >= count, f"{count} records to be settled", seconds=seconds)


def until_equal(stage: Stage, made: Sequence[Sample], seconds: float = 120.0) -> None:
    """Waits until the table equals the oracle's. On failure the message shows the first difference."""
    wanted = expected(made)
    try:
        until(lambda: stage.limits() == wanted, "the table to equal the oracle", seconds=seconds, every=0.5)
    except TimeoutError:
        assert first_difference(stage.limits(), wanted) is None
        raise


def first_difference(found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> str | None:
    for key in sorted(found.keys() | wanted.keys()):
        if found.get(key) != wanted.get(key):
            return f"{key}: found {json.dumps(found.get(key))}, wanted {json.dumps(wanted.get(key))}"
    return None
