"""Which entries the options of `consumer quarantine` select."""

from collections.abc import Iterator

import pytest

from consumer.admin.selection import Selection
from consumer.engine.errors import Reason
from consumer.engine.quarantine import InMemoryQuarantine, Listed, Quarantined
from consumer.engine.records import Position, Record

ENTRIES = [
    Quarantined(Record(Position("s", "shardId-0", "1"), b"", 1_000), Reason.JSON, ""),
    Quarantined(Record(Position("s", "shardId-0", "2"), b"", 2_000), Reason.SCHEMA, "", "USER_LIMIT_CREATED"),
    Quarantined(Record(Position("s", "shardId-1", "3"), b"", 3_000), Reason.SCHEMA, "", "USER_LIMIT_RESET"),
    Quarantined(Record(Position("s", "shardId-1", "4"), b"", 0), "NOT_KNOWN_YET", ""),
]


def listing() -> Iterator[Listed]:
    kept = InMemoryQuarantine()
    kept.put(ENTRIES)
    return kept.listing()


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        (Selection(), "1234"),
        (Selection(reasons=frozenset({"SCHEMA"})), "23"),
        (Selection(reasons=frozenset({"JSON", "NOT_KNOWN_YET"})), "14"),
        (Selection(types=frozenset({"UNREADABLE"})), "14"),
        (Selection(types=frozenset({"USER_LIMIT_RESET", "USER_LIMIT_CREATED"})), "23"),
        (Selection(shards=frozenset({"shardId-1"})), "34"),
        (Selection(since=2_000), "23"),
        (Selection(until=2_000), "1"),
        (Selection(since=1_001, until=2_001), "2"),
        (Selection(limit=3), "123"),
        (Selection(reasons=frozenset({"SCHEMA"}), shards=frozenset({"shardId-1"}), limit=1), "3"),
        (Selection(reasons=frozenset({"SCHEMA"}), since=5_000), ""),
    ],
)
def test_all_conditions_hold_for_each_entry(selection: Selection, numbers: str) -> None:
    assert "".join(each.summary.position.sequence for each in selection.of(listing())) == numbers


def test_no_more_is_listed_than_the_limit_needs() -> None:
    given = listing()
    list(Selection(limit=2).of(given))
    assert [each.summary.position.sequence for each in given] == ["3", "4"]
