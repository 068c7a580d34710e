"""However the events of a history are delivered, it ends in one state, and that is the oracle's."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.folding import Outcome
from consumer.limits.sample import Sample
from consumer.limits.sample import histories as lifelike
from tests.property.strategies import NOW, deliveries, histories
from tests.support import oracle
from tests.support.core import Core, UnsteadyRepository, memory
from tests.support.events import Event

CACHES = pytest.mark.parametrize("cached", [0, 1, 10_000], ids=["no cache", "a cache of one", "a cache of all"])


def kept(core: Core, events: list[Event], now: int = NOW) -> dict[oracle.Key, dict[str, Any]]:
    users = {event["aggregateId"] for event in events}
    return {(user, name): limit for user in users for name, limit in core.limits(user, now).items()}


@CACHES
@given(st.data(), histories())
def test_any_order_any_duplication_any_batches(cached: int, data: st.DataObject, events: list[Event]) -> None:
    core = Core(cached=cached)
    for batch in data.draw(deliveries(events)):
        delivered = core.deliver(*batch)
        assert delivered.unsettled is None
        assert delivered.outcomes.total() == len(batch)
        assert not delivered.outcomes[Outcome.QUARANTINED]
    assert kept(core, events) == oracle.expected(events, NOW)


@CACHES
@given(st.data(), histories())
def test_two_processors_with_interleaved_batches(cached: int, data: st.DataObject, events: list[Event]) -> None:
    table = memory()
    workers = [Core(table, cached=cached), Core(table, cached=cached)]
    for batch in data.draw(deliveries(events)):
        data.draw(st.sampled_from(workers)).deliver(*batch)
    assert kept(workers[0], events) == oracle.expected(events, NOW)


@given(st.data(), histories())
def test_two_processors_of_which_one_writes_while_the_other_is_about_to(
    data: st.DataObject, events: list[Event]
) -> None:
    table = memory()
    zombie, late = Core(table), iter(data.draw(deliveries(events)))
    owner = Core(UnsteadyRepository(table, before_save=lambda: zombie.deliver(*next(late, ()))))
    for batch in data.draw(deliveries(events)):
        owner.deliver(*batch)
    assert kept(owner, events) == oracle.expected(events, NOW)


@CACHES
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_lifelike_stream_shuffled(cached: int, seed: int, shuffling: int) -> None:
    core, samples = Core(cached=cached), list(lifelike(Random(seed), 80, 3, duplicates=0.1, poison=0.1))
    events = [sample.event for sample in samples if sample.event]
    Random(shuffling).shuffle(samples)
    for start in range(0, len(samples), 15):
        check_outcomes(core, samples[start : start + 15])
    now = max(event["createdAt"] for event in events)
    assert kept(core, events, now) == oracle.expected(events, now)


def check_outcomes(core: Core, batch: list[Sample]) -> None:
    """What is poison is quarantined for the reason foreseen, and nothing else is."""
    delivered = core.deliver(*(sample.data for sample in batch))
    found = [verdict.rejected.reason if verdict and verdict.rejected else None for verdict in delivered.verdicts]
    assert found == [sample.poison_reason for sample in batch]
