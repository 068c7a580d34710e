"""Records of the limits table's DynamoDB stream, after the example in AWS's documentation."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from consumer.engine.projection import Ignored, Key
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.support.generators.events import START, Event, encode
from tests.support.generators.failures import failure

LIMITS = Limits()
ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/user-limits/stream/2026-01-31T00:00:00.000"

Change = tuple[LimitState | None, LimitState | None]
"""The limit before and after a write."""


def changes(arriving: Iterable[Event]) -> list[Change]:
    """The writes to the table, one per event that changes a limit, in the order of arrival."""
    stored: dict[Key, LimitState] = {}
    found: list[Change] = []
    for each in arriving:
        event = LIMITS.decode(encode(each))
        assert not isinstance(event, Ignored)
        key, alone = LIMITS.key(event), LIMITS.state_of(event)
        old = stored.get(key)
        new = alone if old is None else LIMITS.merge(old, alone)
        if new != old:
            found.append((old, new))
            stored[key] = new
    return found


def number(of: int) -> str:
    """The sequence number of a record."""
    return f"{of:021}"


def entry(change: Change, place: int = 1) -> dict[str, Any]:
    """One element of `Records`."""
    old, new = change
    known = new or old
    assert known
    images = {"OldImage": old, "NewImage": new}
    return {
        "eventID": f"{place:032x}",
        "eventName": "REMOVE" if new is None else "MODIFY" if old else "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": START // 1000,
            "Keys": {"userId": {"S": known.user_id}, "userLimitId": {"S": known.user_limit_id}},
            **{name: image(state) for name, state in images.items() if state},
            "SequenceNumber": number(place),
            "SizeBytes": 500,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": ARN,
    }


def image(state: LimitState) -> dict[str, Any]:
    """The item in DynamoDB's form, with the version that the repository adds."""
    item = {**LIMITS.dump(state), "version": "0" * 32}
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}


def stream_event(some: Sequence[Change]) -> dict[str, Any]:
    return {"Records": [entry(change, place) for place, change in enumerate(some, 1)]}


def object_of(event: dict[str, Any]) -> dict[str, Any]:
    """The object that a mapping writes to its failure bucket."""
    numbers = [each["dynamodb"]["SequenceNumber"] for each in event["Records"]]
    document = failure("shardId-00000001", numbers[0], numbers[-1], len(numbers), ARN)
    return {**document, "DDBStreamBatchInfo": document.pop("KinesisBatchInfo"), "payload": json.dumps(event)}
