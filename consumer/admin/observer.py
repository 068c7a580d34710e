"""`consumer status`: reads KCL's tables, the stream and the quarantine. Needs only read permissions."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from consumer import bootstrap
from consumer.admin import status
from consumer.admin.status import NOT_REQUESTED, Lag, Quarantine, Seen, Shard, Status, Stream
from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import QuarantineStore
from consumer.leases import kcl_tables, tables
from consumer.leases.kcl_tables import Item, Lease
from consumer.leases.origin import origin_of
from consumer.settings import Settings
from consumer.stores.aws import CLIENT, unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient


@dataclass(slots=True)
class Observer:
    """Builds a new Status on each `look`. From the second one on, it detects leases that are not renewed.

    now     Unix seconds
    clock   monotonic seconds
    """

    settings: Settings
    kinesis: "KinesisClient"
    dynamodb: "DynamoDBClient"
    quarantine: QuarantineStore
    requests: Executor
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    _seen: Mapping[str, Seen] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, config: Config = CLIENT) -> Self:
        requests = bootstrap.pool()
        kinesis, dynamodb = bootstrap.stream_client(settings, config), bootstrap.client(settings, "dynamodb", config)
        return cls(settings, kinesis, dynamodb, bootstrap.quarantine(settings, requests, config), requests)

    def look(self, *, lag: bool = True, quarantine: bool = True) -> Status:
        """Raises Unavailable when the stream or the leases cannot be read."""
        with unavailable(f"stream {self.settings.stream_name}"):
            stream = _stream(self.kinesis, self.settings.stream_name)
        found = self._tables()
        self._seen = status.watched(self._seen, found.leases, self.clock())
        seconds = self.settings.failover_millis / 1000
        stale = status.not_renewed(self._seen, self.clock(), seconds)
        # A worker reports twice in this time, so one late report is not silence. Reports have whole seconds: add one.
        workers = status.workers(found, self.now(), silent_after=seconds + 1)
        alive = [worker.name for worker in workers if worker.alive]
        names = (each.name for each in stream.shards)
        lags = self._lags(found.leases, stream) if lag else dict.fromkeys(names, NOT_REQUESTED)
        shards = status.shards(stream.shards, found, lags, alive, stale)
        quarantined = self._quarantined(wanted=quarantine)
        return Status(self.now(), self.settings.application_name, stream, found, shards, workers, quarantined)

    def _quarantined(self, *, wanted: bool) -> Quarantine:
        place = self.settings.quarantine
        if not wanted:
            return Quarantine(place, None, NOT_REQUESTED.unknown)
        try:
            return Quarantine(place, self.quarantine.size())
        except Unavailable as cause:
            return Quarantine(place, None, str(cause))

    def _tables(self) -> kcl_tables.Tables:
        name = self.settings.application_name
        rows = self._rows(name)
        if rows is None:
            raise Unavailable(f"lease table {name} does not exist: create it with `consumer provision`")
        return kcl_tables.read(rows, self._rows(f"{name}-WorkerMetricStats"), self._rows(f"{name}-CoordinatorState"))

    def _rows(self, table: str) -> list[Item] | None:
        with unavailable(f"table {table}"):
            return tables.rows(self.dynamodb, table)

    def _lags(self, known: Iterable[Lease], stream: Stream) -> dict[str, Lag]:
        present = {shard.name for shard in stream.shards}
        readable = [lease for lease in known if lease.shard in present and not lease.ended]
        found = self.requests.map(partial(self._lag, stream.name), readable)
        return dict(zip((lease.shard for lease in readable), found, strict=True))

    def _lag(self, stream: str, lease: Lease) -> Lag:
        """Uses one of the five reads per second that all readers of a shard share."""
        place = _place(lease)
        if place is None:
            return Lag(None, f"the checkpoint is {lease.checkpoint}")
        try:
            iterator = self.kinesis.get_shard_iterator(StreamName=stream, ShardId=lease.shard, **place)["ShardIterator"]
            response = self.kinesis.get_records(ShardIterator=iterator, Limit=1)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown error"))
            return Lag(None, code, refused=code == "InvalidArgumentException")
        except BotoCoreError as error:
            return Lag(None, type(error).__name__)
        return _lag_of(response, self.now())


def _stream(kinesis: "KinesisClient", name: str) -> Stream:
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    pages = kinesis.get_paginator("list_shards").paginate(StreamName=name)
    shards = [Shard.listed(shard) for page in pages for shard in page["Shards"]]
    return Stream(name, summary["StreamStatus"], summary["RetentionPeriodHours"], shards, origin_of(summary))


def _place(lease: Lease) -> Any:
    """The start of a shard iterator at the checkpoint. None if the checkpoint is no position."""
    if lease.checkpoint.isdecimal():
        return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": lease.checkpoint}
    return {"ShardIteratorType": kcl_tables.TRIM_HORIZON} if lease.checkpoint == kcl_tables.TRIM_HORIZON else None


def _lag_of(response: Mapping[str, Any], now: float) -> Lag:
    for record in response["Records"]:
        if arrived := record.get("ApproximateArrivalTimestamp"):
            return Lag(max(0.0, round(now - arrived.timestamp(), 3)))
    # A response may be empty although records follow, and a record may have no arrival time.
    return Lag((response.get("MillisBehindLatest") or 0) / 1000)
