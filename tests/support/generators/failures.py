"""Messages of a mapping to its failure destination, after the examples in AWS's documentation."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from consumer.engine.records import Record
from tests.support.generators.events import START

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/limits"


def notice(records: Sequence[Record], arn: str = ARN) -> dict[str, Any]:
    """The message to SQS and SNS: the position of the batch."""
    first, last = records[0].position, records[-1].position
    return failure(first.shard, first.sequence, last.sequence, len(records), arn)


def failure(shard: str, first: str, last: str, size: int, arn: str = ARN) -> dict[str, Any]:
    arrived = datetime.fromtimestamp(START / 1000, UTC).isoformat().replace("+00:00", "Z")
    return {
        "requestContext": {
            "requestId": "c9b8fa9f-5a7f-4b1a-af9c-0c604cde93a5",
            "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:limits",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 1,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": arrived,
        "KinesisBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": arrived,
            "approximateArrivalOfLastRecord": arrived,
            "batchSize": size,
            "streamArn": arn,
        },
    }


def object_of(event: dict[str, Any]) -> dict[str, Any]:
    """The object in S3, which also has the event as a string."""
    numbers = [entry["kinesis"]["sequenceNumber"] for entry in event["Records"]]
    shard = event["Records"][0]["eventID"].partition(":")[0]
    return failure(shard, numbers[0], numbers[-1], len(numbers)) | {"payload": json.dumps(event)}
