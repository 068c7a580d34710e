"""The record processor that the MultiLangDaemon starts, one process a shard.

amazon_kclpy swallows what a callback raises and reports success, and the next checkpoint passes over the batch. So
nothing leaves a callback: a fault is waited for inside, or it ends the process with an exit code. The daemon then
ends too, and the supervisor starts it again from the last checkpoint.
"""

import functools
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec

from amazon_kclpy import dispatch, kcl
from amazon_kclpy.checkpoint_error import CheckpointError
from amazon_kclpy.v3 import processor as v3

from consumer.engine.checkpoints import CheckpointPolicy, CheckpointState
from consumer.engine.errors import ConsumerError, GaveUp, Unavailable
from consumer.engine.observed import ObservedQuarantine, ObservedRepository
from consumer.engine.processor import BatchResult, Processor
from consumer.engine.records import Position, Record, arrival_of
from consumer.engine.retry import Backoff, persist
from consumer.engine.stream import Ending, Stream
from consumer.kcl.pipes import Pipes
from consumer.kcl.retry import Runtime, UntilStopped, Within
from consumer.monitoring import logs, metrics

log = logging.getLogger("consumer.kcl")

Input = ParamSpec("Input")

MADE = "made"
LEASE_GONE = "ShutdownException"
REFUSED = "refused"
RETRIED = frozenset({"ThrottlingException", "KinesisClientLibDependencyException", "RuntimeException"})
"""Answers to a checkpoint, as KCL's exception classes. Any other is counted as REFUSED, and a reason to leave.

A bare RuntimeException is what KCL makes of a DynamoDB that cannot be reached, or of credentials it cannot get.
"""
_OPTIONAL: Mapping[str, object] = {"data": None, "partitionKey": None, "subSequenceNumber": 0}
"""What amazon_kclpy demands of a record besides its sequence number. Without data it is quarantined."""
ANSWERS = (MADE, LEASE_GONE, REFUSED, *sorted(RETRIED))


@dataclass(frozen=True, slots=True)
class ShardRules:
    """When to checkpoint, and how long, in seconds, things may take.

    batch_deadline  how long a batch may still try once a stop was asked for
    patience        how long a checkpoint is tried that may wait for the next batch
    shard_end       how long the checkpoint at the end of a shard is tried, which may not; and how long the stream is
                    asked before whether it is the end
    keep_alive      how long the daemon hears nothing during a batch
    """

    checkpoints: CheckpointPolicy
    batch_deadline: float
    retry_policy: float = 2.0
    shard_end: float = 60.0
    keep_alive: float = 30.0


@dataclass(slots=True)
class Delivery:
    """A batch under way. `heard`: when the daemon last heard of it; times are of the monotonic clock."""

    checkpointer: Any
    behind_millis: int
    since: float
    heard: float


class NotCheckpointed(ConsumerError):
    """A checkpoint could not be made within its time."""


class CheckpointRefused(ConsumerError):
    """The daemon answered with what no further try would change. Ends the process."""


class NotTheEnd(ConsumerError):
    """The daemon tells of the end of a shard that has not ended."""


def guarded(
    callback: Callable[Concatenate["ShardConsumer", Input], None],
) -> Callable[Concatenate["ShardConsumer", Input], None]:
    """Whatever a callback raises ends the process: see the top of this module."""

    @functools.wraps(callback)
    def call(consumer: "ShardConsumer", /, *args: Input.args, **kwargs: Input.kwargs) -> None:
        try:
            callback(consumer, *args, **kwargs)
        except BaseException:
            log.critical("leaving", exc_info=True, extra={"shard": consumer.shard, "callback": callback.__name__})
            consumer.runtime.exit(1)

    return call


class ShardConsumer(v3.RecordProcessorBase):  # type: ignore[misc]
    """The life of one shard at this worker: initialize, any number of batches, then one of three ends."""

    def __init__(
        self, core: Processor[Any, Any], stream: Stream, rules: ShardRules, measure: metrics.Sink, runtime: Runtime
    ) -> None:
        self.runtime = runtime
        self.shard = ""
        self._core = replace(
            core,
            repository=ObservedRepository(core.repository, self._heartbeat_before),
            quarantine=ObservedQuarantine(core.quarantine, self._heartbeat_before),
        )
        self._stream = stream
        self._rules = rules
        self._measure = measure
        self._checkpoints = CheckpointState(last=runtime.clock())
        self._checkpointed: Position | None = None
        self._halfway: Position | None = None
        self._delivery: Delivery | None = None
        self._cut_off = False
        self._retry_policy = UntilStopped(runtime, rules.batch_deadline, self._heartbeat, self._count_wait)

    @guarded
    def initialize(self, initialize_input: Any) -> None:
        self.shard = initialize_input.shard_id
        after = initialize_input.sequence_number
        self._checkpointed = Position(self._stream.name, self.shard, after, initialize_input.sub_sequence_number or 0)
        if self._checkpointed.sub_sequence:
            self._halfway = self._checkpointed
        self._heartbeat()
        log.info("shard started", extra={"shard": self.shard, "after": after})
        self._look_for_trimmed(self._checkpointed)

    @guarded
    def process_records(self, process_records_input: Any) -> None:
        self._heartbeat()
        self._measure(metrics.LAST_BATCH, self.runtime.now(), self.shard)
        self._measure(metrics.BEHIND, (process_records_input.millis_behind_latest or 0) / 1000, self.shard)
        if self._cut_off:
            return  # what comes after an unsettled record must not be checkpointed
        with self._under_way(process_records_input.checkpointer, process_records_input.millis_behind_latest):
            self._finish_halfway()
            self._settle(process_records_input)
        if self._checkpoints.due(self._rules.checkpoints, self.runtime.clock()):
            self._checkpoint(process_records_input.checkpointer, self._rules.retry_policy)

    @guarded
    def lease_lost(self, _lease_lost_input: Any) -> None:
        self._core.known.forget()
        log.info("lease lost", extra={"shard": self.shard})

    @guarded
    def shard_ended(self, shard_ended_input: Any) -> None:
        if self._cut_off:
            raise NotCheckpointed("the shard ended with records unsettled")
        self._confirm_the_end()
        with self._under_way(shard_ended_input.checkpointer):
            self._finish_halfway()
        if self._cut_off:
            raise NotCheckpointed("the shard ended with records unsettled")
        # without this checkpoint KCL never starts the shard's children
        self._try(shard_ended_input.checkpointer, None, self._rules.shard_end)
        log.info("shard ended", extra={"shard": self.shard})

    @guarded
    def shutdown_requested(self, shutdown_requested_input: Any) -> None:
        if self._checkpoints.settled:
            self._checkpoint(shutdown_requested_input.checkpointer, self._rules.batch_deadline)
        log.info("shutdown requested", extra={"shard": self.shard, "cut_off": self._cut_off})

    @contextmanager
    def _under_way(self, checkpointer: Any, behind_millis: int | None = None) -> Iterator[None]:
        """Until it ends, the daemon is kept from timing out, and the lag grows."""
        start = self.runtime.clock()
        self._delivery = Delivery(checkpointer, behind_millis or 0, since=start, heard=start)
        yield
        self._delivery = None

    def _settle(self, batch: Any) -> None:
        if self._cut_off:
            return
        for result in self._results(map(self._record, batch.records), behind_millis=batch.millis_behind_latest):
            self._checkpoints = self._checkpoints.advance(result.settled, len(result.records))

    def _results(self, records: Iterable[Record], **about: object) -> Iterator[BatchResult]:
        """Processes the records; a result for each slice, measured and logged."""
        start = self.runtime.clock()
        for result in self._core.process_in_slices(records, self._retry_policy, self._go_on):
            now = self.runtime.clock()
            metrics.tell(self._measure, metrics.of_batch(result, now - start, self.runtime.now()))
            logs.tell_batch(log, result, self._core.correlation_id, **about)
            self._cut_off = result.unsettled is not None
            start = now
            yield result

    def _go_on(self) -> bool:
        """Whether to begin the next slice of a batch."""
        with suppress(GaveUp):
            self._heartbeat()
            return not self._retry_policy.deadline_exceeded()
        return False

    def _record(self, record: Any) -> Record:
        position = Position(self._stream.name, self.shard, record.sequence_number, record.sub_sequence_number or 0)
        return Record.from_base64(position, record.data, record.timestamp_millis)

    def _finish_halfway(self) -> None:
        """Settles the aggregate that an earlier version had checkpointed in its middle.

        It comes whole now, and KCL drops it as a record that was checkpointed. Replaying its first records is harmless.
        """
        if self._halfway is None:
            return
        halfway = self._halfway
        try:
            aggregate = persist("load", self._retry_policy, lambda: self._stream.record_at(halfway))
        except GaveUp:
            self._cut_off = True
            return
        about = {"shard": self.shard, "checkpoint": str(halfway)}
        if aggregate is None:
            log.error("the aggregate at the checkpoint is no longer kept: its last records may be lost", extra=about)
        else:
            log.info("replaying the aggregate at the checkpoint", extra=about)
            for _ in self._results([aggregate]):
                pass  # a checkpoint at it would go back
        self._halfway = self._halfway if self._cut_off else None

    def _look_for_trimmed(self, after: Position) -> None:
        """Tells when the record at the checkpoint is no longer kept: what came after it may be lost as well."""
        if not after.sequence.isdecimal():
            return  # the beginning of the shard, whichever record that is
        try:
            oldest = self._stream.oldest_from(after)
        except Unavailable as cause:
            log.warning("not known whether records were trimmed", extra={"shard": self.shard, "cause": str(cause)})
            return
        if oldest != after.sequence:
            self._measure(metrics.TRIMMED, 1)
            told = {"shard": self.shard, "checkpoint": after.sequence, "oldest": oldest}
            log.error("records may have been trimmed before they were read", extra=told)

    def _confirm_the_end(self) -> None:
        """KCL takes a stream that is gone for the end of its shards. Raises NotTheEnd; GaveUp when it is not known."""
        within = Within(self.runtime, self._rules.shard_end, self._heartbeat)
        ending = persist("stream", within, lambda: self._stream.ending(self.shard))
        if ending in (Ending.STREAM_GONE, Ending.OPEN):
            log.error(
                "told to end, but not checkpointed: %s",
                ending,
                extra={"shard": self.shard, "stream": self._stream.name},
            )
            raise NotTheEnd(f"{ending}: {self._stream.name}")
        if ending is Ending.UNLISTED:
            log.warning("%s: it ended long ago", ending, extra={"shard": self.shard, "stream": self._stream.name})

    def _checkpoint(self, checkpointer: Any, retry_policy: float) -> None:
        """At what is settled. Failing is no harm here: the next one, or a replay, makes up for it."""
        try:
            self._try(checkpointer, self._checkpoints.settled, retry_policy)
        except NotCheckpointed as failed:
            log.warning("not checkpointed", extra={"shard": self.shard, "cause": str(failed)})
        else:
            self._made(self._checkpoints.settled)

    def _made(self, position: Position | None) -> None:
        self._checkpointed = position
        self._checkpoints = self._checkpoints.done(self.runtime.clock())
        self._measure(metrics.LAST_CHECKPOINT, self.runtime.now(), self.shard)

    def _try(self, checkpointer: Any, position: Position | None, retry_policy: float) -> None:
        """Checkpoints at the position, None for the end of the shard, within `patience` seconds.

        Returns also when the lease is gone. Raises NotCheckpointed, and CheckpointRefused for what no retry helps.
        """
        backoff, until = Backoff(longest=2.0), self.runtime.clock() + retry_policy
        for attempt in itertools.count(1):
            answer = self._counted(checkpointer, position)
            if answer in (MADE, LEASE_GONE):
                return
            if self.runtime.clock() >= until:
                raise NotCheckpointed(f"{answer} after {attempt} tries")
            self._heartbeat()
            self.runtime.sleep(backoff.seconds(attempt, self.runtime.random()))

    def _counted(self, checkpointer: Any, position: Position | None) -> str:
        """What KCL answers, counted and timed. Raises CheckpointRefused."""
        start, answer = self.runtime.clock(), REFUSED
        try:
            answer = _ask(checkpointer, position)
        finally:
            self._measure(metrics.CHECKPOINTS, 1, answer)
            self._measure(metrics.CHECKPOINT_SECONDS, self.runtime.clock() - start)
        return answer

    def _heartbeat(self) -> None:
        """Raises GaveUp when the daemon says that the lease of a batch under way is gone."""
        self._measure(metrics.HEARTBEAT, self.runtime.now(), self.shard)
        if self._delivery:
            now = self.runtime.clock()
            behind = self._delivery.behind_millis / 1000 + now - self._delivery.since
            self._measure(metrics.BEHIND, behind, self.shard)
            if now - self._delivery.heard >= self._rules.keep_alive:
                self._keep_alive(self._delivery)

    def _keep_alive(self, delivery: Delivery) -> None:
        """Lets the daemon hear of us: it ends itself when a record processor is silent for too long.

        A checkpoint is all that can be said during a batch. At what is checkpointed already, KCL takes it for done.
        """
        settled = self._checkpoints.settled
        answer = _ask(delivery.checkpointer, settled or self._checkpointed)
        delivery.heard = self.runtime.clock()
        if answer == LEASE_GONE:
            log.warning("batch given up: the lease is gone", extra={"shard": self.shard})
            raise GaveUp("the lease is gone")
        if answer == MADE and settled:
            self._measure(metrics.CHECKPOINTS, 1, answer)
            self._made(settled)

    def _heartbeat_before(self, _part: str) -> None:
        """A store that is slow but answers must not look like a hang."""
        self._heartbeat()

    def _count_wait(self, part: str) -> None:
        self._measure(metrics.RETRIES, 1, part)


def _ask(checkpointer: Any, position: Position | None) -> str:
    """MADE, or one of the answers after which to ask again or to stop. Raises CheckpointRefused for the others."""
    try:
        if position is None:
            checkpointer.checkpoint()
        else:
            checkpointer.checkpoint(position.sequence, position.sub_sequence)
    except CheckpointError as refused:
        if refused.value in RETRIED or refused.value == LEASE_GONE:
            return str(refused.value)
        raise CheckpointRefused(str(refused.value)) from None
    return MADE


def serve(consumer: ShardConsumer, pipes: Pipes) -> None:
    """Speaks with the daemon until it closes the pipe."""
    process = kcl.KCLProcess(consumer, input_file=pipes.input, output_file=pipes.output)
    process.io_handler.load_action = _action
    process.run()


def _action(line: str) -> Any:
    """As amazon_kclpy reads a line of the daemon, but for records that lack what only informs: it would fail."""
    message = json.loads(line)
    if "records" in message:
        message["records"] = [_delivered(record) for record in message["records"]]
    return dispatch.message_decode(message)


def _delivered(record: Mapping[str, Any]) -> Any:
    arrival = arrival_of(record.get("approximateArrivalTimestamp"))
    return dispatch.message_decode({**_OPTIONAL, **record, "approximateArrivalTimestamp": arrival})
