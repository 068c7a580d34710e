"""The service as a Lambda function: a Kinesis event source mapping drives the same core.

The mapping must have `FunctionResponseTypes: [ReportBatchItemFailures]`. It then takes the one identifier in
`batchItemFailures` as its checkpoint: everything from that record on comes again, everything before it is done.
Without the setting AWS ignores the answer, and the records named in it are lost (docs/lambda.md).
"""

import functools
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from consumer import bootstrap, logs, metrics
from consumer.emf import EmfSink
from consumer.engine.errors import ConsumerError, GaveUp, Unavailable
from consumer.engine.patience import Backoff
from consumer.engine.processor import Processor
from consumer.engine.records import Position, Record
from consumer.settings import CoreSettings, load
from consumer.stores.aws import IMPATIENT

log = logging.getLogger("consumer.lambda")

SOURCE = "aws:kinesis"
BACKOFF = Backoff(longest=1.0)
ANSWER_SECONDS = 5.0
"""What is kept of an invocation's time to finish a request under way, and to answer."""


class MalformedInvocation(ConsumerError):
    """The event is no batch of a Kinesis mapping. Caught by Lambda, which calls the invocation failed."""


class Context(Protocol):
    """What of Lambda's context object is used."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


@dataclass(frozen=True, slots=True)
class UntilTimeRunsOut:
    """Implements engine.patience.Patience for one invocation."""

    context: Context
    sleep: Callable[[float], None]
    measure: metrics.Sink

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        self.measure(metrics.RETRIES, 1, part)
        pause = BACKOFF.seconds(attempt, random.random())
        if self.context.get_remaining_time_in_millis() / 1000 - pause < ANSWER_SECONDS:
            raise GaveUp(f"the invocation's time is up while waiting for {part}: {cause}")
        log.warning("waiting", extra={"part": part, "attempt": attempt, "cause": str(cause)})
        self.sleep(pause)


@dataclass(frozen=True, slots=True)
class LambdaConsumer:
    """One a container: clients, and what is known of the limits, outlive an invocation."""

    core: Processor[Any, Any]
    write: Callable[[str], object] = print
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def handle(self, event: object, context: Context) -> dict[str, list[dict[str, str]]]:
        """Lambda's answer: no failure, or the first record that is not settled. Raises MalformedInvocation."""
        records = read(event)
        if not records:
            return {"batchItemFailures": []}
        sink = EmfSink(self.write, bootstrap.now_millis, stream=records[0].position.stream)
        start = self.clock()
        result = self.core.process(records, UntilTimeRunsOut(context, self.sleep, sink))
        for metric, value, labels in metrics.of_batch(result, self.clock() - start):
            sink(metric, value, *labels)
        sink.flush()
        logs.tell_batch(log, result)
        failed = result.unsettled
        return {"batchItemFailures": [{"itemIdentifier": failed.sequence}] if failed else []}


def handler(event: object, context: Context) -> dict[str, list[dict[str, str]]]:
    """The function's entry point: `consumer.entrypoints.awslambda.handler`."""
    with logs.fields(request_id=context.aws_request_id):
        return _container().handle(event, context)


@functools.cache
def _container() -> LambdaConsumer:
    settings = load(CoreSettings)
    logs.configure(settings.log_level)
    return LambdaConsumer(bootstrap.processor(settings, IMPATIENT))


def read(event: object) -> list[Record]:
    """The records of a Kinesis mapping's event, in its order. Raises MalformedInvocation when anything is amiss."""
    entries = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(entries, list):
        raise MalformedInvocation("the event has no Records: the function is meant for a Kinesis event source mapping")
    return [_record(index, entry) for index, entry in enumerate(entries)]


def _record(index: int, entry: object) -> Record:
    if not isinstance(entry, Mapping) or entry.get("eventSource") != SOURCE:
        raise MalformedInvocation(f"Records[{index}].eventSource is not {SOURCE}")
    kinesis = entry.get("kinesis")
    sequence = kinesis.get("sequenceNumber") if isinstance(kinesis, Mapping) else None
    if not isinstance(kinesis, Mapping) or not isinstance(sequence, str) or not sequence:
        raise MalformedInvocation(f"Records[{index}].kinesis.sequenceNumber is missing")
    stream = str(entry.get("eventSourceARN", "")).rpartition("/")[2]
    shard = str(entry.get("eventID", "")).partition(":")[0]
    return Record.from_base64(Position(stream, shard, sequence), kinesis.get("data"), _arrival(kinesis))


def _arrival(kinesis: Mapping[str, Any]) -> int:
    seconds = kinesis.get("approximateArrivalTimestamp")
    return int(seconds * 1000) if isinstance(seconds, int | float) else 0
