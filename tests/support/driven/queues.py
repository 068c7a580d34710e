"""A queue that gets the events of an EventBridge rule."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tests.support.emulators.aws import session


@dataclass
class Queue:
    """`received` returns every message that the queue has had so far, in order."""

    client: Any
    url: str
    _received: list[Any] = field(default_factory=list)

    @classmethod
    def behind_a_rule(cls, endpoint: str, name: str, pattern: Mapping[str, Any], bus: str = "default") -> Self:
        sqs: Any = session().client("sqs", endpoint_url=endpoint)
        events: Any = session().client("events", endpoint_url=endpoint)
        if bus != "default":
            events.create_event_bus(Name=bus)
        url = sqs.create_queue(QueueName=name[-80:])["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name=name[:64], EventBusName=bus, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name[:64], EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
        return cls(sqs, url)

    def received(self) -> list[Any]:
        while messages := self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", []):
            self._received += [json.loads(message["Body"]) for message in messages]
            for message in messages:
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return list(self._received)
