"""EventBridge pipes: batches as a pipe hands them to a Lambda function, and what it repeats after an answer."""

from collections.abc import Iterable, Sequence
from typing import Any

from consumer.engine.records import Record
from tests.support.driven.invocations import LambdaEvent, entry


def piped(records: Iterable[Record]) -> list[LambdaEvent]:
    """A pipe's batch, after the example in AWS's documentation: the two halves of a mapping's record in one."""
    return [_flat(entry(record)) for record in records]


def _flat(mapped: LambdaEvent) -> LambdaEvent:
    return {**mapped["kinesis"], **{name: value for name, value in mapped.items() if name != "kinesis"}}


def repeated_by_name(batch: Sequence[LambdaEvent], answer: Any) -> list[LambdaEvent]:
    """What comes again when a pipe repeats the records that are named."""
    named = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
    assert named <= {each["eventID"] for each in batch}
    return [each for each in batch if each["eventID"] in named]


def repeated_from_the_first(batch: Sequence[LambdaEvent], answer: Any) -> list[LambdaEvent]:
    """What comes again when a pipe goes on at the first record that is named, as a mapping does."""
    named = repeated_by_name(batch, answer)
    return list(batch[batch.index(named[0]) :]) if named else []
