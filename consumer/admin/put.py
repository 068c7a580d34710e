"""`consumer put`: a producer for trials. Events of one user go to one shard. Rejected records are retried."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer import bootstrap
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.records import Record
from consumer.engine.retry_policy import Backoff, NoRetry
from consumer.settings import RecordSettings
from consumer.stores.aws import unavailable

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import PutRecordsRequestEntryTypeDef

RECORDS = 500
"""Limits of a PutRecords request: records and bytes."""
BYTES = 5 * 1024 * 1024
TRIES = 10
LISTED = 20
"""The most problems of a file to list."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    partition_key: str
    data: bytes


def outgoing(data: bytes) -> Outgoing:
    """The record with its `aggregateId` as partition key, or the hash of the data if it has none."""
    try:
        user = json.loads(data)["aggregateId"]
    except (ValueError, RecursionError, TypeError, KeyError):
        user = None
    usable = isinstance(user, str) and 0 < len(user) <= 256 and user.isprintable()
    return Outgoing(user if usable else hashlib.sha256(data).hexdigest(), data)


def refuse_poison(settings: RecordSettings, file: str, records: Sequence[Record]) -> None:
    """Raises SettingsError if a record can never be applied, whatever is stored. One line per record."""
    found = list(_poison(settings, records))
    if found:
        more = [f"{file}: {len(found) - LISTED} more records like these"] if len(found) > LISTED else []
        lines = [f"{file}: record {number} of {len(records)}: {why}" for number, why in found[:LISTED]]
        raise SettingsError([*lines, *more, "nothing was put: correct the file, or use --raw to put it unchanged"])


def _poison(settings: RecordSettings, records: Sequence[Record]) -> Iterator[tuple[int, str]]:
    """The numbers of poison records, from 1, and their faults."""
    for number, record in enumerate(records, start=1):
        # a new store for each record: the verdict must not depend on other records
        core, _ = bootstrap.in_memory_processor(settings)
        for entry in core.process([record], NoRetry()).quarantined:
            yield number, f"{entry.reason}: {entry.detail}"


def put(
    client: "KinesisClient",
    stream: str,
    records: Iterable[Outgoing],
    progress: Callable[[int], None],
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Puts the records in order, except those that are retried, and returns their number.

    Calls `progress` with the number of records that each request stored, and `pause` with the seconds between tries.
    Raises Unavailable if a record is rejected ten times.
    """
    return sum(_put(client, stream, part, progress, pause) for part in _requests(records))


def _requests(records: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    part: list[Outgoing] = []
    size = 0
    for record in records:
        weight = len(record.data) + len(record.partition_key.encode())
        if part and (len(part) == RECORDS or size + weight > BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += weight
    if part:
        yield part


def _put(
    client: "KinesisClient",
    stream: str,
    records: list[Outgoing],
    progress: Callable[[int], None],
    pause: Callable[[float], None],
) -> int:
    left, backoff = records, Backoff()
    for attempt in range(1, TRIES + 1):
        entries: list[PutRecordsRequestEntryTypeDef] = [
            {"Data": record.data, "PartitionKey": record.partition_key} for record in left
        ]
        with unavailable(f"put to stream {stream}"):
            responses = client.put_records(StreamName=stream, Records=entries)["Records"]
        rejected = [record for record, response in zip(left, responses, strict=True) if response.get("ErrorCode")]
        progress(len(left) - len(rejected))
        if not rejected:
            return len(records)
        # PutRecords is not all or nothing: retry only the rejected records, so that none is stored twice
        left = rejected
        pause(backoff.seconds(attempt, 1.0))
    raise Unavailable(f"put to stream {stream}: {len(left)} records rejected {TRIES} times")
