"""The Lambda function that sends notices, invoked by an event source mapping of the limits table's stream.

The mapping must have `FunctionResponseTypes: [ReportBatchItemFailures]`, and the stream both images of an item. The
response names the first record with a notice that was not sent; the mapping delivers that record and all later ones
again (docs/how-to/send-notices.md).
"""

import functools
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from consumer import bootstrap
from consumer.aws_lambda.deadline import Context, Deadline, UntilTimeRunsOut
from consumer.aws_lambda.handler import UNKNOWN, Answer, MalformedInvocation, flush, invoke, write_line
from consumer.engine.errors import Malformed
from consumer.engine.messages import Message, MessageBus, send_all
from consumer.engine.observed import ObservedBus
from consumer.limits.notices import TYPE, Notice, notices, reached
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.monitoring import logs, metrics
from consumer.monitoring.emf import EmfSink
from consumer.settings import NoticeSettings, load
from consumer.stores.aws import SHORT_TIMEOUTS
from consumer.stores.images import state_in
from consumer.stores.requests import RequestOutcome

log = logging.getLogger("consumer.lambda")

SOURCE = "aws:dynamodb"
VIEW = "NEW_AND_OLD_IMAGES"
SEQUENCE = re.compile(r"[0-9]{1,128}")
TABLE = re.compile(r":table/([^/]+)/stream/")
"""The name in the ARN of a table's stream."""


class Change(NamedTuple):
    """A record of a table's stream, with the images of an item. None if there was or is no item."""

    table: str
    sequence: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None


class Announced(NamedTuple):
    """A notice, and the sequence number of the record that it is about."""

    sequence: str
    notice: Notice


@dataclass(frozen=True, slots=True)
class NoticeFunction:
    """The state of one container. The client is reused by later invocations.

    bus         where notices are sent
    thresholds  percentages of a limit's value
    write       writes one line of metrics
    sleep       sleeps for a number of seconds
    random      returns a random number from 0 to 1
    requests    the outcomes of requests to the bus that are not yet measured
    """

    bus: MessageBus
    thresholds: Sequence[int]
    write: Callable[[str], object] = write_line
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    requests: deque[RequestOutcome] = field(default_factory=deque)

    @classmethod
    def of(cls, settings: NoticeSettings, write: Callable[[str], object] = write_line) -> Self:
        requests: deque[RequestOutcome] = deque()
        bus = bootstrap.message_bus(settings, SHORT_TIMEOUTS, requests.append)
        return cls(bus, settings.thresholds, write, requests=requests)

    def handle(self, event: object, context: Context) -> Answer:
        """Sends the notices of a batch. The response names no failure, or the first record with a notice left.

        Raises MalformedInvocation before anything is sent.
        """
        deadline, changes = Deadline.of(context), read(event)
        announced = [each for change in changes for each in self._announced(change)]
        unsent = self._send(changes[0].table, announced, deadline) if announced else frozenset()
        failed = [sequence for sequence, notice in announced if notice.id in unsent][:1]
        log.info("notices", extra={"records": len(changes), "notices": len(announced), "unsent": len(unsent)})
        return {"batchItemFailures": [{"itemIdentifier": sequence} for sequence in failed]}

    def _announced(self, change: Change) -> list[Announced]:
        new = _state(change.sequence, change.new)
        # Most records end here, and need only one of the images.
        if not reached(new, self.thresholds):
            return []
        old = _state(change.sequence, change.old)
        return [Announced(change.sequence, each) for each in notices(old, new, self.thresholds)]

    def _send(self, table: str, announced: Sequence[Announced], deadline: Deadline) -> frozenset[str]:
        """Returns the ids of the notices that may not have been sent."""
        sink = EmfSink(self.write, bootstrap.now_millis, table=table)
        retry_policy = UntilTimeRunsOut(deadline, self.sleep, self.random, lambda part: sink(metrics.RETRIES, 1, part))
        messages = (Message(notice.id, TYPE, notice.to_json()) for _, notice in announced)
        try:
            return send_all(ObservedBus(self.bus, deadline.check), messages, retry_policy)
        finally:
            flush(sink, self.requests)


def handler(event: object, context: Context) -> Answer:
    """The function's entry point: `consumer.aws_lambda.notices.handler`."""
    return invoke(container, event, context)


@functools.cache
def container() -> NoticeFunction:
    """Creates the state of the container on the first invocation. Raises SettingsError."""
    settings = load(NoticeSettings)
    logs.configure(settings.log_level)
    return NoticeFunction.of(settings)


def read(event: object) -> list[Change]:
    """The records in the event of a mapping, in order. Raises MalformedInvocation if one is invalid."""
    entries = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(entries, list):
        raise MalformedInvocation("the event has no Records: invoke the function from a mapping of a DynamoDB stream")
    return [_change(f"Records[{index}]", entry) for index, entry in enumerate(entries)]


def _change(place: str, entry: object) -> Change:
    if not isinstance(entry, Mapping) or entry.get("eventSource") != SOURCE:
        raise MalformedInvocation(f"{place}.eventSource is not {SOURCE}")
    change = entry.get("dynamodb")
    sequence = change.get("SequenceNumber") if isinstance(change, Mapping) else None
    if not isinstance(change, Mapping) or not isinstance(sequence, str) or not SEQUENCE.fullmatch(sequence):
        raise MalformedInvocation(f"{place}.dynamodb.SequenceNumber is not a sequence number")
    if change.get("StreamViewType") != VIEW:
        raise MalformedInvocation(f"{place}.dynamodb.StreamViewType is not {VIEW}: the stream needs both images")
    table = TABLE.search(str(entry.get("eventSourceARN")))
    return Change(table[1] if table else UNKNOWN, sequence, _image(change, "OldImage"), _image(change, "NewImage"))


def _image(change: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    image = change.get(name)
    return image if isinstance(image, Mapping) else None


def _state(sequence: str, image: Mapping[str, Any] | None) -> LimitState | None:
    """The limit in an image. None if there is none, or if it cannot be read: no repetition would help."""
    try:
        return None if image is None else state_in(image, Limits())
    except Malformed as wrong:
        log.error("unreadable image", extra={"record": sequence, "detail": str(wrong)})  # noqa: TRY400 - one line
        return None
