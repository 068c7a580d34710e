"""The service as a Lambda function: a Kinesis event source mapping drives the same core.

The mapping must have `FunctionResponseTypes: [ReportBatchItemFailures]`. It then takes the one identifier in
`batchItemFailures` as its checkpoint: everything from that record on comes again, everything before it is done.
Without the setting AWS ignores the answer, and the records named in it are lost (docs/lambda.md).
"""

import functools
import logging
import random
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

from consumer import bootstrap, logs, metrics
from consumer.emf import EmfSink
from consumer.engine.errors import ConsumerError
from consumer.engine.processor import BatchResult, Processor
from consumer.engine.records import Position, Record, arrival_of
from consumer.entrypoints.deadline import Context, Deadline, TimedQuarantine, TimedRepository, UntilTimeRunsOut
from consumer.settings import CoreSettings, load
from consumer.stores.aws import IMPATIENT
from consumer.stores.requests import Asked

log = logging.getLogger("consumer.lambda")

Answer: TypeAlias = dict[str, list[dict[str, str]]]

SOURCE = "aws:kinesis"
SEQUENCE = re.compile(r"[0-9]{1,128}")
STREAM = re.compile(r":stream/([^/]+)")
"""In the ARN of a stream, and in that of an enhanced fan-out consumer: `...:stream/NAME/consumer/...`."""
UNKNOWN = "unknown"
"""Stands for a stream or shard that the event does not tell."""


class MalformedInvocation(ConsumerError):
    """The event is no batch of a Kinesis mapping. Caught by Lambda, which calls the invocation failed."""


def write_line(line: str) -> None:
    """To standard output, whence CloudWatch Logs has it; in one piece, whatever else is written at the time."""
    sys.stdout.write(f"{line}\n")


@dataclass(frozen=True, slots=True)
class LambdaConsumer:
    """One a container: clients, and what is known of the limits, outlive an invocation.

    write   takes the metrics, a line each
    sleep   for so many seconds
    clock   monotonic seconds
    chance  a number in 0..1
    asked   what `core` has asked of the stores, not yet measured
    """

    core: Processor[Any, Any]
    write: Callable[[str], object] = write_line
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    asked: deque[Asked] = field(default_factory=deque)

    @classmethod
    def of(cls, settings: CoreSettings, write: Callable[[str], object] = write_line) -> Self:
        asked: deque[Asked] = deque()
        return cls(bootstrap.processor(settings, IMPATIENT, asked.append), write, asked=asked)

    def handle(self, event: object, context: Context) -> Answer:
        """Lambda's answer: no failure, or the first record that is not settled.

        Raises MalformedInvocation before anything is done, and BreakerOpen.
        """
        records = read(event)
        if not records:
            return {"batchItemFailures": []}
        sink = EmfSink(self.write, bootstrap.now_millis, stream=records[0].position.stream)
        failed = None
        try:
            for result in self._settle(records, Deadline.of(context), sink):
                logs.tell_batch(log, result, self.core.correlation_id)
                failed = result.unsettled
        finally:
            while self.asked:
                metrics.tell(sink, metrics.of_request(*self.asked.popleft()))
            sink.flush()
        return {"batchItemFailures": [{"itemIdentifier": failed.sequence}] if failed else []}

    def _settle(self, records: list[Record], deadline: Deadline, measure: metrics.Sink) -> Iterator[BatchResult]:
        """A result for each slice, measured."""
        core = replace(
            self.core,
            repository=TimedRepository(self.core.repository, deadline),
            quarantine=TimedQuarantine(self.core.quarantine, deadline),
        )
        patience = UntilTimeRunsOut(deadline, self.sleep, self.chance, lambda part: measure(metrics.RETRIES, 1, part))
        start = self.clock()
        for result in core.process_in_slices(records, patience, lambda: not deadline.is_over()):
            now = self.clock()
            metrics.tell(measure, metrics.of_batch(result, now - start, bootstrap.now_millis() / 1000))
            start = now
            yield result


def handler(event: object, context: Context) -> Answer:
    """The function's entry point: `consumer.entrypoints.awslambda.handler`."""
    with logs.fields(request_id=context.aws_request_id):
        try:
            return container().handle(event, context)
        except Exception:
            log.exception("invocation failed")
            raise


@functools.cache
def container() -> LambdaConsumer:
    """What is made once, by the first invocation. Raises SettingsError."""
    settings = load(CoreSettings)
    logs.configure(settings.log_level)
    return LambdaConsumer.of(settings)


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
    if not isinstance(kinesis, Mapping) or not isinstance(sequence, str) or not SEQUENCE.fullmatch(sequence):
        raise MalformedInvocation(f"Records[{index}].kinesis.sequenceNumber is not a sequence number")
    arrived_at = arrival_of(kinesis.get("approximateArrivalTimestamp"), unit_millis=1_000)
    return Record.from_base64(Position(*_origin(entry), sequence), kinesis.get("data"), arrived_at)


def _origin(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Stream and shard. They only say where a record was: one that does not tell is processed all the same."""
    stream = STREAM.search(str(entry.get("eventSourceARN")))
    shard, separator, _ = str(entry.get("eventID")).partition(":")
    return stream[1] if stream else UNKNOWN, shard if shard and separator else UNKNOWN
