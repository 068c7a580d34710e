"""The objects of an archive: what is in them, how they are named and cut, and what happens when one is not written."""

import gzip
from itertools import count

import pytest

from consumer.archive.lines import decode
from consumer.archive.place import InMemoryPlace
from consumer.archive.segment import TOGETHER, PlaceArchive
from consumer.engine.errors import Unavailable
from consumer.engine.processor import Processor
from consumer.engine.quarantine import InMemoryQuarantine
from consumer.engine.records import Position, Record
from consumer.engine.retry_policy import NoRetry
from consumer.limits.projection import Limits
from tests.support.driven.archives import archived, data_of, numbers, objects
from tests.support.generators import kpl
from tests.support.generators.events import START, created, encode, progress_changed
from tests.support.simulation.core import FlakyPlace, memory, times

HOUR = 3_600_000
SHARD = "shardId-000000000000"


def record(number: int, data: bytes = b"{}", arrived_at: int = START, shard: str = SHARD) -> Record:
    return Record(Position("limits", shard, f"{number}"), data, arrived_at)


def written(*deliveries: list[Record], place: InMemoryPlace | None = None) -> InMemoryPlace:
    """A place with one segment of the deliveries."""
    place = place or InMemoryPlace()
    segment = PlaceArchive(place, lambda: START + 5 * HOUR).segment()
    for delivery in deliveries:
        segment.add(delivery)
    while segment.left:
        assert segment.write() == len(place.read(list(place.files)[-1]))
    return place


def test_all_deliveries_are_one_object_in_their_order() -> None:
    place = written([record(101, b'{"a":1}'), record(102, b"\0")], [], [record(103)])
    (path,) = place.files
    assert path == f"limits/date=2026-01-01/hour=00/{SHARD}-101-103.json.gz"
    assert [(line["sequenceNumber"], data_of(line)) for line in archived(place)] == [
        ("101", {"a": 1}),
        ("102", b"\0"),
        ("103", {}),
    ]


def test_the_same_records_are_the_same_object() -> None:
    assert written([record(101)]) == written([record(101)])


def test_an_object_has_the_records_of_one_hour_and_one_shard() -> None:
    place = written(
        [record(101), record(102, arrived_at=START + HOUR - 1), record(103, arrived_at=START + HOUR)],
        [record(104, arrived_at=START + 7 * HOUR), record(7, arrived_at=START + 7 * HOUR, shard="other")],
    )
    assert [path.removeprefix("limits/") for path in place.files] == [
        f"date=2026-01-01/hour=00/{SHARD}-101-102.json.gz",
        f"date=2026-01-01/hour=01/{SHARD}-103-103.json.gz",
        f"date=2026-01-01/hour=07/{SHARD}-104-104.json.gz",
        "date=2026-01-01/hour=07/other-7-7.json.gz",
    ]
    assert sorted(map(len, numbers(place))) == [1, 1, 1, 2]


def test_an_unknown_time_of_arrival_is_the_hour_of_writing_in_the_name_alone() -> None:
    place = written([record(101, arrived_at=0)])
    assert list(place.files) == [f"limits/date=2026-01-01/hour=05/{SHARD}-101-101.json.gz"]
    assert [line["arrivedAt"] for line in archived(place)] == [None]


def test_hours_that_alternate_are_one_object_each() -> None:
    before, after = START + HOUR - 1, START + HOUR
    delivery = [record(101 + index, arrived_at=at) for index, at in enumerate((before, after, before, after))]
    assert numbers(written(delivery)) == [["101", "103"], ["102", "104"]]


def test_a_large_delivery_is_complete() -> None:
    many = 2 * TOGETHER + 1
    assert numbers(written([record(number) for number in range(many)])) == [[f"{number}" for number in range(many)]]


def test_the_size_is_known_before_it_is_written() -> None:
    segment = PlaceArchive(InMemoryPlace(), lambda: START).segment()
    assert (segment.left, segment.size) == (0, 0)
    segment.add([record(number, kpl.text(1, bytes(f"{number}" * 99, "ascii"))) for number in range(20_000)])
    assert segment.left == 1
    assert 100_000 < segment.size < 20_000 * 300


# when a write fails


def test_an_object_that_could_not_be_written_is_written_again_as_it_was() -> None:
    place = FlakyPlace(times(1))
    segment = PlaceArchive(place, lambda: START).segment()
    segment.add([record(101)])
    with pytest.raises(Unavailable):
        segment.write()
    segment.add([record(102)])
    while segment.left:
        segment.write()
    assert numbers(place) == [["101"], ["102"]]
    assert place.attempts[0] == place.attempts[1]


def test_objects_that_are_written_are_not_written_again() -> None:
    fates = iter([False, True, False])
    place = FlakyPlace(lambda: next(fates))
    segment = PlaceArchive(place, lambda: START).segment()
    segment.add([record(101), record(102, arrived_at=START + HOUR)])
    segment.write()
    with pytest.raises(Unavailable):
        segment.write()
    segment.write()
    assert (segment.left, len(place.attempts), len(set(place.attempts))) == (0, 3, 2)


# aggregates


def test_the_user_records_of_an_aggregate_have_a_line_each() -> None:
    place = written([record(101, kpl.aggregate(b'{"a":1}', b"\0", b"{}"))])
    assert [(line["sequenceNumber"], line["subSequenceNumber"], data_of(line)) for line in archived(place)] == [
        ("101", 0, {"a": 1}),
        ("101", 1, b"\0"),
        ("101", 2, {}),
    ]


SOUND = kpl.aggregate(encode(created(1)), encode(progress_changed(2)))


@pytest.mark.parametrize(
    "whole",
    [
        kpl.aggregate(SOUND, encode(created(1))),
        kpl.aggregate(encode(created(1)), SOUND),
        SOUND[:-1] + b"\0",
        kpl.aggregate(*[b"{}"] * 5_001),
        kpl.MAGIC,
    ],
    ids=["another one first", "another one later", "broken", "too many records", "nothing"],
)
def test_an_aggregate_that_is_not_sound_is_kept_whole(whole: bytes) -> None:
    (line,) = archived(written([record(101, whole)]))
    assert (line["subSequenceNumber"], data_of(line)) == (0, whole)


@pytest.mark.parametrize(
    "data",
    [
        SOUND,
        kpl.aggregate(SOUND, encode(created(1))),
        kpl.aggregate(encode(created(1)), SOUND),
        SOUND[:-1] + b"\0",
        kpl.aggregate(b"poison", encode(created(1)), b"\xff"),
        encode(created(1)),
        b"poison",
    ],
)
def test_each_line_alone_comes_to_the_result_of_the_delivery(data: bytes) -> None:
    def fold(records: list[Record]) -> tuple[object, object]:
        repository, quarantine = memory(), InMemoryQuarantine()
        core = Processor(Limits(), repository, quarantine, map(float, count()).__next__)
        for each in records:
            assert not core.process([each], NoRetry()).unsettled
        return list(repository.partition("u-7Qd2")), [
            (entry.record.position, entry.reason) for entry in quarantine.entries()
        ]

    (content,) = written([record(101, data)]).files.values()
    lines = gzip.decompress(content).splitlines()
    assert fold([decode(line) for line in lines]) == fold([record(101, data)])


def test_objects_are_gzip_that_everything_reads() -> None:
    place = written([record(101)])
    (content,) = place.files.values()
    assert content[:4] == b"\x1f\x8b\x08\0"
    assert content[4:8] == b"\0" * 4, "no time of writing: the same records are the same bytes"
    assert [len(lines) for lines in objects(place).values()] == [1]
