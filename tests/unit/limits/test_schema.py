"""The schema files match the models, and reject what the models reject as far as a schema can."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored
from consumer.limits import schema
from consumer.limits.event_types import EVENTS
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.limits.view import view

ROOT = Path(__file__).resolve().parents[3]
WRITTEN = ROOT / "docs" / "schema"
EXAMPLES: list[dict[str, Any]] = json.loads((ROOT / "examples" / "events.json").read_text())
INVALID = "e-dan-04"
"""The example of a record that is quarantined."""

ABSENT = object()
NOT_STRINGS: tuple[object, ...] = (None, 1, True, [], {})
NOT_IDS: tuple[object, ...] = (*NOT_STRINGS, "", "x" * 129, "a\u0000b", "a\nb", "a\u007f", "\u009f")
NOT_TIMES: tuple[object, ...] = (None, "1767225600000", True, 1.5, 2**53, -(2**53), [], {})
NOT_AMOUNTS: tuple[object, ...] = (
    *(
        None,
        5,
        5.0,
        True,
        [],
        {},
        "",
        " 5",
        "5 ",
        "1_000",
        "1,000",
        "1e5",
        "1E+3",
        "+5",
        "05",
        "-05",
        ".5",
        "5.",
        "--5",
    ),
    *("NaN", "Infinity", "0x10", "\u0665", "\uff15", "1" * 39, "0." + "1" * 19),
)

REFUSED: dict[str, tuple[str, tuple[object, ...]]] = {
    "aggregateId": ("USER_LIMIT_CREATED", (ABSENT, *NOT_IDS)),
    "context": ("USER_LIMIT_CREATED", (ABSENT, None, "c-1", [])),
    "context.correlationId": ("USER_LIMIT_CREATED", NOT_STRINGS),
    "createdAt": ("USER_LIMIT_CREATED", (ABSENT, *NOT_TIMES)),
    "eventId": ("USER_LIMIT_CREATED", (ABSENT, *NOT_IDS)),
    "sequenceNumber": ("USER_LIMIT_CREATED", (ABSENT, None, 0, -1, 2**53, 1.5, "3", True)),
    "source": ("USER_LIMIT_CREATED", (ABSENT, *NOT_STRINGS)),
    "type": ("USER_LIMIT_CREATED", (ABSENT, *NOT_STRINGS)),
    "payload": ("USER_LIMIT_CREATED", (ABSENT, None, "{}", [])),
    "payload.brandId": ("USER_LIMIT_CREATED", (ABSENT, *NOT_IDS)),
    "payload.currencyCode": ("USER_LIMIT_RESET", (ABSENT, *NOT_STRINGS, "sek", "SE", "SEKK", "S1K", "\u00c5SK")),
    "payload.userId": ("USER_LIMIT_PROGRESS_CHANGED", (ABSENT, *NOT_IDS)),
    "payload.userLimitId": ("USER_LIMIT_RESET", (ABSENT, *NOT_IDS)),
    "payload.nextResetTime": ("USER_LIMIT_PROGRESS_CHANGED", NOT_TIMES),
    "payload.activeFrom": ("USER_LIMIT_CREATED", (ABSENT, *NOT_TIMES)),
    "payload.activeUntil": ("USER_LIMIT_CREATED", NOT_TIMES),
    "payload.createdAt": ("USER_LIMIT_CREATED", NOT_TIMES),
    "payload.period": ("USER_LIMIT_CREATED", (ABSENT, *NOT_STRINGS, "day", "YEAR", "")),
    "payload.status": ("USER_LIMIT_CREATED", (ABSENT, *NOT_STRINGS, "CANCELLED", "Active", "")),
    "payload.type": ("USER_LIMIT_RESET", (ABSENT, *NOT_STRINGS, "deposit", "WIN")),
    "payload.value": ("USER_LIMIT_CREATED", (ABSENT, *NOT_AMOUNTS, "-1", "-0.01")),
    "payload.previousLimitValue": ("USER_LIMIT_CREATED", NOT_AMOUNTS),
    "payload.progress": ("USER_LIMIT_CREATED", NOT_AMOUNTS),
    "payload.amount": ("USER_LIMIT_PROGRESS_CHANGED", (ABSENT, *NOT_AMOUNTS)),
    "payload.previousProgress": ("USER_LIMIT_PROGRESS_CHANGED", (ABSENT, *NOT_AMOUNTS)),
    "payload.remainingAmount": ("USER_LIMIT_PROGRESS_CHANGED", NOT_AMOUNTS),
    "payload.resetAmount": ("USER_LIMIT_RESET", (ABSENT, *NOT_AMOUNTS)),
    "payload.resetPercentage": ("USER_LIMIT_RESET", (ABSENT, *NOT_AMOUNTS)),
    "payload.unusedAmount": ("USER_LIMIT_RESET", (ABSENT, *NOT_AMOUNTS)),
}
"""By path: an event type with the field, and its invalid values."""


def example(kind: str) -> dict[str, Any]:
    return deepcopy(next(event for event in EXAMPLES if event["type"] == kind))


def altered(kind: str, place: str, value: object) -> dict[str, Any]:
    event = example(kind)
    *path, name = place.split(".")
    part = event
    for step in path:
        part = part[step]
    if value is ABSENT:
        del part[name]
    else:
        part[name] = value
    return event


@cache
def validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(schema.schemas()[f"{kind.lower().replace('_', '-')}.json"])


def decoded(event: dict[str, Any]) -> object:
    return Limits().decode(json.dumps(event).encode())


def refusals() -> list[Any]:
    cases = []
    for place, (kind, values) in REFUSED.items():
        for value in values:
            shown = "absent" if value is ABSENT else json.dumps(value)[:24]
            cases.append(pytest.param(kind, place, value, id=f"{place}={shown}"))
    return cases


def test_docs_schema_is_what_the_models_say() -> None:
    made = {name: schema.text(one) for name, one in schema.schemas().items()}
    written = {path.name: path.read_text(encoding="utf-8") for path in WRITTEN.iterdir()}
    assert written == made, "docs/schema is out of date: run `make schema`"


@pytest.mark.parametrize("name", list(schema.schemas()))
def test_a_schema_is_sound_and_tells_of_every_field(name: str) -> None:
    one = schema.schemas()[name]
    Draft202012Validator.check_schema(one)
    for part in (one, *one.get("$defs", {}).values()):
        assert part["title"]
        assert part["description"]
        assert all(field["description"] for field in part["properties"].values())


def test_no_optional_field_may_be_null() -> None:
    assert "null" not in json.dumps(schema.schemas())


def test_every_meaning_is_used() -> None:
    text = json.dumps(schema.schemas())
    assert [name for name, meaning in schema.MEANING.items() if json.dumps(meaning)[1:-1] not in text] == []


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event["eventId"])
def test_schema_and_model_agree_on_an_example(event: dict[str, Any]) -> None:
    if event["type"] not in EVENTS:
        assert isinstance(decoded(event), Ignored)
    elif event["eventId"] == INVALID:
        assert not validator(event["type"]).is_valid(event)
        with pytest.raises(Rejected):
            decoded(event)
    else:
        validator(event["type"]).validate(event)
        assert not isinstance(decoded(event), Ignored)


@pytest.mark.parametrize(("kind", "place", "value"), refusals())
def test_schema_and_model_refuse_the_same(kind: str, place: str, value: object) -> None:
    event = altered(kind, place, value)
    assert not validator(kind).is_valid(event)
    with pytest.raises(Rejected) as rejected:
        decoded(event)
    assert rejected.value.reason is Reason.SCHEMA
    assert rejected.value.detail.startswith(place)


def test_every_field_of_every_event_has_refusals() -> None:
    places = set()
    for one in schema.schemas().values():
        if payload := next((part for name, part in one.get("$defs", {}).items() if name != "Context"), None):
            places |= set(one["properties"]) | {f"payload.{name}" for name in payload["properties"]}
    assert places == REFUSED.keys() - {"context.correlationId"}


@pytest.mark.parametrize(
    ("kind", "place", "value", "reason"),
    [
        pytest.param("USER_LIMIT_CREATED", "payload.value", "1" * 30 + "." + "1" * 9, Reason.SCHEMA, id="39 digits"),
        pytest.param("USER_LIMIT_PROGRESS_CHANGED", "payload.amount", "9" * 38, Reason.SCHEMA, id="a sum of 39 digits"),
        pytest.param("USER_LIMIT_CREATED", "createdAt", 1.0, Reason.SCHEMA, id="1.0 is an integer to a schema"),
        pytest.param("USER_LIMIT_CREATED", "eventId", "\ud800", Reason.SCHEMA, id="a lone surrogate"),
        pytest.param("USER_LIMIT_CREATED", "aggregateId", "u-other", Reason.IDENTITY, id="aggregateId not the user"),
    ],
)
def test_what_a_schema_cannot_say(kind: str, place: str, value: object, reason: Reason) -> None:
    event = altered(kind, place, value)
    if place == "payload.amount":
        event["payload"]["previousProgress"] = "0.1"
    assert validator(kind).is_valid(event)
    with pytest.raises(Rejected) as rejected:
        decoded(event)
    assert rejected.value.reason is reason


def test_the_view_of_an_example_is_valid() -> None:
    limits = Limits()
    shown = Draft202012Validator(schema.schemas()[schema.VIEW])
    states: dict[tuple[str, str], LimitState] = {}
    for data in EXAMPLES:
        if data["type"] in EVENTS and data["eventId"] != INVALID:
            event = limits.decode(json.dumps(data).encode())
            assert not isinstance(event, Ignored)
            key, alone = limits.key(event), limits.state_of(event)
            states[key] = limits.merge(states[key], alone) if key in states else alone
            shown.validate(view(states[key], 0).to_json())
    assert states
