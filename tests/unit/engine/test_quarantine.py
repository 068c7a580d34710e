"""How a rejected record is written down, and where."""

import json
from itertools import product
from pathlib import PurePosixPath

import pytest

from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined, path_of
from consumer.engine.records import Position, Record

HOSTILE = (
    *("", ".", "..", "../..", "/", "a/b", "a.json", "a b", "%", "%2E", "\0", "\n", "\u00e9", "\ud800", "1-1", "\\"),
    *("a" * 200, "a" * 201, "a" * 5_000, "a" * 5_001, "/" * 300, "-" * 100, "\U0001f3b2" * 300),
)


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


@pytest.mark.parametrize("data", [b"", b"{}", bytes(range(256))])
def test_it_is_read_back_as_it_was_written(data: bytes) -> None:
    entry = Quarantined(Record(Position("limits", "s", "5", 1), data, 1_767_225_600_000), Reason.JSON, "detail")
    assert Quarantined.from_json(json.loads(json.dumps(entry.to_json()))) == entry


def test_a_reason_that_is_none_any_more_is_read_as_it_was_written() -> None:
    entry = Quarantined(Record(Position("limits", "s", "5"), b"{}"), "SEQUENCE_JUMP", "detail")
    assert Quarantined.from_json(json.loads(json.dumps(entry.to_json()))) == entry


@pytest.mark.parametrize("spoil", [{"data": "#"}, {"reason": None}, {"reason": 7}, {"data": "e30"}])
def test_what_it_did_not_write_it_does_not_read(spoil: dict[str, object]) -> None:
    entry = Quarantined(Record(Position("limits", "s", "5"), b"{}"), Reason.JSON, "detail")
    with pytest.raises(ValueError, match=r".+"):
        Quarantined.from_json(entry.to_json() | spoil)
