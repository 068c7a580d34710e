"""Invocations of the Lambda function: events in the form of a Kinesis mapping, and a clock that only tests advance."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

from consumer.aws_lambda.handler import Answer, LambdaConsumer
from consumer.engine.processor import Processor
from consumer.engine.records import Record

LambdaEvent: TypeAlias = dict[str, Any]

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/{}"
SUCCESS: Answer = {"batchItemFailures": []}


def event(records: Iterable[Record]) -> LambdaEvent:
    return {"Records": [entry(record) for record in records]}


def entry(record: Record) -> LambdaEvent:
    """One element of `Records`, after the example in AWS's documentation."""
    position = record.position
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1",
            "sequenceNumber": position.sequence,
            "data": base64.b64encode(record.data).decode(),
            "approximateArrivalTimestamp": record.arrived_at / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{position.shard}:{position.sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "eu-west-1",
        "eventSourceARN": ARN.format(position.stream),
    }


@dataclass
class Clock:
    """A clock in seconds that only `sleep` advances."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Invocation:
    """Lambda's context of an invocation that starts now and times out after `timeout` seconds."""

    clock: Clock
    timeout: float = 60.0
    aws_request_id: str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    ends: float = field(init=False)

    def __post_init__(self) -> None:
        self.ends = self.clock.now + self.timeout

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.ends - self.clock.now) * 1000))


@dataclass
class Function:
    """The function in one container, with its own clock. `lines`: what it wrote to standard output."""

    core: Processor[Any, Any]
    clock: Clock = field(default_factory=Clock)
    lines: list[str] = field(default_factory=list)
    consumer: LambdaConsumer = field(init=False)

    def __post_init__(self) -> None:
        chances = (number % 7 / 7 for number in count())
        self.consumer = LambdaConsumer(self.core, self.lines.append, self.clock.sleep, self.clock, chances.__next__)

    def invoke(self, lambda_event: object, timeout: float = 60.0) -> Answer:
        return self.consumer.handle(lambda_event, Invocation(self.clock, timeout))
