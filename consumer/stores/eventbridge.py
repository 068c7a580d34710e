"""Sends messages to an EventBridge bus."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from consumer.engine.errors import Unavailable
from consumer.engine.messages import Message
from consumer.stores.aws import unavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "limits-consumer"
"""The `source` of every event. Rules match it, and the role of the sender is restricted to it."""
ENTRIES = 10
"""Maximum number of entries in a PutEvents."""


class EventBridge:
    """Implements engine.messages.MessageBus. `detail` is the content of a message, `detail-type` its type."""

    most = ENTRIES

    def __init__(self, client: "EventBridgeClient", bus: str) -> None:
        self._client = client
        self._bus = bus

    def send(self, messages: Sequence[Message]) -> Mapping[str, Unavailable]:
        try:
            with unavailable(self._place):
                results = self._client.put_events(Entries=[self._entry(each) for each in messages])["Entries"]
        except Unavailable as cause:
            return {message.id: cause for message in messages}
        # EventBridge accepts each entry on its own. The results are in the order of the entries.
        return {
            message.id: Unavailable(f"{self._place}: {result['ErrorCode']}")
            for message, result in zip(messages, results, strict=True)
            if result.get("ErrorCode")
        }

    @property
    def _place(self) -> str:
        return f"event bus {self._bus}"

    def _entry(self, message: Message) -> "PutEventsRequestEntryTypeDef":
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": message.type,
            "Detail": json.dumps(message.content),
        }
