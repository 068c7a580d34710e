"""Checks docs/reference/events.md: its rejected values are tried, its sequence of events is replayed line by line."""

import gzip
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from consumer.engine.aggregation import MAGIC
from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome, RecordOutcome
from consumer.engine.records import Position, Record
from consumer.limits import event_types
from consumer.limits.events import OUT_OF_SCOPE
from tests.support.generators import kpl
from tests.support.generators.events import START
from tests.support.simulation.core import Core

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = json.loads((ROOT / "examples" / "events.json").read_text())
SOUND = ("e-anna-02", "e-anna-06", "e-anna-08")
"""The CREATED, PROGRESS_CHANGED and RESET of the examples."""

WARNINGS = {
    event_types.VALUE_DRIFT,
    event_types.PROGRESS_DRIFT,
    event_types.RESET_DRIFT,
    event_types.NEGATIVE_AMOUNT,
    event_types.NEGATIVE_PROGRESS,
    event_types.OVER_LIMIT,
    event_types.SEQUENCE_CONFLICT,
    event_types.SEQUENCE_JUMP,
    event_types.TIME_DRIFT,
    "odd_time:createdAt",
    "odd_time:payload.activeFrom",
    "odd_time:payload.activeUntil",
    "odd_time:payload.createdAt",
    "odd_time:payload.nextResetTime",
}


def became(core: Core, data: object) -> list[str]:
    """The outcome of another record (an event, bytes or a whole record), in the words of the page."""
    (record_outcome,) = core.deliver(data).record_outcomes
    assert record_outcome
    return marks(record_outcome)


def shown(core: Core, event: dict[str, Any], now: int) -> dict[str, Any]:
    """The read model of the event's limit."""
    return core.limits(event["payload"]["userId"], now)[event["payload"]["userLimitId"]]


def marks(record_outcome: RecordOutcome) -> list[str]:
    """The words for outcomes on the page."""
    reason = [str(record_outcome.rejected.reason)] if record_outcome.rejected else []
    return [str(record_outcome.outcome), *record_outcome.warnings, *reason]


def words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def table(name: str) -> list[list[str]]:
    """The rows of the table between `<!-- name -->` and `<!-- end -->`, split into cells."""
    (part,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    rows = part.strip().splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def first_column(heading: str) -> set[str]:
    """The first column of the first table under the heading."""
    (part,) = re.findall(rf"^### {heading}\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
    return {words(row)[0] for row in re.findall(r"^\| `.*$", part.split("<!--")[0], re.MULTILINE)}


def refused_records() -> list[Any]:
    return [
        pytest.param(data.encode(), words(reason)[0], id=data)
        for records, reason in table("records")
        for data in words(records)
    ]


def refused_fields() -> list[Any]:
    return [
        pytest.param(place, value, words(reason)[0], id=f"{place}={value}")
        for places, values, reason in table("fields")
        for place in words(places)
        for value in [*(["absent"] if "absent" in values else []), *words(values)]
    ]


def sound_event(place: str) -> dict[str, Any]:
    """A valid event that has, or may have, a field at the path."""
    path = place.split(".")
    if path[0] != "payload" or len(path) == 1:
        return example(SOUND[0])
    for event_id in SOUND:
        event = example(event_id)
        model = event_types.EVENTS[event["type"]].model.model_fields["payload"].annotation
        if path[1] in {known.alias for known in getattr(model, "model_fields", {}).values()}:
            return event
    raise AssertionError(f"no event has {place}")


def example(event_id: str) -> dict[str, Any]:
    return deepcopy(next(event for event in EXAMPLES if event["eventId"] == event_id))


@pytest.mark.parametrize("event_id", SOUND)
def test_the_events_that_the_refused_ones_are_made_of_are_sound(event_id: str) -> None:
    assert became(Core(), example(event_id)) == ["applied"]


@pytest.mark.parametrize(("data", "reason"), refused_records())
def test_a_record_of_the_page_is_refused(data: bytes, reason: str) -> None:
    assert became(Core(), data) == ["quarantined", reason]


@pytest.mark.parametrize(("place", "value", "reason"), refused_fields())
def test_a_field_of_the_page_is_refused(place: str, value: str, reason: str) -> None:
    event = sound_event(place)
    *path, name = place.split(".")
    part = event
    for step in path:
        part = part[step]
    if value == "absent":
        del part[name]
    else:
        part[name] = json.loads(value)
    core = Core()
    assert became(core, event) == ["quarantined", reason]
    (entry,) = core.quarantine.entries()
    assert entry.detail.startswith(f"{place}:")


def test_every_field_of_every_event_is_in_the_table() -> None:
    places = {place for row in table("fields") for place in words(row[0])}
    for known in event_types.EVENTS.values():
        payload = known.model.model_fields["payload"].annotation
        envelope = {str(one.alias) for one in known.model.model_fields.values()}
        inside = {f"payload.{one.alias}" for one in getattr(payload, "model_fields", {}).values()}
        assert envelope | inside <= places


def test_every_code_is_described() -> None:
    assert first_column("Reason codes") == set(Reason)
    assert first_column("Warnings") == WARNINGS
    assert {words(row)[0] for row in re.findall(r"^\| `[a-z]+` \| .*$", PAGE, re.MULTILINE)} >= set(Outcome)
    assert set(words(PAGE)) >= OUT_OF_SCOPE | event_types.EVENTS.keys()


def nested(depth: int) -> bytes:
    """An object with that many nested objects and arrays."""
    return b'{"type": "NEW", "a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def listed(values: int) -> bytes:
    """An object with that many values: itself, two in it, and those in the list."""
    return b'{"type": "NEW", "a": [0' + b",0" * (values - 4) + b"]}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", ["quarantined", "RECORD_DATA"], id="empty"),
        pytest.param(b"x" * 262_145, ["quarantined", "TOO_LARGE"], id="one byte too large"),
        pytest.param(b"x" * 262_144, ["quarantined", "JSON"], id="as large as may be"),
        pytest.param(json.dumps(example(SOUND[0])).encode("utf-16"), ["quarantined", "ENCODING"], id="UTF-16"),
        pytest.param(json.dumps(example(SOUND[0])).encode("utf-32-le"), ["quarantined", "ENCODING"], id="UTF-32"),
        pytest.param(gzip.compress(b"{}"), ["quarantined", "ENCODING"], id="compressed"),
        pytest.param(b'{"a": "\n"}', ["quarantined", "JSON"], id="a raw control character"),
        pytest.param(b'{"a": ' + b"9" * 1_001 + b"}", ["quarantined", "JSON"], id="1,001 digits"),
        pytest.param(b'{"type": "NEW", "a": ' + b"9" * 1_000 + b"}", ["ignored"], id="1,000 digits"),
        pytest.param(b'{"type": "NEW", "a": 1e' + b"9" * 19 + b"}", ["quarantined", "JSON"], id="a vast exponent"),
        pytest.param(b'{"type": "NEW", "a": 1e' + b"9" * 17 + b"}", ["ignored"], id="a large exponent"),
        pytest.param(b"[" * 100_000, ["quarantined", "JSON"], id="nested without end"),
        pytest.param(nested(101), ["quarantined", "JSON"], id="101 inside each other"),
        pytest.param(nested(100), ["ignored"], id="100 inside each other"),
        pytest.param(listed(50_001), ["quarantined", "JSON"], id="50,001 values"),
        pytest.param(listed(50_000), ["ignored"], id="50,000 values"),
        pytest.param(kpl.aggregate(*[b"{}"] * 5_001), ["quarantined", "AGGREGATE"], id="5,001 records in one"),
        pytest.param(MAGIC + b"\x00" * 16, ["quarantined", "AGGREGATE"], id="a broken aggregate"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(example(SOUND[0])).encode(), ["applied"], id="a byte order mark"),
        pytest.param(b'{"type": 1, "type": "NEW"}', ["ignored"], id="a name that stands twice"),
        pytest.param(b'{"type": "LIMIT_USER_CREATED", "payload": 7}', ["ignored"], id="a type that is passed over"),
    ],
)
def test_a_record_that_the_page_tells_of_in_words(data: bytes, expected: list[str]) -> None:
    assert became(Core(), data) == expected


@pytest.mark.parametrize("text", [None, 7, "", "e30", "e30=\n", "e3 0=", "e30=e30=", "e30_"])
def test_data_that_is_not_base64(text: object) -> None:
    record = Record.from_base64(Position("stream", "shard", "1"), text, 0)
    assert became(Core(), record) == ["quarantined", "RECORD_DATA"]


def test_null_differs_from_an_absent_field() -> None:
    event = example(SOUND[0])
    del event["payload"]["nextResetTime"]
    assert became(Core(), event) == ["applied"]


def test_the_sequence() -> None:
    (chapter,) = re.findall(r"^## A sequence, event by event\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    steps = re.findall(r"^### (\d+\. .*?)\n(.*?)(?=^### |\Z)", chapter, re.DOTALL | re.MULTILINE)
    assert len(steps) == 12
    core = Core()
    for heading, text in steps:
        event, *limits = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
        assert became(core, event) == words(heading), heading
        times = re.findall(r"read at `(\d+)`", text)
        assert [shown(core, event, int(now)) for now in times] == limits, heading


def test_the_example_file() -> None:
    core = Core()
    outcomes = [[event["eventId"], *became(core, event)] for event in EXAMPLES]
    assert [[*words(name), *words(outcome)] for name, _, outcome in table("examples")] == outcomes


def numbered(event_id: str, sequence: int, name: str = "") -> dict[str, Any]:
    """An example with another sequence number, time and event id."""
    event, at = example(event_id), START + sequence
    return {**event, "sequenceNumber": sequence, "createdAt": at, "eventId": name or f"e-{sequence}"}


@pytest.mark.parametrize(("ahead", "expected"), [(1_000_000, ["applied"]), (1_000_001, ["applied", "sequence_jump"])])
def test_how_far_ahead_a_number_may_be(ahead: int, expected: list[str]) -> None:
    core = Core()
    assert became(core, numbered(SOUND[0], 5_000)) == ["applied"]
    assert became(core, numbered(SOUND[0], 5_000 + ahead)) == expected


@pytest.mark.parametrize("stored", [None, 1, 1_000_000_000])
@pytest.mark.parametrize(
    ("sequence", "expected"), [(1_000_000_000, "applied"), (1_000_000_001, "quarantined")], ids=["highest", "too high"]
)
def test_the_highest_number_whatever_is_stored(stored: int | None, sequence: int, expected: str) -> None:
    core = Core()
    if stored is not None:
        assert became(core, numbered(SOUND[0], stored, "e-0")) == ["applied"]
    assert became(core, numbered(SOUND[0], sequence))[0] == expected


def test_a_number_may_contradict_the_time() -> None:
    core = Core()
    assert became(core, numbered("e-anna-06", 900)) == ["applied"]
    younger = {**numbered("e-anna-06", 7), "createdAt": START + 901}
    assert became(core, younger) == ["stale", "time_drift"]


@pytest.mark.parametrize("names", [("e-a", "e-b"), ("e-b", "e-a")])
def test_two_events_of_one_number(names: tuple[str, str]) -> None:
    core = Core()
    events = {name: numbered("e-dan-02", 7, name) for name in names}
    events["e-b"]["payload"] |= {"amount": "5"}
    first, second = (became(core, events[name]) for name in names)
    assert first == ["applied"]
    assert "sequence_conflict" in second
    assert shown(core, events["e-b"], 0)["progress"] == "5"


def test_a_newer_creation_leaves_the_progress() -> None:
    core = Core()
    newer = numbered("e-anna-02", 6)
    newer["payload"]["progress"] = "7"
    for event in (example("e-anna-02"), example("e-anna-05"), newer):
        assert became(core, event) == ["applied"]
    assert shown(core, newer, 0)["progress"] == "200"


def test_a_reset_is_overdue_again_when_the_next_one_it_announced_is_due() -> None:
    core = Core()
    event = example("e-anna-08")
    core.deliver(event)
    due = event["payload"]["nextResetTime"]
    assert [shown(core, event, now)["resetOverdue"] for now in (due - 1, due)] == [False, True]


@pytest.mark.parametrize(
    ("before", "expected"), [("e-dan-01", ["applied", "negative_amount"]), ("e-dan-02", ["stale"])]
)
def test_a_late_event_is_held_against_itself_alone_and_only_when_it_changes_the_limit(
    before: str, expected: list[str]
) -> None:
    core = Core()
    core.deliver(numbered(before, 9))
    assert became(core, numbered("e-dan-03", 3)) == expected
