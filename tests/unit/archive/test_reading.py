"""An archive is read in order, and a record that was written several times is read once."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumer.archive.place import Found
from consumer.archive.reading import Damaged, objects, read, records
from consumer.engine.records import Record
from consumer.stores.places import DirectoryPlace
from tests.support.generators.archived import SHARD, STREAM, numbered, write
from tests.support.generators.events import START

HOUR_MILLIS = 3_600_000
BEGIN = datetime.fromtimestamp(START / 1_000, UTC)


class Counting:
    """A place that counts how often each file is read."""

    def __init__(self, place: DirectoryPlace) -> None:
        self._place, self.reads = place, list[str]()

    def write(self, path: str, content: bytes) -> None:
        self._place.write(path, content)

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        return self._place.read(path)

    def list(self, prefix: str = "") -> Iterator[Found]:
        return self._place.list(prefix)


@pytest.fixture
def place(tmp_path: Path) -> Counting:
    return Counting(DirectoryPlace(tmp_path / "archive"))


def data(count: int, first: int = 1) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(first, first + count)]


def read_back(place: Counting, since: datetime | None = None, until: datetime | None = None) -> list[Record]:
    return list(read(place, STREAM, since, until))


def test_records_are_read_as_they_were_written(place: Counting) -> None:
    written = numbered([b'{"a": 1.0}', b"not JSON\n", b"\xff\x00"])
    write(place, written)
    assert read_back(place) == written


def test_the_objects_of_a_shard_are_in_the_order_of_their_numbers(place: Counting) -> None:
    written = numbered(data(30), first=8)
    for part in (written[20:], written[:2], written[2:20]):
        write(place, part)
    assert read_back(place) == written
    assert len(place.reads) == 3, "without an overlap, each object is read once"


def test_hours_are_in_order_and_shards_within_them(place: Counting) -> None:
    child = "shardId-000000000001"
    late = [each._replace(arrived_at=each.arrived_at + HOUR_MILLIS) for each in numbered(data(2), 50)]
    early, other = numbered(data(2)), numbered(data(2), 40, child)
    for part in (late, other, early):
        write(place, part)
    assert read_back(place) == [*early, *other, *late]


@pytest.mark.parametrize(
    "parts",
    [
        [(0, 10), (0, 10)],
        [(0, 10), (4, 8)],
        [(0, 10), (5, 20), (0, 3), (9, 12)],
        [(0, 20), (0, 5), (3, 8), (6, 20), (19, 20)],
        [(0, 1), (0, 2), (1, 20)],
    ],
)
def test_a_record_that_was_delivered_again_is_read_once(place: Counting, parts: list[tuple[int, int]]) -> None:
    written = numbered(data(20))
    for begin, end in parts:
        write(place, written[begin:end])
    found = read_back(place)
    end = max(end for _, end in parts)
    assert len(found) == end
    assert sorted(found, key=lambda each: int(each.position.sequence)) == written[:end]


def test_objects_may_overlap_without_a_record_in_common(place: Counting) -> None:
    """Lambda processes several batches of a shard at the same time."""
    written = numbered(data(20))
    write(place, written[::2])
    write(place, written[1::2])
    assert sorted(read_back(place)) == sorted(written)


def test_the_parts_of_an_aggregate_have_positions_of_their_own(place: Counting) -> None:
    (whole,) = numbered(data(1))
    parts = [whole._replace(position=whole.position._replace(sub_sequence=number)) for number in range(3)]
    write(place, parts)
    write(place, [*parts, *numbered(data(1, 2), 2)])
    assert [each.position.sub_sequence for each in read_back(place)] == [0, 1, 2, 0]


def test_a_time_selects_records_and_reads_only_its_hours(place: Counting) -> None:
    hours = [
        [each._replace(arrived_at=each.arrived_at + hour * HOUR_MILLIS) for each in numbered(data(3), 1 + 10 * hour)]
        for hour in range(4)
    ]
    paths = [write(place, part) for part in hours]
    since = BEGIN + timedelta(hours=1, seconds=12)
    until = BEGIN + timedelta(hours=2, seconds=22)
    assert read_back(place, since, until) == [*hours[1][1:], *hours[2][:1]]
    assert place.reads == paths[1:3]
    assert read_back(place, since) == [*hours[1][1:], *hours[2], *hours[3]]
    assert read_back(place, None, until) == [*hours[0], *hours[1], *hours[2][:1]]


def test_other_streams_and_other_files_are_no_part_of_it(place: Counting) -> None:
    write(place, numbered(data(1)))
    for path in (f"{STREAM}/README", f"{STREAM}-2/date=2026-01-01/hour=00/{SHARD}-1-1.json.gz"):
        place.write(path, b"")
    assert len(list(objects(place, STREAM))) == len(read_back(place)) == 1


def test_what_can_be_read_of_a_damaged_object_is_read() -> None:
    whole = b"".join(
        b'{"stream":"s","shard":"0","sequenceNumber":"%d","subSequenceNumber":0,"arrivedAt":null,"event":1}\n' % n
        for n in range(3)
    )
    damaged: list[Damaged] = []
    found = list(records("x", gzip.compress(whole + b'{"stream":"secret\n' + whole)[:-9], damaged.append))
    assert [each.position.sequence for each in found] == ["0", "1", "2", "0", "1", "2"]
    assert [str(each).partition(":")[0] for each in damaged] == ["x", "x"]
    assert "line 4" in str(damaged[0])
    assert "behind line 7" in str(damaged[1])
    assert "secret" not in str(damaged)


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"{}\n", mtime=0)])
def test_an_object_that_is_none_is_reported(content: bytes) -> None:
    if not content:
        assert list(records("x", content)) == []
        return
    with pytest.raises(Damaged, match=r"^x: "):
        list(records("x", content))
