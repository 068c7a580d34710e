"""The last record before a position, found by halves, is the one that a reading of the whole shard finds."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.stores.positions import OLDEST, ShardRecords
from tests.support.simulation.kinesis import Arrivals, Kinesis, Shard

NOW = 1_800_000_000
DAY = 24 * 3600
NAME = "shardId-000000000000"


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    """Records of the last day in ascending order; some arrive in the same second."""
    moments = sorted(draw(st.lists(st.floats(NOW - DAY, NOW), max_size=20)))
    return [(10 * number, moment) for number, moment in enumerate(moments, start=1)]


def records_of(records: Arrivals, pauses: list[float]) -> tuple[ShardRecords, Kinesis]:
    kinesis: Any = Kinesis({NAME: Shard(records)}, NOW)
    return ShardRecords(kinesis, "events", NAME, pauses.append), kinesis


@given(arrivals(), st.none() | st.integers(0, 220), st.integers(-3, 3))
def test_it_is_the_last_one(records: Arrivals, number: int | None, ahead: int) -> None:
    """`ahead`: seconds by which our clock is ahead of Kinesis'."""
    pauses: list[float] = []
    shard, kinesis = records_of(records, pauses)
    before = [each for each, _ in records if number is None or each < number]

    found = shard.last_before(None if number is None else str(number), NOW - DAY, NOW + ahead)

    assert (found and int(found["SequenceNumber"])) == (before[-1] if before else None)
    assert kinesis.reads <= 2 * 20, "about one request for each halving of a day, and an empty page before each"
    assert len(pauses) == kinesis.reads, "no faster than Kinesis allows"


@given(arrivals())
def test_the_first_one_follows_an_empty_page(records: Arrivals) -> None:
    shard, _ = records_of(records, [])

    found = shard.first(OLDEST)

    assert (found and int(found["SequenceNumber"])) == (records[0][0] if records else None)
