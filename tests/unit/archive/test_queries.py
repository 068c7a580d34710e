"""The queries of docs/how-to/keep-an-archive.md, run by DuckDB on an archive that the Lambda handler has written."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import duckdb
import msgspec
import pytest

from consumer.archive.lines import _Stored
from consumer.archive.names import Name
from consumer.archive.segment import PlaceArchive
from consumer.engine.records import Position, Record
from consumer.limits.sample import Sample, histories
from consumer.stores.directory import DirectoryQuarantine
from consumer.stores.places import DirectoryPlace
from tests.support.driven.invocations import SUCCESS, Function, event
from tests.support.generators.events import START, encode, foreign
from tests.support.simulation.core import Core, memory

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "keep-an-archive.md"
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)
USER, THEN = "u-00007", START + 90 * 60_000
"""The user and the time in the queries of the page."""
Row: TypeAlias = Sequence[Any]
EVERY = 4_000
"""Milliseconds between two records: 2,000 of them take more than two hours."""


def blocks(of: str = "") -> list[str]:
    """The blocks of the page, or of the section whose title begins so, and of those after it."""
    text = PAGE.read_text(encoding="utf-8")
    found: list[str] = BLOCK.findall(text[text.index(f"### {of}") if of else 0 :])
    return found


def query(of: str) -> str:
    """The first query of a section."""
    return next(block for block in blocks(of) if not block.startswith("CREATE"))


def made(seed: int = 5) -> list[Record]:
    samples: list[Sample] = list(histories(Random(seed), 1_990, users=20, duplicates=0.02, poison=0.02))
    data = [sample.data for sample in samples] + [encode(foreign("NEW")), b"\x00poison"] * 5
    Random(seed).shuffle(data)
    return [
        Record(Position("limits", "shardId-000000000000", f"{10**20 + number}"), each, START + EVERY * number)
        for number, each in enumerate(data)
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record], Core]:
    """A folder with an archive and a quarantine. Some batches were delivered twice."""
    folder = tmp_path_factory.mktemp("written")
    archive = PlaceArchive(DirectoryPlace(folder / "archive"), lambda: START)
    core = Core(memory(), DirectoryQuarantine(folder / "quarantine"), archive=archive)
    records, function = made(), Function(core.processor)
    for first in range(0, len(records), 100):
        assert function.invoke(event(records[first : first + 100])) == SUCCESS
        if first % 300 == 0:
            assert function.invoke(event(records[first + 30 : first + 100])) == SUCCESS
    return folder, records, core


@pytest.fixture
def database(written: tuple[Path, list[Record], Core], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """DuckDB with the views of the page, in the folder of the archive."""
    monkeypatch.chdir(written[0])
    with duckdb.connect(config={"threads": 1}) as connection:
        for block in blocks():
            if "CREATE VIEW" in block:
                connection.execute(block)
        yield connection


def rows(database: Any, beginning: str) -> list[Row]:
    found: list[Row] = database.execute(query(beginning)).fetchall()
    return found


def text_of(record: Record) -> dict[str, Any]:
    """The event of a record; empty if it is not an object, or not JSON for everybody, such as half a surrogate pair."""
    try:
        found = msgspec.json.decode(record.data)
    except (ValueError, msgspec.MsgspecError):
        return {}
    return found if isinstance(found, dict) else {}


def same(row: Row, record: Record) -> bool:
    """Whether the last two columns of a row, event and data, are those of the record. Engines lay JSON out anew."""
    *_, as_json, as_base64 = row
    if as_json is None:
        return base64.b64decode(as_base64) == record.data
    return as_base64 is None and bool(json.loads(as_json) == json.loads(record.data))


def payload(record: Record, name: str) -> Any:
    inside = text_of(record).get("payload")
    return inside.get(name) if isinstance(inside, dict) else None


def arrival(record: Record) -> str:
    return datetime.fromtimestamp(record.arrived_at / 1_000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def test_the_archive_has_every_record_once(database: Any, written: tuple[Path, list[Record], Core]) -> None:
    _, records, _ = written
    (lines,) = database.execute("SELECT count(*) FROM archive_lines").fetchone()
    assert lines > len(records)
    found = database.execute("SELECT sequence_number, event, data FROM archive").fetchall()
    assert Counter(row[0] for row in found) == Counter(record.position.sequence for record in records)
    by_number = {record.position.sequence: record for record in records}
    assert [row for row in found if not same(row, by_number[row[0]])] == []


def test_the_events_of_a_user(database: Any, written: tuple[Path, list[Record], Core]) -> None:
    expected = [record for record in written[1] if payload(record, "userId") == USER]
    found = rows(database, "The events of a user")
    assert len(found) == len(expected) > 20
    assert [row[0] for row in found] == [arrival(record) for record in expected]
    assert [row for row, record in zip(found, expected, strict=True) if not same((row[3], None), record)] == []


def test_who_was_over_a_limit_at_a_time(database: Any, written: tuple[Path, list[Record], Core]) -> None:
    """As the service itself says it of the records until then."""
    then = Core()
    assert not then.deliver(*(each for each in written[1] if each.arrived_at <= THEN)).unsettled
    over = {
        (user, limit)
        for user in {str(payload(record, "userId")) for record in written[1]}
        for limit, shown in then.limits(user, THEN).items()
        if shown.get("value") and Decimal(shown["progress"]) > Decimal(shown["value"])
    }
    assert len(over) > 3
    assert {(row[0], row[1]) for row in rows(database, "Who was over a limit")} == over


def test_what_was_quarantined(database: Any, written: tuple[Path, list[Record], Core]) -> None:
    """The section has a view before its query."""
    expected = {
        (entry.reason, entry.detail, entry.record.position.sequence): entry.record
        for entry in written[2].quarantine.entries()
    }
    found = rows(database, "What was quarantined")
    assert len(found) == len(expected) > 10
    assert [row for row in found if not same(row, expected[row[0], row[1], row[4]])] == []


def test_how_many_events_of_each_type(database: Any, written: tuple[Path, list[Record], Core]) -> None:
    expected: Counter[tuple[str, str, Any]] = Counter()
    for record in written[1]:
        moment = datetime.fromtimestamp(record.arrived_at / 1_000, UTC)
        kind = text_of(record).get("type")
        expected[f"{moment:%Y-%m-%d}", f"{moment:%H}", kind if isinstance(kind, str) else None] += 1
    found = {(row[0], row[1], row[2]): row[3] for row in rows(database, "How many events of each type")}
    assert found == expected
    assert len({hour for _, hour, _ in found}) == 3


def test_events_that_were_sent_more_than_once(database: Any, written: tuple[Path, list[Record], Core]) -> None:
    ids = Counter(
        found for record in written[1] if isinstance(found := text_of(record).get("eventId"), str | int) and found
    )
    expected = {str(event_id): times for event_id, times in ids.items() if times > 1}
    found = {row[0]: row[1] for row in rows(database, "Events that a producer sent")}
    assert found == expected
    assert len(found) > 5


def test_the_table_of_athena_is_where_the_objects_are() -> None:
    (table,) = (block for block in blocks() if "CREATE EXTERNAL TABLE" in block)
    (template,) = re.findall(r"'storage.location.template' = '(.*)'", table)
    name = Name("limit-events", datetime(2026, 1, 31, 7, tzinfo=UTC), "shardId-000000000000", "1", "2")
    folder = template.replace("${date}", "2026-01-31").replace("${hour}", "07")
    assert folder + name.path().rpartition("/")[2] == f"s3://my-bucket/archive/{name.path()}"
    (location,) = re.findall(r"^LOCATION '(.*)'", table, re.MULTILINE)
    assert template.startswith(location)


def test_every_field_of_a_line_is_in_the_view_and_explained() -> None:
    (view,) = (block for block in blocks() if block.startswith("CREATE VIEW archive AS"))
    fields = _Stored.__struct_encode_fields__
    assert [field for field in fields if f"'$.{field}'" not in view] == []
    assert [field for field in fields if f"`{field}`" not in PAGE.read_text(encoding="utf-8")] == []
