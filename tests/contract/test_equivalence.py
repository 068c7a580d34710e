"""The Lambda handler and the record processor write identical tables, byte for byte."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, NoReturn, TextIO, cast

import pytest

from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.quarantine import QuarantineStore
from consumer.engine.records import Position, Record
from consumer.engine.stream import BelievedStream
from consumer.kcl.pipes import Pipes
from consumer.kcl.record_processor import ShardConsumer, ShardRules, serve
from consumer.kcl.retry import Runtime
from consumer.limits.sample import Sample, histories
from consumer.monitoring.metrics import Metric
from tests.contract.conftest import Dynamo
from tests.support.driven.daemon import INITIALIZE, SHARD_ENDED, Daemon, Message, batch, delivered
from tests.support.driven.invocations import SUCCESS, Function, event
from tests.support.generators.events import position, record
from tests.support.generators.kpl import aggregate
from tests.support.simulation.core import Core

SAMPLES = 20_000
LAMBDA_BATCH, KCL_BATCH = 2_000, 5_000


@dataclass(frozen=True)
class Put:
    """A record in the stream: one sample, or an aggregate of several samples."""

    number: int
    samples: Sequence[Sample]

    def to_lambda(self) -> Record:
        """As the event source mapping delivers it: whole."""
        packed = [sample.data for sample in self.samples]
        return record(packed[0] if len(packed) == 1 else aggregate(*packed), self.number)

    def to_kcl(self) -> list[Message]:
        """As the daemon delivers it: unpacked."""
        sequence = {"sequenceNumber": position(self.number).sequence}
        return [delivered(self.number, sample.data, sub) | sequence for sub, sample in enumerate(self.samples)]


@pytest.fixture(scope="module")
def stream() -> list[Put]:
    random = Random(20_000)
    samples = iter(histories(random, SAMPLES, users=100, duplicates=0.05, poison=0.01))
    return list(packed(random, samples))


def packed(random: Random, samples: Iterator[Sample]) -> Iterator[Put]:
    """One record in ten is an aggregate of up to five samples."""
    for number in count(1):
        size = random.randint(2, 5) if random.random() < 0.1 else 1
        together = [sample for _, sample in zip(range(size), samples, strict=False)]
        if not together:
            return
        yield Put(number, together)


def through_lambda(stream: Sequence[Put], table: Dynamo) -> QuarantineStore:
    core = Core(table.limits())
    function = Function(core.processor)
    for start in range(0, len(stream), LAMBDA_BATCH):
        part = [put.to_lambda() for put in stream[start : start + LAMBDA_BATCH]]
        assert function.invoke(event(part)) == SUCCESS
    return core.quarantine


def through_the_record_processor(stream: Sequence[Put], table: Dynamo) -> QuarantineStore:
    core = Core(table.limits())
    messages = [message for put in stream for message in put.to_kcl()]
    batches = [batch(*messages[start : start + KCL_BATCH]) for start in range(0, len(messages), KCL_BATCH)]
    daemon = Daemon([INITIALIZE, *batches, SHARD_ENDED])
    rules = ShardRules(CheckpointPolicy(seconds=1, records=5_000), batch_deadline=5)
    pipe = cast("TextIO", daemon)
    serve(
        ShardConsumer(core.processor, BelievedStream("limits"), rules, unmeasured, runtime()),
        Pipes(pipe, pipe, daemon.is_readable),
    )
    assert daemon.done == ["initialize", *["processRecords"] * len(batches), "shardEnded"]
    return core.quarantine


def unmeasured(metric: Metric, value: float, *labels: str) -> None:
    """Discards metrics, which are not tested here."""


def runtime() -> Runtime:
    def leave(code: int) -> NoReturn:
        raise SystemExit(code)

    return Runtime(time.monotonic, time.time, time.sleep, lambda: 1.0, lambda: False, leave)


def items(table: Dynamo) -> bytes:
    """The raw items of a scan, sorted and in a canonical format."""
    pages = table.client().get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True)
    found: list[Any] = [item for page in pages for item in page["Items"]]
    found.sort(key=lambda item: (item["userId"]["S"], item["userLimitId"]["S"]))
    return json.dumps(found, sort_keys=True, indent=1).encode()


def quarantined(quarantine: QuarantineStore) -> list[tuple[Position, bytes]]:
    return [(entry.record.position, entry.record.data) for entry in quarantine.entries()]


def test_the_same_20000_records_leave_byte_equal_tables(
    stream: list[Put], dynamo: Dynamo, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Dynamo(dynamo.endpoint, dynamo.pool, dynamo.stack)
    other.create(("userId", "userLimitId"))
    of_lambda = through_lambda(stream, dynamo)
    of_kcl = through_the_record_processor(stream, other)
    one, two = items(dynamo), items(other)
    limits = one.count(b'"version"')

    assert one == two
    assert limits > 400
    poison = sum(1 for put in stream for sample in put.samples if sample.poison_reason)
    assert quarantined(of_lambda) == quarantined(of_kcl)
    assert len(quarantined(of_lambda)) == poison > 100
    with capsys.disabled():
        sys.stdout.write(f"\n{SAMPLES:,} records, {limits:,} limits: two tables of {len(one):,} equal bytes\n")
