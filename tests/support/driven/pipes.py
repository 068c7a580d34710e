"""EventBridge pipes: the batches that a pipe passes to a Lambda function, and what it retries after a response."""

from collections.abc import Iterable, Sequence
from typing import Any

from consumer.engine.records import Record
from tests.support.driven.invocations import LambdaEvent, entry


def piped(records: Iterable[Record]) -> list[LambdaEvent]:
    """A pipe's batch, after the example in AWS's documentation: the fields of a mapping's record on one level."""
    return [_flat(entry(record)) for record in records]


def _flat(mapped: LambdaEvent) -> LambdaEvent:
    return {**mapped["kinesis"], **{name: value for name, value in mapped.items() if name != "kinesis"}}


def repeated_by_name(batch: Sequence[LambdaEvent], answer: Any) -> list[LambdaEvent]:
    """What is delivered again if a pipe retries only the named records."""
    named = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
    assert named <= {each["eventID"] for each in batch}
    return [each for each in batch if each["eventID"] in named]


def repeated_from_the_first(batch: Sequence[LambdaEvent], answer: Any) -> list[LambdaEvent]:
    """What is delivered again if a pipe continues at the first named record, as a mapping does."""
    named = repeated_by_name(batch, answer)
    return list(batch[batch.index(named[0]) :]) if named else []
