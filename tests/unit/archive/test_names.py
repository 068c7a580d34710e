"""Names of the objects: one path for each, from which everything can be read back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.archive.names import Name, hour_of, hours, parse, prefix
from consumer.engine.records import LATEST_ARRIVAL

HOUR = datetime(2026, 1, 31, 7, tzinfo=UTC)
NAME = Name("limits.eu", HOUR, "shardId-000000000007", "4959", "4960")
PARTS = st.text(st.characters(exclude_categories=()), max_size=20)
HOURS = st.integers(0, LATEST_ARRIVAL - 1).map(hour_of)


def test_the_path_of_an_ordinary_name() -> None:
    path = "limits.eu/date=2026-01-31/hour=07/shardId-000000000007-4959-4960.json.gz"
    assert NAME.path() == path
    assert parse(path) == NAME
    assert path.startswith(prefix("limits.eu", HOUR))


@given(PARTS, HOURS, PARTS, PARTS, PARTS)
def test_every_name_comes_back_from_a_path_without_surprises(
    stream: str, hour: datetime, shard: str, first: str, last: str
) -> None:
    name = Name(stream, hour, shard, first, last)
    parts = name.path().split("/")
    assert parse(name.path()) == name
    assert len(parts) == 4
    assert not {"", ".", ".."} & set(parts)
    assert name.path().isascii()
    assert name.path().isprintable()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "limits/date=2026-01-31/hour=07/shard-1-2.json",
        "limits/date=2026-01-31/shard-1-2.json.gz",
        "limits/date=2026-02-30/hour=07/shard-1-2.json.gz",
        "limits/date=2026-01-31/hour=24/shard-1-2.json.gz",
        "limits/date=2026-01-31/hour=07/1-2.json.gz",
        "more/limits/date=2026-01-31/hour=07/shard-1-2.json.gz",
        "a b/date=2026-01-31/hour=07/shard-1-2.json.gz",
        "2026/01/31/07/limits-1-2026-01-31-07-00-00-uuid.gz",
    ],
)
def test_other_paths_have_no_name(path: str) -> None:
    assert parse(path) is None


def test_the_hours_between_two_times() -> None:
    since, until = HOUR + timedelta(minutes=59), HOUR + timedelta(hours=2)
    assert list(hours(since, until)) == [HOUR, HOUR + timedelta(hours=1)]
    assert list(hours(since, until + timedelta(microseconds=1)))[-1] == until
    assert list(hours(since, since)) == [HOUR]
    assert list(hours(until, since)) == []


def test_hours_are_those_of_utc() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert list(hours(HOUR.astimezone(india), HOUR + timedelta(seconds=1))) == [HOUR]


@given(st.integers(0, LATEST_ARRIVAL - 1))
def test_the_hour_of_an_arrival(arrived_at: int) -> None:
    hour = hour_of(arrived_at)
    assert (hour.minute, hour.second, hour.microsecond) == (0, 0, 0)
    assert 0 <= arrived_at - round(hour.timestamp() * 1_000) < 3_600_000
