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
LEAST_CHEAPER = 4.0
LEAST_CHEAPER_BEHIND = 8.0
"""Half of what was measured on a loaded machine."""

MADE = load.realistic(EVENTS)
GATHERING = Service(settings={"CONSUMER_GATHER_SECONDS": "600"})
"""Gathers all deliveries of a load, however slow the machine is."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with in_memory() as running:
        yield running


def test_each_limit_of_a_batch_is_written_once_and_nothing_is_read(store: Store) -> None:
    limits = limits_of_batches(BATCH)
    assert counted(run(Service(), store, MADE, Shape(BATCH))) == writes(limits)


def test_behind_each_limit_is_written_once_for_all_deliveries(store: Store) -> None:
    limits = limits_of_batches(EVENTS)
    assert counted(run(GATHERING, store, MADE, Shape(BATCH, behind=True))) == writes(limits)
    assert sum(limits) < sum(limits_of_batches(BATCH)) / 2


def test_a_replay_reads_each_limit_once_for_all_deliveries_and_writes_nothing(store: Store) -> None:
    limits = limits_of_batches(EVENTS)
    cost = run(GATHERING, store, MADE, Shape(BATCH, behind=True), replay=True)
    assert counted(cost) == {"BatchGetItem": requests(limits, GETS), "read": sum(limits)}


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


def counted(cost: Cost) -> dict[str, int]:
    """All requests by operation, and the items that they named, wrote, refused or read."""
    return {name: count for name, count in cost.counts.items() if count}


def writes(limits: Sequence[int]) -> dict[str, int]:
    """What is counted if each of these batches writes so many limits, all of them at the first attempt."""
    return {
        "BatchExecuteStatement": requests(limits, STATEMENTS),
        "statements": sum(limits),
        "written": sum(limits),
    }


def limits_of_batches(size: int) -> list[int]:
    """How many distinct limits the paid events of each batch change."""
    parts = (MADE.paid[start : start + size] for start in range(0, EVENTS, size))
    return [len({key(event) for event in part if key(event)}) for part in parts]


def key(event: Event) -> str | None:
    found: str | None = event["payload"].get("userLimitId")
    return found


def requests(limits: Iterable[int], most: int) -> int:
    return sum(ceil(count / most) for count in limits)
