"""The format and the path of a quarantine entry."""

import json
from itertools import product
from pathlib import PurePosixPath

import pytest

from consumer.engine.entry_names import NAME_BYTES, Summary, may_be_entry, named, path_of, stem_of, summary_of
from consumer.engine.errors import Reason
from consumer.engine.quarantine import NotAnEntry, Quarantined, groups, read
from consumer.engine.records import Position, Record

HOSTILE = (
    *("", ".", "..", "../..", "/", "a/b", "a.json", "a b", "%", "%2E", "\0", "\n", "\u00e9", "\ud800", "1-1", "\\"),
    *("a" * 200, "a" * 201, "a" * 5_000, "a" * 5_001, "/" * 300, "-" * 100, "\U0001f3b2" * 300),
)

ENTRY = Quarantined(Record(Position("limits", "s", "5"), b"{}"), Reason.JSON, "detail")


def test_the_path_shows_stream_shard_and_sequence_number() -> None:
    assert path_of(Position("limits", "shardId-000000000001", "4965")) == "limits/shardId-000000000001/4965.json"
    assert path_of(Position("limits", "shardId-000000000001", "4965", 2)) == "limits/shardId-000000000001/4965-2.json"


@pytest.mark.parametrize("part", HOSTILE, ids=lambda part: ascii(part)[:20])
def test_no_part_leads_anywhere_else(part: str) -> None:
    path = PurePosixPath("root", path_of(Position(part, part, part)))
    assert len(path.parts) == 4
    assert path.parts[0] == "root"
    assert not {"", ".", ".."} & set(path.parts)
    assert max(map(len, path.parts)) <= 205
    assert str(path).isascii()
    assert str(path).isprintable()


def test_no_two_positions_share_a_path() -> None:
    positions = [Position(*parts, sub) for parts in product(HOSTILE, HOSTILE, HOSTILE) for sub in (0, 1)]
    assert len({path_of(position) for position in positions}) == len(positions)


def test_the_name_shows_what_a_listing_shows() -> None:
    position = Position("limits", "shardId-000000000001", "4965", 2)
    summary = Summary(position, 1_767_225_600_123, "SCHEMA", "USER_LIMIT_CREATED", "payload.value: Field required")
    path = named(summary)
    assert path == (
        "limits/shardId-000000000001/4965-2.1767225600123.SCHEMA.USER_LIMIT_CREATED.payload%2Evalue%3A~Field~required.json"
    )
    assert summary_of(path) == summary


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_any_text_fits_into_a_name_and_is_read_back_or_cut(text: str) -> None:
    position = Position("limits", "shardId-000000000001", "49" * 28)
    path = named(Summary(position, 1, text, text, text))
    name = PurePosixPath(path).name
    assert (len(name) <= NAME_BYTES, name.isascii(), name.isprintable()) == (True, True, True)
    assert may_be_entry(path)
    summary = summary_of(path)
    assert summary
    assert summary[:2] == (position, 1)
    for found in summary[2:]:
        assert found == text or (found.endswith("\u2026") and text.startswith(found[:-1]))


@pytest.mark.parametrize("part", HOSTILE, ids=lambda part: ascii(part)[:20])
def test_a_name_leads_to_exactly_its_position(part: str) -> None:
    for position in (Position(part, "s", "1"), Position("s", part, "1"), Position("s", "s", part, 1)):
        path = named(Summary(position, 1, "JSON", "UNREADABLE", "x"))
        summary = summary_of(path)
        assert stem_of(path) == path_of(position).removesuffix(".json")
        assert len(path) <= 1_024 - len("prefix/")
        assert summary is None or summary.position == position
        assert (summary is None) is (path == path_of(position)), "without a summary, the entry must be read"


@pytest.mark.parametrize("arrived_at", [-1, 10**14, 10**30])
def test_a_time_that_is_none_is_not_in_the_name(arrived_at: int) -> None:
    position = Position("limits", "s", "5")
    assert named(Summary(position, arrived_at, "JSON", "UNREADABLE", "x")) == path_of(position)


@pytest.mark.parametrize(
    "path",
    [
        "a/b/1.json",
        "a/b/1.5.JSON.UNREADABLE.%FF.json",
        "a/b/%31.5.JSON.UNREADABLE.x.json",
        "a/b/1-0.5.JSON.UNREADABLE.x.json",
        f"a/b/1.{'9' * 5_000}.JSON.UNREADABLE.x.json",
    ],
)
def test_a_name_that_nobody_writes_says_nothing(path: str) -> None:
    assert may_be_entry(path)
    assert summary_of(path) is None


@pytest.mark.parametrize(
    "path", ["a/b/1.5.JSON.json", "a/b/1.x.JSON.T.x.json", "a/b/.5.JSON.T.x.json", "a/1.5.J.T.x.json"]
)
def test_other_names_are_no_entries(path: str) -> None:
    assert not may_be_entry(path)


@pytest.mark.parametrize("data", [b"", b"{}", bytes(range(256))])
def test_it_is_read_back_as_it_was_written(data: bytes) -> None:
    entry = Quarantined(Record(Position("limits", "s", "5", 1), data, 1_767_225_600_000), Reason.JSON, "detail")
    assert Quarantined.from_json(json.loads(json.dumps(entry.to_json()))) == entry


SPOILED: list[tuple[str, object]] = [
    ("type", 1),
    *(("data", "#"), ("data", "e30"), ("data", None), ("stream", 1), ("reason", ["JSON"])),
    *(("subSequenceNumber", "1"), ("subSequenceNumber", True), ("arrivedAt", 1.5), ("arrivedAt", None)),
]
NOT_ENTRIES = (b"", b"{", b"[]", b"null", b"1", b"{}", b"\xff", b"[" * 100_000)


@pytest.mark.parametrize(("name", "value"), SPOILED, ids=str)
def test_what_it_did_not_write_it_does_not_read(name: str, value: object) -> None:
    with pytest.raises(NotAnEntry):
        Quarantined.from_json(ENTRY.to_json() | {name: value})


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"1", b"{}", b"\xff", b"[" * 100_000], ids=lambda c: c[:9]
)
def test_a_file_of_something_else_is_no_entry(content: bytes) -> None:
    with pytest.raises(NotAnEntry):
        read("limits/s/5.json", content)


def test_an_entry_in_another_place_than_its_own_is_none() -> None:
    """A copy of the entry would be replayed or dropped in place of another one."""
    content = json.dumps(ENTRY.to_json()).encode()
    assert read("limits/s/5.json", content) == ENTRY, "as an earlier version called it"
    assert read(named(ENTRY.summary), content) == ENTRY
    with pytest.raises(NotAnEntry, match="limits/s/5, in a place"):
        read("limits/s/6.json", content)


def test_an_entry_of_an_earlier_version_has_no_type() -> None:
    document = json.loads(json.dumps(ENTRY.to_json()))
    del document["type"]
    assert Quarantined.from_json(document) == ENTRY


def test_a_reason_of_another_version_is_read_and_written_as_it_is() -> None:
    """After an upgrade or a rollback, the record can still be shown and replayed."""
    document = ENTRY.to_json() | {"reason": "NOT_KNOWN_YET"}
    assert Quarantined.from_json(document).to_json() == document


@pytest.mark.parametrize(
    ("most", "most_bytes", "grouped"),
    [
        (10, 100, [[1, 2, 3, 4, 5]]),
        (2, 100, [[1, 2], [3, 4], [5]]),
        (10, 5, [[1, 2], [3], [4], [5]]),
        (10, 0, [[1], [2], [3], [4], [5]]),
    ],
)
def test_groups_have_a_limit_of_number_and_of_bytes(most: int, most_bytes: int, grouped: list[list[int]]) -> None:
    assert list(groups([1, 2, 3, 4, 5], lambda size: size, most, most_bytes)) == grouped
    assert list(groups([], lambda size: size, most, most_bytes)) == []
