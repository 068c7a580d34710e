"""`consumer lambda-invoke`: the Lambda handler on this machine, with the stores that the settings name."""

import base64
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from consumer import bootstrap, logs
from consumer.entrypoints.awslambda import SOURCE, Answer, LambdaConsumer
from consumer.settings import CoreSettings

SECONDS = 60.0
"""What the invocation has."""
SHARD = "shardId-000000000000"


@dataclass(frozen=True, slots=True)
class LocalContext:
    """Implements entrypoints.deadline.Context; `ends` is of the monotonic clock."""

    ends: float
    aws_request_id: str = "local"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.ends - time.monotonic()) * 1000))


def invoke(settings: CoreSettings, event: object) -> Answer:
    """What the function would answer. Its metrics go to standard error, where its logs are.

    Raises MalformedInvocation and BreakerOpen, as the function does.
    """
    consumer = LambdaConsumer.of(settings, lambda line: sys.stderr.write(f"{line}\n"))
    with logs.fields(request_id="local"):
        return consumer.handle(event, LocalContext(time.monotonic() + SECONDS))


def event_of(records: Sequence[bytes], file: str) -> object:
    """The Lambda event that the file holds; or else one that delivers its records, from a stream called after it."""
    captured = _captured(b"\n".join(records))
    if captured is not None:
        return captured
    stream = "stdin" if file == "-" else PurePath(file).name
    return {"Records": [_entry(stream, number, data) for number, data in enumerate(records)]}


def _captured(content: bytes) -> object:
    try:
        event = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and "Records" in event else None


def _entry(stream: str, number: int, data: bytes) -> dict[str, Any]:
    return {
        "eventSource": SOURCE,
        "eventID": f"{SHARD}:{number}",
        "eventSourceARN": f"arn:aws:kinesis:local:000000000000:stream/{stream}",
        "kinesis": {
            "sequenceNumber": str(number),
            "data": base64.b64encode(data).decode("ascii"),
            "approximateArrivalTimestamp": bootstrap.now_millis() / 1000,
        },
    }
