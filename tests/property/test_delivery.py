"""Any delivery of a history's events leads to the same state, and the oracle computes the same one."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.limits.sample import Sample
from consumer.limits.sample import histories as lifelike
from tests.property.strategies import FAR_SEQUENCES, NOW, deliveries, histories
from tests.support.generators import oracle
from tests.support.generators.events import Event, created, encode
from tests.support.generators.spoiled import with_field
from tests.support.simulation.core import Core, FlakyRepository, memory

CACHES = pytest.mark.parametrize("cached", [0, 1, 10_000], ids=["no cache", "a cache of one", "a cache of all"])
POISON = st.sampled_from([b"", b"poison", b"null", b"{}", b"\xff", encode(created(1) | {"aggregateId": "u-other"})])


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
@given(st.data(), histories(sequences=FAR_SEQUENCES), st.lists(POISON, max_size=4))
def test_the_set_of_records_decides_the_limits_and_the_quarantine(
    cached: int, data: st.DataObject, events: list[Event], poison: list[bytes]
) -> None:
    """Two deliveries with different orders, duplicates and batches. The only exception is IDENTITY."""
    ends = []
    for _ in range(2):
        core = Core(cached=cached)
        for batch in data.draw(deliveries([*map(encode, events), *poison])):
            assert core.deliver(*batch).unsettled is None
        assert kept(core, events) == oracle.expected(events, NOW)
        ends.append({(entry.record.data, entry.reason, entry.detail) for entry in core.quarantine.entries()})
    assert ends[0] == ends[1]
    too_high = {encode(event) for event in events if event["sequenceNumber"] > oracle.CEILING}
    assert {data for data, reason, _ in ends[0] if reason == Reason.SEQUENCE} == too_high


@pytest.mark.parametrize("field", ["brandId", "currencyCode"])
@given(histories(size=4), histories(size=4))
def test_the_one_exception_is_identity(field: str, some: list[Event], others: list[Event]) -> None:
    """The first event decides brand and currency: amounts of two currencies must never be mixed in one limit."""
    mixed = [with_field(event, ("payload", field), "EUR") for event in others]
    mixed = [event for event in mixed if limit_of(event) in set(map(limit_of, some))]
    for first, later in ((some, mixed), (mixed, some)):
        core, claimed = Core(), set(map(limit_of, first))
        core.deliver(*first)
        delivered = core.deliver(*later)
        refused = [event for event in later if limit_of(event) in claimed]
        assert delivered.reasons[Reason.IDENTITY] == len(refused)
        assert [entry.record.data for entry in delivered.quarantined] == list(map(encode, refused))


def limit_of(event: Event) -> tuple[str, str]:
    return (event["payload"]["userId"], event["payload"]["userLimitId"])


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
    owner = Core(FlakyRepository(table, before_save=lambda: zombie.deliver(*next(late, ()))))
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
    """Exactly the poison records are quarantined, each for the expected reason."""
    delivered = core.deliver(*(sample.data for sample in batch))
    found = [
        record_outcome.rejected.reason if record_outcome and record_outcome.rejected else None
        for record_outcome in delivered.record_outcomes
    ]
    assert found == [sample.poison_reason for sample in batch]
