"""The service as a Lambda function, invoked by a Kinesis event source mapping or an EventBridge pipe.

The mapping must have `FunctionResponseTypes: [ReportBatchItemFailures]`. It then uses the identifier in
`batchItemFailures` as its checkpoint: it delivers that record and all later ones again, and none before it.
Without the setting, Lambda ignores the response, and unsettled records are lost (docs/how-to/run-on-lambda.md).

The event of a pipe is a list of records, and the response names failed records by `eventID`. AWS does not document
whether a pipe repeats only the named records or all records from the first one on. Therefore the response names all
records from the first unsettled one on.
"""

import functools
import logging
import os
import random
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeAlias

from consumer import bootstrap, projections
from consumer.aws_lambda.deadline import Context, Deadline, UntilTimeRunsOut
from consumer.engine.archive import written
from consumer.engine.errors import ConsumerError, GaveUp
from consumer.engine.observed import ObservedQuarantine, ObservedRepository
from consumer.engine.processor import BatchResult, Processor
from consumer.engine.records import Position, Record, arrival_of
from consumer.engine.retry_policy import RetryPolicy
from consumer.monitoring import logs, metrics
from consumer.monitoring.emf import EmfSink
from consumer.settings import CoreSettings, load
from consumer.stores.aws import SHORT_TIMEOUTS
from consumer.stores.requests import RequestOutcome

# Lambda gives this import more CPU time than the first invocation.
projections.preload(os.environ)

log = logging.getLogger("consumer.lambda")

Answer: TypeAlias = dict[str, Any]
"""`batchItemFailures`, a list of `{"itemIdentifier": ...}`, and `state` in a tumbling window."""

SOURCE = "aws:kinesis"
SEQUENCE = re.compile(r"[0-9]{1,128}")
STREAM = re.compile(r":stream/([^/]+)")
"""The name in the ARN of a stream or of an enhanced fan-out consumer (`...:stream/NAME/consumer/...`)."""
WINDOW = "window"
"""The field that only the events of a mapping with tumbling windows have."""
UNKNOWN = "unknown"
"""The name of a stream or shard that is missing from the event."""


class MalformedInvocation(ConsumerError):
    """The event is not a batch of a Kinesis mapping or pipe. Lambda reports the invocation as failed."""


def write_line(line: str) -> None:
    """Writes a line to stdout. CloudWatch Logs collects stdout."""
    # One write, so that lines of several threads do not mix.
    sys.stdout.write(f"{line}\n")


class Function(Protocol):
    """What a Lambda function does with an invocation."""

    def handle(self, event: object, context: Context) -> Answer: ...


@dataclass(frozen=True, slots=True)
class LambdaConsumer:
    """The state of one container. Clients and the cache of limits are reused by later invocations.

    core    the processor and its stores
    write   writes one line of metrics
    sleep   sleeps for a number of seconds
    clock   returns monotonic seconds
    random  returns a random number from 0 to 1
    requests  the outcomes of requests to the stores that are not yet measured
    """

    core: Processor[Any, Any]
    write: Callable[[str], object] = write_line
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    requests: deque[RequestOutcome] = field(default_factory=deque)

    @classmethod
    def of(cls, settings: CoreSettings, write: Callable[[str], object] = write_line) -> Self:
        requests: deque[RequestOutcome] = deque()
        return cls(bootstrap.processor(settings, SHORT_TIMEOUTS, requests.append), write, requests=requests)

    def handle(self, event: object, context: Context) -> Answer:
        """Processes a batch. The response names no failure or the first record that is not settled.

        Raises MalformedInvocation before any record is processed, and BreakerOpen.
        """
        records = read(event)
        return _answer(event, self._process(records, context) if records else None)

    def _process(self, records: list[Record], context: Context) -> Position | None:
        """Returns the position of the first record that is not settled."""
        sink = EmfSink(self.write, bootstrap.now_millis, stream=records[0].position.stream)
        deadline = Deadline.of(context)
        retry_policy = UntilTimeRunsOut(deadline, self.sleep, self.random, lambda part: sink(metrics.RETRIES, 1, part))
        failed: Position | None = records[0].position
        try:
            self._archive(records, deadline, retry_policy, sink)
            for result in self._settle(records, deadline, retry_policy, sink):
                logs.log_batch(log, result, self.core.correlation_id)
                failed = result.unsettled
        except GaveUp:
            pass  # nothing may be settled that is not in the archive
        finally:
            flush(sink, self.requests)
        return failed

    def _archive(
        self, records: list[Record], deadline: Deadline, retry_policy: RetryPolicy, measure: metrics.Sink
    ) -> None:
        """Writes the records to the archive if there is one. Raises GaveUp.

        It comes first: if it came last and there was no time left for it, not even the settled records would count.
        """
        if self.core.archive:
            segment, start = self.core.archive.segment(), self.clock()
            segment.add(records)
            for size in written(segment, retry_policy, deadline.check):
                metrics.report(measure, metrics.of_object(size, self.clock() - start))
                start = self.clock()

    def _settle(
        self, records: list[Record], deadline: Deadline, retry_policy: RetryPolicy, measure: metrics.Sink
    ) -> Iterator[BatchResult]:
        """Processes the records in slices; measures and yields the result of each."""
        core = replace(
            self.core,
            repository=ObservedRepository(self.core.repository, deadline.check),
            quarantine=ObservedQuarantine(self.core.quarantine, deadline.check),
        )
        start = self.clock()
        for result in core.process_in_slices(records, retry_policy, lambda: not deadline.is_over()):
            now = self.clock()
            metrics.report(measure, metrics.of_batch(result, now - start, bootstrap.now_millis() / 1000))
            start = now
            yield result


def handler(event: object, context: Context) -> Answer:
    """The function's entry point: `consumer.aws_lambda.handler.handler`."""
    return invoke(container, event, context)


def invoke(container: Callable[[], Function], event: object, context: Context) -> Answer:
    """Handles an invocation; logs the exception that ends it, and raises it."""
    with logs.fields(request_id=context.aws_request_id):
        try:
            return container().handle(event, context)
        except Exception:
            log.exception("invocation failed")
            raise


def flush(sink: EmfSink, requests: deque[RequestOutcome]) -> None:
    """Writes the metrics of an invocation, those of its requests included."""
    # Threads of the stores append outcomes, so the deque is emptied one by one.
    while requests:
        metrics.report(sink, metrics.of_request(*requests.popleft()))
    sink.flush()


@functools.cache
def container() -> LambdaConsumer:
    """Creates the state of the container on the first invocation. Raises SettingsError."""
    settings = load(CoreSettings)
    logs.configure(settings.log_level)
    return LambdaConsumer.of(settings)


def read(event: object) -> list[Record]:
    """The records in the event of a Kinesis mapping or pipe, in order. Raises MalformedInvocation if one is invalid."""
    if isinstance(event, list):
        return [_piped(index, entry) for index, entry in enumerate(event)]
    entries = event.get("Records", [] if WINDOW in event else None) if isinstance(event, Mapping) else None
    if not isinstance(entries, list):
        raise MalformedInvocation("the event has no Records: invoke the function from a Kinesis event source mapping")
    return [_mapped(index, entry) for index, entry in enumerate(entries)]


def _answer(event: object, failed: Position | None) -> Answer:
    answer: Answer = {"batchItemFailures": [{"itemIdentifier": each} for each in _failures(event, failed)]}
    if isinstance(event, Mapping) and WINDOW in event:
        # The service stores nothing in it, but the mapping treats a response without it as a failure.
        answer["state"] = event.get("state") or {}
    return answer


def _failures(event: object, failed: Position | None) -> Sequence[str]:
    if failed is None:
        return []
    if not isinstance(event, list):
        return [failed.sequence]
    first = next(index for index, entry in enumerate(event) if entry["sequenceNumber"] == failed.sequence)
    return [entry["eventID"] for entry in event[first:]]


def _mapped(index: int, entry: object) -> Record:
    return _record(f"Records[{index}]", entry, "kinesis")


def _piped(index: int, entry: object) -> Record:
    """A record of a pipe. It has the fields of `kinesis` at the top level."""
    record = _record(f"[{index}]", entry)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("eventID"), str):
        raise MalformedInvocation(f"[{index}].eventID is missing: a pipe needs it to repeat failed records")
    return record


def _record(place: str, entry: object, part: str = "") -> Record:
    if not isinstance(entry, Mapping) or entry.get("eventSource") != SOURCE:
        raise MalformedInvocation(f"{place}.eventSource is not {SOURCE}")
    kinesis = entry.get(part) if part else entry
    sequence = kinesis.get("sequenceNumber") if isinstance(kinesis, Mapping) else None
    if not isinstance(kinesis, Mapping) or not isinstance(sequence, str) or not SEQUENCE.fullmatch(sequence):
        raise MalformedInvocation(f"{'.'.join(filter(None, (place, part)))}.sequenceNumber is not a sequence number")
    arrived_at = arrival_of(kinesis.get("approximateArrivalTimestamp"), unit_millis=1_000)
    return Record.from_base64(Position(*_origin(entry), sequence), kinesis.get("data"), arrived_at)


def _origin(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Stream and shard, which only appear in logs and the quarantine. Without them a record is processed as well."""
    stream = STREAM.search(str(entry.get("eventSourceARN")))
    shard, separator, _ = str(entry.get("eventID")).partition(":")
    return stream[1] if stream else UNKNOWN, shard if shard and separator else UNKNOWN
