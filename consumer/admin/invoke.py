"""`consumer lambda-invoke`: runs the Lambda handler on this machine, with the stores that the settings name."""

import base64
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from consumer import bootstrap
from consumer.admin.captured import Captured, Content, FailedBatch
from consumer.aws_lambda.handler import SOURCE, Answer, LambdaConsumer
from consumer.monitoring import logs
from consumer.settings import InvokeSettings
from consumer.stores.kinesis import Stretch, records_of

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import RecordTypeDef

SECONDS = 60.0
"""The timeout of one invocation."""
SHARD = "shardId-000000000000"


@dataclass(frozen=True, slots=True)
class LocalContext:
    """Implements aws_lambda.deadline.Context. `ends` is a time of the monotonic clock."""

    ends: float
    aws_request_id: str = "local"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.ends - time.monotonic()) * 1000))


@dataclass(frozen=True, slots=True)
class Invoked:
    """The response of the function. `missing` says what a fetched batch lacks; empty if it is complete."""

    answer: Answer
    missing: str = ""

    @property
    def complete(self) -> bool:
        """Whether every record is settled."""
        return not self.answer["batchItemFailures"] and not self.missing


def invoke(settings: InvokeSettings, contents: Sequence[Content], file: str) -> Iterator[Invoked]:
    """Invokes the function with each event of a file, one after the other.

    The function's metrics go to stderr, like its logs. Failed batches are fetched from the stream.
    Raises MalformedInvocation and BreakerOpen as the function does, and Unavailable if a batch cannot be fetched.
    """
    consumer = LambdaConsumer.of(settings, lambda line: sys.stderr.write(f"{line}\n"))
    for event, missing in _events(settings, contents, file):
        with logs.fields(request_id="local"):
            yield Invoked(consumer.handle(event, LocalContext(time.monotonic() + SECONDS)), missing)


def _events(settings: InvokeSettings, contents: Sequence[Content], file: str) -> Iterator[tuple[Any, str]]:
    records = [content for content in contents if isinstance(content, bytes)]
    if records:
        yield event_of(records, file, run_number(bootstrap.now_millis(), random.randrange)), ""
    for content in contents:
        if isinstance(content, Captured):
            yield content.event, ""
        elif isinstance(content, FailedBatch):
            of_batch = settings.model_copy(update={"stream_arn": content.stretch.stream_arn})
            yield fetched(bootstrap.stream_client(of_batch), content)


def run_number(now_millis: int, chance: Callable[[int], int]) -> int:
    """The sequence number of the first record of a run: unique per run, and larger in a later run."""
    return (now_millis * 10**9 + chance(10**9)) * 10**7


def event_of(records: Iterable[bytes], file: str, first: int) -> dict[str, Any]:
    """An event with the records of a file, numbered from `first`. Its stream has the name of the file.

    Each run has its own numbers, so that its quarantined records never replace those of another run.
    """
    stream = "stdin" if file == "-" else PurePath(file).name
    arn = f"arn:aws:kinesis:local:000000000000:stream/{stream}"
    now = bootstrap.now_millis() / 1000
    return {"Records": [mapped_record(arn, SHARD, str(first + at), data, now) for at, data in enumerate(records)]}


def fetched(client: "KinesisClient", batch: FailedBatch) -> tuple[dict[str, Any], str]:
    """An event with the records of the batch that are still in the stream, and a line about missing ones, or ''."""
    stretch = batch.stretch
    found = list(records_of(client, stretch))
    numbers = {record["SequenceNumber"] for record in found}
    lacks = len(found) < batch.size or not {stretch.first, stretch.last} <= numbers
    missing = f"{stretch}: only {len(found)} of {batch.size} records are still in the stream" if lacks else ""
    return {"Records": [_of_stream(stretch, record) for record in found]}, missing


def _of_stream(stretch: Stretch, record: "RecordTypeDef") -> dict[str, Any]:
    arrived = record.get("ApproximateArrivalTimestamp")
    seconds = arrived.timestamp() if arrived else None
    return mapped_record(stretch.stream_arn, stretch.shard, record["SequenceNumber"], record["Data"], seconds)


def mapped_record(arn: str, shard: str, sequence: str, data: bytes, arrived: float | None) -> dict[str, Any]:
    """A record as a Kinesis event source mapping delivers it. `arrived`: Unix seconds, None if unknown."""
    return {
        "eventSource": SOURCE,
        "eventID": f"{shard}:{sequence}",
        "eventSourceARN": arn,
        "kinesis": {
            "sequenceNumber": sequence,
            "data": base64.b64encode(data).decode("ascii"),
            "approximateArrivalTimestamp": arrived,
        },
    }
