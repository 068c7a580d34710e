"""What EventBridge answers, and what becomes of it. tests/contract/test_bus.py sends events for real."""

import json
from collections.abc import Sequence
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from consumer.engine.messages import Message
from consumer.stores.eventbridge import EventBridge
from tests.support.emulators.aws import MADE_UP

MESSAGES = [Message(name, "Test", {"id": name}) for name in "abc"]


@pytest.fixture
def stubbed() -> Any:
    client = boto3.client(
        "events",
        region_name="eu-west-1",
        aws_access_key_id=MADE_UP["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=MADE_UP["AWS_SECRET_ACCESS_KEY"],
    )
    with Stubber(client) as stubber:
        yield stubber


def entries(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [
        {
            "EventBusName": "limits",
            "Source": "limits-consumer",
            "DetailType": each.type,
            "Detail": json.dumps(each.content),
        }
        for each in messages
    ]


def test_only_entries_with_an_error_are_returned(stubbed: Any) -> None:
    results = [
        {"EventId": "1"},
        {"ErrorCode": "ThrottlingException", "ErrorMessage": "x"},
        {"ErrorCode": "InternalFailure"},
    ]
    stubbed.add_response("put_events", {"FailedEntryCount": 2, "Entries": results}, {"Entries": entries(MESSAGES)})
    failed = EventBridge(stubbed.client, "limits").send(MESSAGES)

    assert {name: str(cause) for name, cause in failed.items()} == {
        "b": "event bus limits: ThrottlingException",
        "c": "event bus limits: InternalFailure",
    }


def test_all_are_returned_when_the_request_fails(stubbed: Any) -> None:
    stubbed.add_client_error("put_events", "AccessDeniedException", http_status_code=400)
    failed = EventBridge(stubbed.client, "limits").send(MESSAGES)

    assert {str(cause) for cause in failed.values()} == {"event bus limits: AccessDeniedException"}
    assert failed.keys() == set("abc")


def test_success_returns_nothing(stubbed: Any) -> None:
    stubbed.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": name} for name in "abc"]})
    assert EventBridge(stubbed.client, "limits").send(MESSAGES) == {}
