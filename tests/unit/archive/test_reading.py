"""An archive is read as it was written, by time, and whatever is damaged."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumer.admin.sources import Origin, Source
from consumer.archive.place import Found
from consumer.archive.reading import Damaged, objects, records, refuse
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
    source = Source(place, Origin("dir:", STREAM, since=since, until=until))
    return [record for found in source.files() for record in source.records(found.path, refuse)]


def test_records_are_read_as_they_were_written(place: Counting) -> None:
    written = numbered([b'{"a": 1.0}', b"not JSON\n", b"\xff\x00"])
    write(place, written)
    assert read_back(place) == written


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
