"""Documents that wrap records: Lambda events, batches of EventBridge Pipes, and documents of a failure destination.

The AWS page "Retain discarded batch records for a Kinesis Data Streams event source" describes the documents that an
event source mapping sends to its failure destination: S3 gets the event as a string in `payload`, SQS and SNS get only
`KinesisBatchInfo`. The document may be inside a message: as `aws sqs receive-message` prints it, as SNS wraps it, or as
another function receives it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from consumer.aws_lambda.handler import SEQUENCE, MalformedInvocation
from consumer.settings import STREAM_ARN
from consumer.stores.kinesis import Stretch

BATCH = "KinesisBatchInfo"
TABLE_BATCH = "DDBStreamBatchInfo"
"""The same for a mapping of a DynamoDB stream. Only the object in S3, which has the event, is of use."""
_LISTS = ("Records", "Messages")
_MESSAGES = ("Body", "body", "Sns", "Message")
_WRAPPERS = ("requestContext", *_LISTS)
_MARKS = re.compile(rb'"(?:Records|Messages|Body|Message|eventSource|requestContext|KinesisBatchInfo)"')
"""Only a document with one of these is parsed, because a file may hold millions of records."""


@dataclass(frozen=True, slots=True)
class Captured:
    """An event as the Lambda function receives it."""

    event: Any


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """The place of a batch that an event source mapping gave up on, and its number of records."""

    stretch: Stretch
    size: int


Content: TypeAlias = bytes | Captured | FailedBatch
"""Bytes are the data of one record."""


def contents(documents: Iterable[bytes]) -> list[Content]:
    """The contents of the documents, in order. All single records of an event or a batch become one event.

    Raises MalformedInvocation if a document wraps something else.
    """
    found: list[Content] = []
    entries: list[Any] = []
    for document in documents:
        wrapper = _wrapper(document)
        if wrapper is None:
            found.append(document)
        elif "eventSource" not in wrapper:
            found += _unwrapped(wrapper) or [document]
        else:
            # The position of the first record is the position of the event. The list grows with the later ones.
            if not entries:
                found.append(Captured({"Records": entries} if "kinesis" in wrapper else entries))
            entries.append(wrapper)
    return found


def _wrapper(document: bytes) -> dict[str, Any] | None:
    """The parsed document if it wraps records. A limit event does not, even if it has such fields."""
    parsed = _parsed(document) if _MARKS.search(document) else None
    if not isinstance(parsed, dict) or "aggregateId" in parsed:
        return None
    return parsed if any(key in parsed for key in (BATCH, "eventSource", *_WRAPPERS, *_MESSAGES)) else None


def _unwrapped(value: object) -> list[Content]:
    value = _parsed(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return []
    if BATCH in value or (TABLE_BATCH in value and "payload" in value):
        return [_failed(value)]
    if "requestPayload" in value:
        return [Captured(value["requestPayload"])]
    inner = [found for each in _inside(value) for found in _unwrapped(each)]
    return inner or ([Captured(value)] if any(key in value for key in _WRAPPERS) else [])


def _inside(value: Mapping[str, Any]) -> list[Any]:
    for key in _LISTS:
        if isinstance(value.get(key), list):
            return list(value[key])
    return [value[key] for key in _MESSAGES if key in value]


def _failed(value: Mapping[str, Any]) -> Content:
    if "payload" in value:
        event = _parsed(value["payload"]) if isinstance(value["payload"], str) else value["payload"]
        if event is None:
            raise MalformedInvocation("payload is not JSON")
        return Captured(event)
    info = value[BATCH] if isinstance(value[BATCH], Mapping) else {}
    names = ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")
    stream, shard, first, last = (str(info.get(name) or "") for name in names)
    size = info.get("batchSize")
    arn = stream.partition("/consumer/")[0]
    numbers = SEQUENCE.fullmatch(first) and SEQUENCE.fullmatch(last)
    if not (re.fullmatch(STREAM_ARN, arn) and shard and numbers and isinstance(size, int)):
        raise MalformedInvocation(f"{BATCH} lacks one of {', '.join(names)}, batchSize")
    return FailedBatch(Stretch(arn, shard, first, last), size)


def _parsed(text: str | bytes) -> Any:
    """None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
