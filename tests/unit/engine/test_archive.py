"""When the archive of a shard is written."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from consumer.engine.archive import ArchivePolicy, Archiving, Segment, written
from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.records import Record
from consumer.engine.retry_policy import NoRetry
from tests.support.generators.events import records
from tests.support.simulation.core import FakeRetryPolicy

POLICY = ArchivePolicy(seconds=60, size=100)


@dataclass
class Lists:
    """Implements Archive: an object of 40 bytes for each record. `fails` holds the errors of the next writes."""

    kept: list[Record] = field(default_factory=list)
    fails: list[Unavailable] = field(default_factory=list)

    def segment(self) -> "Waiting":
        return Waiting(self)


@dataclass
class Waiting:
    archive: Lists
    records: list[Record] = field(default_factory=list)

    @property
    def left(self) -> int:
        return len(self.records)

    @property
    def size(self) -> int:
        return 40 * len(self.records)

    def add(self, records: Iterable[Record]) -> None:
        self.records += records

    def write(self) -> int:
        if self.archive.fails:
            raise self.archive.fails.pop()
        self.archive.kept.append(self.records.pop(0))
        return 40


def archiving() -> Archiving:
    return Archiving.of(Lists(), POLICY)


def written_all(segment: Segment) -> list[int]:
    return list(written(segment, NoRetry(), lambda _: None))


@pytest.mark.parametrize(
    ("delivered", "now", "due"), [(0, 9_999, False), (1, 1_059.9, False), (1, 1_060, True), (2, 1_000, False)]
)
def test_after_some_time(delivered: int, now: float, due: bool) -> None:
    shard = archiving()
    shard.add(records(*[b"{}"] * delivered), 1_000)
    assert shard.is_due(now) is due


def test_the_time_counts_from_the_first_record() -> None:
    shard = archiving()
    shard.add([], 900)
    shard.add(records(b"1"), 1_000)
    shard.add(records(b"2"), 1_050)
    assert not shard.is_due(1_059.9)
    assert shard.is_due(1_060)


def test_from_a_number_of_bytes_on_at_once() -> None:
    shard = archiving()
    shard.add(records(b"1", b"2", b"3"), 1_000)
    assert shard.is_due(1_000)


def test_what_is_written_no_longer_counts() -> None:
    shard = archiving()
    shard.add(records(b"1", b"2", b"3"), 1_000)
    assert written_all(shard.segment) == [40, 40, 40]
    assert not shard.is_due(9_999)
    shard.add(records(b"4"), 1_100)
    assert not shard.is_due(1_159)
    assert shard.is_due(1_160)


def test_the_last_position_is_the_last_one_delivered() -> None:
    shard = archiving()
    first, second = records(b"1", b"2")
    shard.add([first, second], 1_000)
    shard.add([], 1_001)
    assert shard.last == second.position


def test_what_is_dropped_is_never_written() -> None:
    archive = Lists()
    shard = Archiving.of(archive, POLICY)
    shard.add(records(b"1"), 1_000)
    shard.drop()
    assert written_all(shard.segment) == []
    assert archive.kept == []


def test_a_write_that_fails_is_retried_and_nothing_is_written_twice() -> None:
    archive, retry_policy, before = Lists(), FakeRetryPolicy(), list[str]()
    segment = archive.segment()
    segment.add(records(b"1", b"2"))
    archive.fails = [Unavailable("down")] * 3
    assert list(written(segment, retry_policy, before.append)) == [40, 40]
    assert archive.kept == records(b"1", b"2")
    assert (before, retry_policy.waits) == (["archive"] * 2, [("archive", "down")] * 3)


def test_what_was_written_before_the_policy_gave_up_is_not_left() -> None:
    archive = Lists()
    segment = archive.segment()
    segment.add(records(b"1", b"2"))
    writing = written(segment, NoRetry(), lambda _: None)
    assert next(writing) == 40
    archive.fails = [Unavailable("down")]
    with pytest.raises(GaveUp):
        next(writing)
    assert (segment.left, archive.kept) == (1, records(b"1"))
