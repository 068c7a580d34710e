"""The records of a user are found whatever is indexed, and an index saves the reading of objects."""

import gzip
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from consumer.archive import index
from consumer.archive.finding import Finder, TooManyObjects
from consumer.archive.indexing import Indexed, Indexer
from consumer.archive.names import hour_of
from consumer.engine.errors import Unavailable
from consumer.engine.records import Position, Record
from consumer.limits.claims import users
from tests.support.generators import kpl
from tests.support.generators.events import START, Event, created, encode
from tests.support.simulation.archive import NotedPlace, keep

STREAM = "limits"
HOUR = 3_600_000
DAY = 24 * HOUR
LATER = START + 400 * DAY


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture
def place() -> NotedPlace:
    return NotedPlace()


@pytest.fixture
def finder(place: NotedPlace, pool: Executor) -> Finder:
    return Finder(place, STREAM, users, pool)


@pytest.fixture
def indexer(place: NotedPlace, pool: Executor) -> Indexer:
    return Indexer(place, STREAM, users, pool)


def record(user: str, sequence: int, at: int = START, data: bytes | None = None, stream: str = STREAM) -> Record:
    made = encode(created(sequence, userId=user)) if data is None else data
    return Record(Position(stream, "shard-1", str(sequence)), made, at)


def found(finder: Finder, user: str, until: int = LATER) -> list[int]:
    """The sequence numbers of the user's records."""
    findings = finder.records_of(user, until)
    assert findings.unreadable == []
    return sorted(int(each.position.sequence) for each in findings.records)


def run(indexer: Indexer, since: int = 0) -> list[Indexed]:
    return list(indexer.run(LATER, since))


def objects(place: NotedPlace) -> list[str]:
    """What was read of the archive itself since the last time."""
    read = sorted(path for path in place.reads if not path.startswith(index.FOLDER))
    place.reads.clear()
    return read


def test_an_empty_archive_has_nothing(finder: Finder, indexer: Indexer) -> None:
    assert found(finder, "u-1") == []
    assert run(indexer) == []


def test_without_an_index_every_object_is_read(place: NotedPlace, finder: Finder) -> None:
    paths = keep(place, [record("u-1", 1), record("u-2", 2)], [record("u-2", 3, START + DAY)])
    assert found(finder, "u-2") == [2, 3]
    assert objects(place) == sorted(paths)


def test_with_an_index_only_objects_of_the_user_are_read(place: NotedPlace, finder: Finder, indexer: Indexer) -> None:
    first, second, third = keep(
        place,
        [record("u-1", 1)],
        [record("u-2", 2)],
        [record("u-1", 3, START + 30 * DAY), record("u-2", 4, START + 30 * DAY)],
    )
    assert [(each.hour, each.added, each.unreadable) for each in run(indexer)] == [
        (hour_of(START), 2, 0),
        (hour_of(START + 30 * DAY), 1, 0),
    ]
    objects(place)
    assert found(finder, "u-1") == [1, 3]
    assert objects(place) == [first, third]
    assert found(finder, "u-nobody") == []
    assert objects(place) == []
    assert second in place.files


def test_an_object_that_is_written_after_the_index_is_read(place: NotedPlace, finder: Finder, indexer: Indexer) -> None:
    keep(place, [record("u-1", 1)], [record("u-2", 2)])
    run(indexer)
    objects(place)
    (late,) = keep(place, [record("u-2", 3)])
    assert found(finder, "u-2") == [2, 3]
    assert late in objects(place)
    assert run(indexer) == [Indexed(hour_of(START), 1, 0)]
    assert objects(place) == [late], "only what is new is read"
    assert found(finder, "u-1") == [1]
    assert late not in objects(place)
    assert run(indexer) == []


def test_an_object_that_has_changed_is_read(place: NotedPlace, finder: Finder, indexer: Indexer) -> None:
    (path,) = keep(place, [record("u-1", 1), record("u-1", 9)])
    run(indexer)
    assert keep(place, [record("u-1", 1), record("u-2", 5), record("u-1", 9)]) == [path]
    assert found(finder, "u-2") == [5]


def test_a_malformed_index_is_not_used(
    place: NotedPlace, finder: Finder, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = keep(place, [record("u-1", 1)])
    run(indexer)
    at = index.path_of(STREAM, hour_of(START))
    place.files[at] = place.files[at][:-1]
    objects(place)
    assert found(finder, "u-1") == [1]
    assert objects(place) == [path]
    assert "an index of the archive is not used" in caplog.text
    assert run(indexer) == [Indexed(hour_of(START), 1, 0)], "and the next run replaces it"
    assert found(finder, "u-2") == []
    assert objects(place) == [path]


def test_an_index_is_not_asked_for_where_there_is_none(place: NotedPlace, finder: Finder) -> None:
    keep(place, [record("u-1", 1)])
    found(finder, "u-1")
    assert not [path for path in place.reads if path.startswith(index.FOLDER)]


def test_only_what_has_arrived_until_then(place: NotedPlace, finder: Finder) -> None:
    keep(place, [record("u-1", 1), record("u-1", 2, START + 1), record("u-1", 3, START + HOUR)])
    assert found(finder, "u-1", START) == [1]
    assert len(objects(place)) == 1
    assert found(finder, "u-1", START + HOUR) == [1, 2, 3]


def test_records_without_a_time_of_arrival_are_found(place: NotedPlace, finder: Finder, indexer: Indexer) -> None:
    keep(place, [record("u-1", 1, at=0)], [record("u-1", 2)])
    assert found(finder, "u-1") == [1, 2]
    assert [each.hour for each in run(indexer)] == [hour_of(0), hour_of(START)]
    assert found(finder, "u-1") == [1, 2]


def test_records_of_another_stream_are_not(place: NotedPlace, finder: Finder) -> None:
    keep(place, [record("u-1", 1, stream="limits-2")], [record("u-1", 2)])
    assert found(finder, "u-1") == [2]


ODD: Sequence[Event | bytes] = (
    b"\xef\xbb\xbf" + encode(created(1, userId="u-1")),
    encode(created(1, userId="u-1")).replace(b"u-1", b"\\u0075-1"),
    encode(created(1, userId="u-1")).replace(b"{", b"{\n", 1),
    encode(created(1, userId="u-1") | {"note": "\ud800"}),
    encode(created(1, userId="u-1") | {"aggregateId": "u-2"}),
    encode({"payload": {"userId": "u-1"}}),
    kpl.aggregate(encode(created(1, userId="u-2")), encode(created(1, userId="u-1"))),
)


@pytest.mark.parametrize("data", ODD)
def test_a_user_is_found_however_the_record_is_written(
    data: bytes, place: NotedPlace, finder: Finder, indexer: Indexer
) -> None:
    keep(place, [record("u-1", 1, data=data)])
    assert found(finder, "u-1") == [1]
    run(indexer)
    assert found(finder, "u-1") == [1]
    assert found(finder, "u-3") == []


@pytest.mark.parametrize(
    "content", [b"", b"not gzip", gzip.compress(b"x" * 100, mtime=0)[:-9], gzip.compress(b"{}\n", mtime=0)]
)
def test_a_damaged_object_is_reported_and_never_indexed(
    content: bytes, place: NotedPlace, finder: Finder, indexer: Indexer
) -> None:
    sound, damaged = keep(place, [record("u-1", 1)], [record("u-1", 2)])
    place.files[damaged] = content
    assert run(indexer) == [Indexed(hour_of(START), 1, 1)]
    findings = finder.records_of("u-1", LATER)
    assert [each.position.sequence for each in findings.records] == ["1"]
    assert (findings.objects, findings.listed) == (2, 2)
    (wrong,) = findings.unreadable
    assert wrong.startswith(f"{damaged}: ")
    assert sound in place.reads


def test_a_bound_on_the_objects(place: NotedPlace, finder: Finder, indexer: Indexer) -> None:
    keep(place, *([record(f"u-{number}", number)] for number in range(1, 6)))
    with pytest.raises(TooManyObjects, match="5 objects of the archive would have to be read"):
        finder.records_of("u-1", LATER, 4)
    run(indexer)
    assert len(finder.records_of("u-1", LATER, 4).records) == 1


def test_hours_before_a_time_are_left_out(place: NotedPlace, indexer: Indexer) -> None:
    keep(place, [record("u-1", 1)], [record("u-1", 2, START + DAY)], [record("u-1", 3, START + DAY + HOUR)])
    assert [each.hour for each in run(indexer, START + DAY + HOUR)] == [hour_of(START + DAY + HOUR)]


def test_without_an_answer_it_says_so(place: NotedPlace, finder: Finder, indexer: Indexer) -> None:
    keep(place, [record("u-1", 1)])
    place.is_away = True
    with pytest.raises(Unavailable):
        finder.records_of("u-1", LATER)
    with pytest.raises(Unavailable):
        run(indexer)
