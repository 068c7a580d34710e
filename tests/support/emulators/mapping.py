"""A simulated Kinesis event source mapping of Lambda, after AWS's documentation, for one shard or one lane of it.

How it handles a response:
- none, null, `{}`, no or an empty or null list of failures: the batch is done;
- failures: the lowest sequence number is the checkpoint, and all records from that one on are delivered again;
- an identifier that is empty, null, misspelt or not of the batch: the whole batch failed;
- without ReportBatchItemFailures the response is ignored, and the batch is done;
- an error or a timeout of the function: the whole batch failed.

A batch that failed as a whole is halved first, if bisecting is on, which does not use up a retry. Records that are too
old, or were retried too often, go to the on-failure destination.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.engine.records import Record
from tests.support.driven.invocations import Clock, LambdaEvent, event

FOR_EVER = -1
BETWEEN_TRIES = 1.0
"""Seconds. AWS does not document its backoff."""


class FunctionFailed(Exception):
    """The function raised an error or timed out."""


@dataclass(frozen=True)
class Settings:
    """The settings of a mapping, named as in AWS. Ages are seconds since a record's arrival."""

    batch_size: int = 100
    report_batch_item_failures: bool = True
    bisect_batch_on_function_error: bool = True
    maximum_retry_attempts: int = FOR_EVER
    maximum_record_age: float = FOR_EVER


@dataclass(frozen=True)
class Batch:
    records: Sequence[Record]
    tries: int = 0


@dataclass
class Mapping:
    """`done`: the settled records. `discarded`: the records sent to the on-failure destination."""

    invoke: Callable[[LambdaEvent], object]
    clock: Clock
    settings: Settings = Settings()
    done: list[Record] = field(default_factory=list)
    discarded: list[Record] = field(default_factory=list)
    batches: list[Sequence[Record]] = field(default_factory=list)
    """The records of every invocation."""

    def drain(self, shard: Sequence[Record]) -> None:
        """Delivers all records of the shard."""
        for _ in self.steps(shard):
            pass

    def steps(self, shard: Sequence[Record]) -> Iterator[None]:
        """Like `drain`, pausing after each invocation."""
        size = self.settings.batch_size
        for start in range(0, len(shard), size):
            yield from self._deliver(Batch(shard[start : start + size]))

    def _deliver(self, whole: Batch) -> Iterator[None]:
        waiting = [whole]
        while waiting:
            batch = self._young(waiting.pop())
            if batch.records:
                waiting += reversed(self._try(batch))
                yield

    def _young(self, batch: Batch) -> Batch:
        """Discards the records that are too old and returns the rest of the batch."""
        if self.settings.maximum_record_age == FOR_EVER:
            return batch
        oldest = self.clock() - self.settings.maximum_record_age
        self.discarded += [record for record in batch.records if record.arrived_at / 1000 < oldest]
        return Batch([record for record in batch.records if record.arrived_at / 1000 >= oldest], batch.tries)

    def _try(self, batch: Batch) -> list[Batch]:
        """Invokes the function once and returns the batches to deliver again, in order."""
        settled = self._settled(batch.records)
        self.done += batch.records[: settled or 0]
        left = batch.records[settled or 0 :]
        if not left:
            return []
        self.clock.sleep(BETWEEN_TRIES)
        if self.settings.bisect_batch_on_function_error and settled is None and len(left) > 1:
            middle = len(left) // 2
            return [Batch(left[:middle], batch.tries), Batch(left[middle:], batch.tries)]
        if 0 <= self.settings.maximum_retry_attempts <= batch.tries:
            self.discarded += left
            return []
        return [Batch(left, batch.tries + 1)]

    def _settled(self, records: Sequence[Record]) -> int | None:
        """How many records, from the first on, an invocation settles; None if the whole batch failed."""
        self.batches.append(records)
        try:
            answer = self.invoke(event(records))
        except FunctionFailed:
            return None
        if not self.settings.report_batch_item_failures:
            return len(records)
        return checkpoint(answer, [record.position.sequence for record in records])


def checkpoint(answer: Any, sequences: Sequence[str]) -> int | None:
    """How many records, from the first on, are settled according to the response; None if the whole batch failed."""
    failures = (answer or {}).get("batchItemFailures") or []
    identifiers = [failure.get("itemIdentifier") for failure in failures]
    if not identifiers:
        return len(sequences)
    if not all(identifier in sequences for identifier in identifiers):
        return None
    return min(sequences.index(identifier) for identifier in identifiers)
