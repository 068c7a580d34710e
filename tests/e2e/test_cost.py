"""What an event costs may not get worse: requests and writes exactly, CPU beside the sample shape within a wide bound.

`make bench` measures the same with more events and rounds.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from statistics import median

import pytest

from bench import load
from bench.child import Shape
from bench.contenders import SampleShape, Service
from bench.load import Event
from bench.runs import Cost, run
from bench.store import Store, in_memory

EVENTS = 4_000
BATCH = 1_000
STATEMENTS, GETS = 25, 100
"""The most statements and keys of a request."""
ROUNDS = 3
LEAST_CHEAPER = 2.0
LEAST_CHEAPER_BEHIND = 4.0
"""Half of what was measured on a loaded machine."""

MADE = load.realistic(EVENTS)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with in_memory() as running:
        yield running


def test_each_limit_of_a_batch_is_written_once_and_nothing_is_read(store: Store) -> None:
    cost = run(Service(), store, MADE, Shape(BATCH))

    limits = limits_of_batches(MADE.paid)
    assert cost.counts["written"] == cost.counts["statements"] == sum(limits)
    assert cost.counts["BatchExecuteStatement"] == requests(limits, STATEMENTS)
    assert reads(cost) == 0
    assert cost.counts.get("refused", 0) == 0


def test_behind_no_more_is_written_than_caught_up(store: Store) -> None:
    cost = run(Service(), store, MADE, Shape(BATCH, behind=True))

    limits = limits_of_batches(MADE.paid)
    assert len({key(event) for event in MADE.paid if key(event)}) <= cost.counts["written"] <= sum(limits)
    assert cost.counts["BatchExecuteStatement"] <= requests(limits, STATEMENTS)
    assert reads(cost) == 0


def test_a_replay_writes_nothing_and_reads_each_limit_of_a_batch_once(store: Store) -> None:
    cost = run(Service(), store, MADE, Shape(BATCH, behind=True), replay=True)

    assert cost.counts.get("written", 0) == cost.counts.get("statements", 0) == 0
    assert 0 < reads(cost) <= requests(limits_of_batches(MADE.paid), GETS)


def test_an_event_costs_a_fraction_of_the_sample_shape(store: Store) -> None:
    few = load.realistic(1_000)
    turns = [
        (
            run(SampleShape(), store, few, Shape(BATCH)).micros,
            run(Service(), store, MADE, Shape(BATCH)).micros,
            run(Service(), store, MADE, Shape(10_000, behind=True)).micros,
        )
        for _ in range(ROUNDS)
    ]

    assert median(peer / caught_up for peer, caught_up, _ in turns) >= LEAST_CHEAPER
    assert median(peer / behind for peer, _, behind in turns) >= LEAST_CHEAPER_BEHIND


def limits_of_batches(events: Sequence[Event]) -> list[int]:
    """How many distinct limits the events of each batch change."""
    parts = (events[start : start + BATCH] for start in range(0, len(events), BATCH))
    return [len({key(event) for event in part if key(event)}) for part in parts]


def key(event: Event) -> str | None:
    found: str | None = event["payload"].get("userLimitId")
    return found


def requests(limits: Iterable[int], most: int) -> int:
    return sum(ceil(count / most) for count in limits)


def reads(cost: Cost) -> int:
    return cost.counts.get("BatchGetItem", 0) + cost.counts.get("GetItem", 0)
