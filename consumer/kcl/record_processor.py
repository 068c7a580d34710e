"""The record processor that the MultiLangDaemon starts, one process per shard.

amazon_kclpy swallows an exception from a callback and reports success to the daemon. The next checkpoint would skip the
batch. Therefore no exception leaves a callback: it is either retried inside, or it ends the process with an exit code.
The daemon then exits too, and the supervisor restarts it from the last checkpoint.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, ParamSpec, TypeAlias

from amazon_kclpy import kcl
from amazon_kclpy.checkpoint_error import CheckpointError
from amazon_kclpy.v3 import processor as v3

from consumer.engine.archive import ArchivePolicy, Archiving, Segment, written
from consumer.engine.checkpoints import CheckpointPolicy, CheckpointState
from consumer.engine.errors import ConsumerError, GaveUp, Unavailable
from consumer.engine.gathering import Gathered, GatheringPolicy
from consumer.engine.observed import ObservedQuarantine, ObservedRepository
from consumer.engine.processor import BatchResult, Processor
from consumer.engine.records import Position, Record, arrival_of
from consumer.engine.retry_policy import Backoff, RetryPolicy, persist
from consumer.engine.stream import Ending, Stream
from consumer.kcl.messages import AnyDelivered, decode
from consumer.kcl.pipes import Pipes
from consumer.kcl.retry import Runtime, UntilMessage, UntilStopped, Within
from consumer.monitoring import logs, metrics

log = logging.getLogger("consumer.kcl")

Input = ParamSpec("Input")
Report: TypeAlias = Callable[[Iterable[metrics.Measurement]], None]

MADE = "made"
LEASE_GONE = "ShutdownException"
REFUSED = "refused"
RETRIED = frozenset({"ThrottlingException", "KinesisClientLibDependencyException", "RuntimeException"})
"""Results of a checkpoint, named after KCL's exceptions. Any other exception counts as REFUSED and ends the process.

KCL raises a bare RuntimeException if DynamoDB cannot be reached or if there are no credentials.
"""
LATEST = "LATEST"
"""KCL's checkpoint of a shard that starts at the tip of the stream."""
ANSWERS = (MADE, LEASE_GONE, REFUSED, *sorted(RETRIED))


@dataclass(frozen=True, slots=True)
class ShardRules:
    """When to checkpoint, when to process, and timeouts in seconds.

    batch_deadline      how long a batch may continue after a shutdown was requested
    checkpoint_timeout  how long a checkpoint is retried after a batch; after that, the next batch makes it
    shard_end           how long the end of a shard is confirmed, and then how long its checkpoint is retried; there is
                        no next batch to make it
    keep_alive          the longest silence towards the daemon during a batch
    """

    checkpoints: CheckpointPolicy
    batch_deadline: float
    checkpoint_timeout: float = 2.0
    shard_end: float = 60.0
    keep_alive: float = 30.0
    gathering: GatheringPolicy = field(default_factory=GatheringPolicy)
    archiving: ArchivePolicy = field(default_factory=ArchivePolicy)


@dataclass(slots=True)
class Delivery:
    """A batch that is being processed.

    since       when it was delivered, in monotonic seconds
    last_heard  when the daemon last received a message about it
    """

    checkpointer: Any
    behind_millis: int
    since: float
    last_heard: float


class NotCheckpointed(ConsumerError):
    """A checkpoint was not made within its timeout."""


class CheckpointRefused(ConsumerError):
    """The daemon refused a checkpoint with an error that a retry cannot fix. Ends the process."""


class EndNotConfirmed(ConsumerError):
    """The daemon reported the end of a shard that has not ended. Ends the process."""


def guarded(
    callback: Callable[Concatenate["ShardConsumer", Input], None],
) -> Callable[Concatenate["ShardConsumer", Input], None]:
    """Shows that a callback runs, and ends the process if it raises an exception: see the module docstring."""

    @functools.wraps(callback)
    def call(consumer: "ShardConsumer", /, *args: Input.args, **kwargs: Input.kwargs) -> None:
        try:
            with consumer.busy():
                callback(consumer, *args, **kwargs)
        except BaseException:
            # SystemExit and KeyboardInterrupt too: amazon_kclpy would report success for them as well.
            log.critical("exiting", exc_info=True, extra={"shard": consumer.shard, "callback": callback.__name__})
            consumer.runtime.exit(1)

    return call


class ShardConsumer(v3.RecordProcessorBase):  # type: ignore[misc]
    """Processes one shard at this worker: initialize, any number of batches, then one of three endings.

    If the core has an archive, a checkpoint passes no record that is not written to it.
    """

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
        self._report: Report = functools.partial(metrics.report, measure)
        self._archiving = Archiving.of(core.archive, rules.archiving) if core.archive else None
        self._checkpoints = CheckpointState(last=runtime.clock(), archives=core.archive is not None)
        self._checkpointed: Position | None = None
        self._mid_aggregate: Position | None = None
        self._gathered = Gathered()
        self._delivery: Delivery | None = None
        self._cut_off = False
        self._retry_policy = UntilStopped(runtime, rules.batch_deadline, self._heartbeat, self._count_wait)

    @guarded
    def initialize(self, initialize_input: Any) -> None:
        self.shard = initialize_input.shard_id
        after = initialize_input.sequence_number
        self._checkpointed = Position(self._stream.name, self.shard, after, initialize_input.sub_sequence_number or 0)
        if self._checkpointed.sub_sequence:
            self._mid_aggregate = self._checkpointed
        self._measure_busy(1)
        self._measure(metrics.SHARD_START, self.runtime.now(), self.shard)
        log.info("shard started", extra={"shard": self.shard, "after": after})
        self._check_trimmed(self._checkpointed)

    @guarded
    def process_records(self, process_records_input: Any) -> None:
        self._measure(metrics.LAST_BATCH, self.runtime.now(), self.shard)
        self._measure(metrics.BEHIND, (process_records_input.millis_behind_latest or 0) / 1000, self.shard)
        if self._cut_off:
            return  # a checkpoint after an unsettled record would skip it
        behind_millis, now = process_records_input.millis_behind_latest or 0, self.runtime.clock()
        self._take(process_records_input.records, now)
        with self._processing(process_records_input.checkpointer, behind_millis):
            if not self._gathered.may_wait(self._rules.gathering, behind_millis / 1000, now):
                self._settle(self._retry_policy)
            if self._is_archive_due():
                self._write_archive()
        if self._checkpoints.due(self._rules.checkpoints, self.runtime.clock()):
            self._checkpoint(process_records_input.checkpointer, self._rules.checkpoint_timeout)

    @guarded
    def lease_lost(self, _lease_lost_input: Any) -> None:
        self._core.known.forget()
        self._gathered = Gathered()
        if self._archiving:
            self._archiving.drop()
        log.info("lease lost", extra={"shard": self.shard})

    @guarded
    def shard_ended(self, shard_ended_input: Any) -> None:
        if self._cut_off:
            raise NotCheckpointed("the shard ended with records unsettled")
        self._confirm_end()
        with self._processing(shard_ended_input.checkpointer):
            self._settle(self._retry_policy)
            self._write_archive()
        if self._cut_off:
            raise NotCheckpointed("the shard ended with records unsettled")
        # Without this checkpoint KCL never starts the child shards, so it must succeed or the process must exit.
        self._checkpoint_within(shard_ended_input.checkpointer, None, self._rules.shard_end)
        log.info("shard ended", extra={"shard": self.shard})

    @guarded
    def shutdown_requested(self, shutdown_requested_input: Any) -> None:
        with self._processing(shutdown_requested_input.checkpointer):
            if self._gathered.records and not self._cut_off:
                self._settle(self._retry_policy)
            self._write_archive()
        if self._checkpoints.position:
            self._checkpoint(shutdown_requested_input.checkpointer, self._rules.batch_deadline)
        log.info("shutdown requested", extra={"shard": self.shard, "cut_off": self._cut_off})

    def seconds_to_settle(self) -> float | None:
        """How long to wait for a message before `settle_gathered` is due. None if no records are gathered."""
        if self._cut_off or not self._gathered.records:
            return None
        return max(0.0, self._gathered.seconds_left(self._rules.gathering, self.runtime.clock()))

    @guarded
    def settle_gathered(self, is_message_waiting: Callable[[], bool]) -> None:
        """Processes the gathered records while the daemon sends nothing, for instance because Kinesis is unavailable.

        Stops when a message comes, as the daemon must not wait for long. No checkpoint is possible outside a callback.
        """
        before, measured = (self._gathered, self._checkpoints), list[metrics.Measurement]()
        self._settle(UntilMessage(self._retry_policy, is_message_waiting), measured.extend)
        if self._cut_off:
            # The next callback begins again with the same records, and counts them. Settling them twice is harmless.
            self._cut_off = False
            self._gathered, self._checkpoints = before
            measured = [each for each in measured if each.metric in metrics.EFFORT]
        self._report(measured)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Within this context a silence is a hang. Otherwise it only means that the daemon sends nothing."""
        if self.shard:  # initialize sets it, and reports it itself
            self._measure_busy(1)
        yield
        self._measure_busy(0)

    def _measure_busy(self, busy: int) -> None:
        self._heartbeat()  # first: an old heartbeat must not be taken for a silence of this callback
        self._measure(metrics.BUSY, busy, self.shard)

    @contextmanager
    def _processing(self, checkpointer: Any, behind_millis: int | None = None) -> Iterator[None]:
        """Within this context, heartbeats keep the daemon from timing out and measure the growing lag."""
        start = self.runtime.clock()
        self._delivery = Delivery(checkpointer, behind_millis or 0, since=start, last_heard=start)
        yield
        self._delivery = None

    def _take(self, delivered: Iterable[AnyDelivered], now: float) -> None:
        records = [self._record(each) for each in delivered]
        self._gathered.add(records, now)
        if self._archiving:
            self._archiving.add(records, now)

    def _is_archive_due(self) -> bool:
        if not self._archiving or not self._checkpointed:
            return False
        # A shard that started at LATEST would start after these records if it had to start again.
        return self._archiving.is_due(self.runtime.clock()) or self._checkpointed.sequence == LATEST

    def _write_archive(self) -> None:
        """Writes what was delivered, settled or not, so that a checkpoint may pass it."""
        if self._archiving and not self._cut_off:
            self._write(self._archiving.segment, self._retry_policy)
            if not self._cut_off:
                self._checkpoints = self._checkpoints.archive(self._archiving.last)

    def _write(self, segment: Segment, retry_policy: RetryPolicy) -> None:
        start = self.runtime.clock()
        try:
            for size in written(segment, retry_policy, self._heartbeat_before):
                self._report(metrics.of_object(size, self.runtime.clock() - start))
                start = self.runtime.clock()
        except GaveUp:
            self._cut_off = True

    def _settle(self, retry_policy: RetryPolicy, report: Report | None = None) -> None:
        """Processes the gathered records, after the aggregate at the checkpoint if it must be replayed.

        `report` receives their measurements in place of the metrics.
        """
        self._replay_mid_aggregate(retry_policy)
        if self._cut_off:
            return
        gathered, self._gathered = self._gathered, Gathered()
        for result in self._results(gathered.records, retry_policy, report or self._report):
            self._checkpoints = self._checkpoints.advance(result.settled, len(result.records))

    def _results(self, records: Iterable[Record], retry_policy: RetryPolicy, report: Report) -> Iterator[BatchResult]:
        """Processes the records in slices; measures, logs and yields the result of each."""
        behind, start = self._delivery.behind_millis if self._delivery else None, self.runtime.clock()
        for result in self._core.process_in_slices(records, retry_policy, self._may_continue):
            now = self.runtime.clock()
            report(metrics.of_batch(result, now - start, self.runtime.now()))
            logs.log_batch(log, result, self._core.correlation_id, behind_millis=behind)
            # Set before the next slice starts. From then on, later records must not move the checkpoint.
            self._cut_off = result.unsettled is not None
            start = now
            yield result

    def _may_continue(self) -> bool:
        """Whether to start the next slice of a batch."""
        with suppress(GaveUp):
            self._heartbeat()
            return not self._retry_policy.deadline_exceeded()
        return False

    def _record(self, record: AnyDelivered) -> Record:
        sub_sequence = record.sub_sequence_number or 0
        position = Position(self._stream.name, self.shard, record.sequence_number, sub_sequence)
        arrived_at = arrival_of(record.approximate_arrival_timestamp)
        if isinstance(record.data, bytes):
            return Record(position, record.data, arrived_at)
        return Record.from_base64(position, record.data, arrived_at)

    def _replay_mid_aggregate(self, retry_policy: RetryPolicy) -> None:
        """Replays the aggregate in whose middle an earlier version of the service made its checkpoint.

        KCL now delivers aggregates whole. It skips this one, because the sequence number is checkpointed, although its
        last records were never settled. So it is read from the stream. Applying its first records again is harmless.
        """
        if self._mid_aggregate is None:
            return
        checkpoint = self._mid_aggregate
        try:
            aggregate = persist("load", retry_policy, lambda: self._stream.record_at(checkpoint))
        except GaveUp:
            self._cut_off = True
            return
        about = {"shard": self.shard, "checkpoint": str(checkpoint)}
        if aggregate is None:
            log.error("the aggregate at the checkpoint has expired: its last records may be lost", extra=about)
        else:
            log.info("replaying the aggregate at the checkpoint", extra=about)
            self._replay(aggregate, retry_policy)
        if not self._cut_off:
            self._mid_aggregate = None

    def _replay(self, aggregate: Record, retry_policy: RetryPolicy) -> None:
        if self._archiving:
            segment = self._archiving.archive.segment()  # its own one: the other holds later records by now
            segment.add([aggregate])
            self._write(segment, retry_policy)
        if not self._cut_off:
            for _ in self._results([aggregate], retry_policy, self._report):
                pass  # no checkpoint: at the aggregate it would move backwards

    def _check_trimmed(self, after: Position) -> None:
        """Logs an error if the record at the checkpoint has expired, because records after it may be lost as well."""
        if not after.sequence.isdecimal():
            return  # TRIM_HORIZON, LATEST or AT_TIMESTAMP: no record was read before
        try:
            oldest = self._stream.oldest_from(after)
        except Unavailable as cause:
            log.warning("cannot check whether records were trimmed", extra={"shard": self.shard, "cause": str(cause)})
            return
        if oldest != after.sequence:
            self._measure(metrics.TRIMMED, 1)
            about = {"shard": self.shard, "checkpoint": after.sequence, "oldest": oldest}
            log.error("records may have been trimmed before they were read", extra=about)

    def _confirm_end(self) -> None:
        """Checks with Kinesis that the shard has ended: KCL also reports the end of each shard of a deleted stream.

        Raises EndNotConfirmed if it has not ended, GaveUp if Kinesis does not respond.
        """
        within = Within(self.runtime, self._rules.shard_end, self._heartbeat)
        ending = persist("stream", within, lambda: self._stream.ending(self.shard))
        if ending in (Ending.STREAM_GONE, Ending.OPEN):
            log.error(
                "shard end reported but not confirmed; not checkpointing: %s",
                ending,
                extra={"shard": self.shard, "stream": self._stream.name},
            )
            raise EndNotConfirmed(f"{ending}: {self._stream.name}")
        if ending is Ending.UNLISTED:
            log.warning(
                "%s: the shard ended before the retention period",
                ending,
                extra={"shard": self.shard, "stream": self._stream.name},
            )

    def _checkpoint(self, checkpointer: Any, timeout: float) -> None:
        """Checkpoints as far as possible. A failure only means that more records are replayed after a restart."""
        try:
            self._checkpoint_within(checkpointer, self._checkpoints.position, timeout)
        except NotCheckpointed as failed:
            log.warning("checkpoint failed", extra={"shard": self.shard, "cause": str(failed)})
        else:
            self._checkpoint_made()

    def _checkpoint_made(self) -> None:
        self._checkpointed = self._checkpoints.position
        self._checkpoints = self._checkpoints.done(self.runtime.clock())
        self._measure(metrics.LAST_CHECKPOINT, self.runtime.now(), self.shard)

    def _checkpoint_within(self, checkpointer: Any, position: Position | None, timeout: float) -> None:
        """Checkpoints at the position, None for the end of the shard; retries for `timeout` seconds.

        Also returns if the lease is lost: the new owner makes the checkpoint. Raises NotCheckpointed and
        CheckpointRefused.
        """
        backoff, until = Backoff(longest=2.0), self.runtime.clock() + timeout
        for attempt in itertools.count(1):
            answer = self._measured_checkpoint(checkpointer, position)
            if answer in (MADE, LEASE_GONE):
                return
            if self.runtime.clock() >= until:
                raise NotCheckpointed(f"{answer} after {attempt} attempts")
            self._heartbeat()
            self.runtime.sleep(backoff.seconds(attempt, self.runtime.random()))

    def _measured_checkpoint(self, checkpointer: Any, position: Position | None) -> str:
        """Requests a checkpoint, counts and times it, and returns KCL's answer. Raises CheckpointRefused."""
        start, answer = self.runtime.clock(), REFUSED
        try:
            answer = _request_checkpoint(checkpointer, position)
        finally:
            self._measure(metrics.CHECKPOINTS, 1, answer)
            self._measure(metrics.CHECKPOINT_SECONDS, self.runtime.clock() - start)
        return answer

    def _heartbeat(self) -> None:
        """Shows that this process is alive. Raises GaveUp if the daemon reports that the lease of the batch is lost."""
        self._measure(metrics.HEARTBEAT, self.runtime.now(), self.shard)
        if self._delivery:
            now = self.runtime.clock()
            behind = self._delivery.behind_millis / 1000 + now - self._delivery.since
            self._measure(metrics.BEHIND, behind, self.shard)
            self._measure(metrics.LAST_BATCH, self.runtime.now(), self.shard)
            if now - self._delivery.last_heard >= self._rules.keep_alive:
                self._keep_alive(self._delivery)

    def _keep_alive(self, delivery: Delivery) -> None:
        """Sends the daemon a message, because it exits if a record processor is silent for too long.

        A checkpoint is the only message that the protocol allows during a batch. If nothing new is settled, the last
        checkpoint is repeated, which KCL accepts without effect.
        """
        position = self._checkpoints.position
        answer = _request_checkpoint(delivery.checkpointer, position or self._checkpointed)
        delivery.last_heard = self.runtime.clock()
        if answer == LEASE_GONE:
            log.warning("batch abandoned: the lease is lost", extra={"shard": self.shard})
            raise GaveUp("the lease is lost")
        # A throttled answer still reached the daemon, which is enough here. The checkpoint itself is made later.
        if answer == MADE and position:
            self._measure(metrics.CHECKPOINTS, 1, answer)
            self._checkpoint_made()

    def _heartbeat_before(self, _part: str) -> None:
        """A store that is slow but answers must not look like a hang."""
        self._heartbeat()

    def _count_wait(self, part: str) -> None:
        self._measure(metrics.RETRIES, 1, part)


def _request_checkpoint(checkpointer: Any, position: Position | None) -> str:
    """Requests a checkpoint. Returns MADE, LEASE_GONE or one of RETRIED; raises CheckpointRefused for other answers."""
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
    """Runs the protocol with the daemon until the daemon closes the pipe."""
    process = kcl.KCLProcess(consumer, input_file=pipes.input, output_file=pipes.output)
    process.io_handler.read_line = functools.partial(_next_line, consumer, pipes)
    process.io_handler.load_action = _decoded
    process.run()


def _next_line(consumer: ShardConsumer, pipes: Pipes) -> list[str]:
    """The next line, or nothing at the end.

    In a list, as amazon_kclpy keeps what it gets until the message is processed: a line may be many megabytes.
    """
    left = consumer.seconds_to_settle()
    if left is not None and not pipes.is_readable(left):
        consumer.settle_gathered(lambda: pipes.is_readable(0))
    return list(filter(None, [pipes.input.readline()]))


def _decoded(lines: list[str]) -> Any:
    """Takes the line out of the list, so that it is freed before its records are processed."""
    line = lines[0] if lines else ""
    lines[:] = [""]  # not empty: amazon_kclpy would take that for the end
    return decode(line)
