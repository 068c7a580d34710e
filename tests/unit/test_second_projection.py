"""The engine keeps a projection that is not about limits: stock levels, in memory, through KCL and Lambda."""

from decimal import Decimal
from random import Random
from typing import NoReturn, TextIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.engine.processor import Processor
from consumer.engine.quarantine import InMemoryQuarantine
from consumer.engine.repository import InMemoryRepository
from consumer.engine.retry_policy import NoRetry
from consumer.engine.stream import BelievedStream
from consumer.kcl.pipes import Pipes
from consumer.kcl.record_processor import serve
from consumer.kcl.retry import Runtime
from consumer.monitoring.metrics import Metric
from examples.second_projection import Count, StockLevels, shard_consumer
from tests.support.driven.daemon import INITIALIZE, SHUTDOWN_REQUESTED, Daemon, batch, delivered
from tests.support.driven.invocations import SUCCESS, Function, event
from tests.support.generators.events import records

LEVELS = StockLevels()
MONDAY = 1767600000000

counts = st.builds(
    Count,
    warehouse=st.just("north"),
    product=st.just("p-7"),
    at=st.integers(0, 3),
    sheet=st.sampled_from(["s-1", "s-2"]),
    pieces=st.integers(0, 3),
)


def count(sheet: str, pieces: int, at: int = MONDAY, product: str = "p-7") -> Count:
    return Count(warehouse="north", product=product, at=at, sheet=sheet, pieces=pieces)


def encode(event: Count) -> bytes:
    return event.model_dump_json().encode()


class Shelf:
    """A processor of stock levels with stores in memory."""

    def __init__(self) -> None:
        self.kept: InMemoryRepository[Count] = InMemoryRepository(LEVELS)
        self.quarantine = InMemoryQuarantine()
        self.core: Processor[Count, Count] = Processor(LEVELS, self.kept, self.quarantine, lambda: 0.0)

    def take(self, *data: bytes) -> list[Outcome]:
        record_outcomes = self.core.process(records(*data), NoRetry()).record_outcomes
        return [record_outcome.outcome for record_outcome in record_outcomes if record_outcome]


def test_the_latest_count_is_kept_for_each_product() -> None:
    shelf = Shelf()
    monday, tuesday, other = count("s-1", 12), count("s-2", 9, MONDAY + 86_400_000), count("s-3", 4, product="p-8")
    outcomes = shelf.take(*map(encode, (tuesday, monday, tuesday, other)))
    assert outcomes == [Outcome.APPLIED, Outcome.STALE, Outcome.DUPLICATE, Outcome.APPLIED]
    assert shelf.kept.partition("north") == [tuesday, other]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no JSON", Reason.JSON),
        (encode(count("s-1", 1)).replace(b'"pieces":1', b'"pieces":-1'), Reason.SCHEMA),
        (encode(count("s-1", 1)).replace(b'"s-1"', b'"\\ud800"'), Reason.SCHEMA),
    ],
)
def test_an_invalid_count_is_quarantined_and_others_are_applied(data: bytes, reason: Reason) -> None:
    shelf = Shelf()
    assert shelf.take(data, encode(count("s-1", 12))) == [Outcome.QUARANTINED, Outcome.APPLIED]
    assert [entry.reason for entry in shelf.quarantine.entries()] == [reason]


@given(counts, counts, counts)
def test_merging_is_commutative_associative_and_idempotent(one: Count, two: Count, three: Count) -> None:
    merge = LEVELS.merge
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == one


@given(st.lists(counts, min_size=1), st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_and_any_batches_end_in_the_same_state(events: list[Count], random: Random, size: int) -> None:
    shelf, shuffled = Shelf(), random.sample(events, len(events))
    for start in range(0, len(events), size):
        shelf.take(*map(encode, shuffled[start : start + size]))
    assert shelf.kept.partition("north") == [max(events, key=lambda event: (event.at, event.sheet, event.pieces))]


@given(counts)
def test_a_stored_count_is_the_count_that_was_stored(kept: Count) -> None:
    attributes = {
        name: Decimal(value) if isinstance(value, int) else value for name, value in LEVELS.dump(kept).items()
    }
    assert LEVELS.load(attributes) == kept
    assert set(LEVELS.key_names) <= attributes.keys()


def test_the_record_processor_keeps_it_too() -> None:
    shelf, monday = Shelf(), count("s-1", 12)
    delivery = batch(delivered(1, encode(monday)), delivered(2, b"poison"))
    daemon = Daemon([INITIALIZE, delivery, SHUTDOWN_REQUESTED])
    pipe = cast("TextIO", daemon)
    serve(
        shard_consumer(BelievedStream("counts"), shelf.kept, shelf.quarantine, discard, frozen_runtime()),
        Pipes(pipe, pipe, daemon.is_readable),
    )
    assert daemon.done == ["initialize", "processRecords", "shutdownRequested"]
    assert daemon.made == [("2", 0)]
    assert shelf.kept.partition("north") == [monday]
    assert [entry.record.data for entry in shelf.quarantine.entries()] == [b"poison"]


def test_the_lambda_handler_keeps_it_too() -> None:
    shelf, monday = Shelf(), count("s-1", 12)
    function = Function(shelf.core)
    assert function.invoke(event(records(encode(monday), b"poison"))) == SUCCESS
    assert shelf.kept.partition("north") == [monday]
    assert [entry.record.data for entry in shelf.quarantine.entries()] == [b"poison"]
    assert any('"STOCK_COUNTED"' in line for line in function.lines)


def discard(metric: Metric, value: float, *labels: str) -> None:
    """Discards metrics, which are not tested here."""


def frozen_runtime() -> Runtime:
    """A runtime in which no time passes and no stop is requested."""

    def leave(code: int) -> NoReturn:
        raise AssertionError(f"the record processor left with {code}")

    return Runtime(lambda: 0.0, lambda: 0.0, lambda _: None, lambda: 0.0, lambda: False, leave)
