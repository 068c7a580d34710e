"""The code in docs/how-to/add-an-event-type.md adds a working event type."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from consumer.engine.processor import Processor
from consumer.engine.quarantine import InMemoryQuarantine
from consumer.engine.repository import InMemoryRepository
from consumer.engine.retry_policy import NoRetry
from consumer.limits import event_types, events, schema
from consumer.limits.event_types import EVENTS, EventType
from consumer.limits.events import LimitEvent
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.limits.view import view
from tests.support.generators.events import Event, created, progress_changed, records

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how-to" / "add-an-event-type.md").read_text(encoding="utf-8")
MODEL, STATE, WARNINGS, REGISTRATION, TRIAL, MEANING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAME = "USER_LIMIT_PROGRESS_CORRECTED"


@pytest.fixture
def corrected() -> EventType:
    """The event type of the page, created in copies of the modules that the page names."""
    in_events = {**vars(events)}
    exec(MODEL, in_events)
    in_event_types = {**vars(event_types), "UserLimitProgressCorrected": in_events["UserLimitProgressCorrected"]}
    exec(STATE + WARNINGS, in_event_types)
    made: EventType = eval(f"{{{REGISTRATION}}}", in_event_types)[NAME]
    return made


@pytest.fixture
def limits(corrected: EventType) -> Limits:
    names: dict[str, Any] = {"Limits": Limits, "EVENTS": EVENTS, "corrected": corrected}
    exec(TRIAL, names)
    made: Limits = names["limits"]
    return made


def correction(progress: object, sequence: int = 3) -> Event:
    event = progress_changed(sequence)
    kept = {name: event["payload"][name] for name in ("brandId", "currencyCode", "userId", "userLimitId")}
    return {**event, "type": NAME, "payload": {**kept, "progress": progress}}


CREATED, CHANGED, CORRECTED = created(1, value="100"), progress_changed(2), correction("25.50")


class Trial:
    """The core in memory with the types of `limits`."""

    def __init__(self, limits: Limits) -> None:
        self.kept: InMemoryRepository[LimitState] = InMemoryRepository(limits)
        self.core: Processor[LimitEvent, LimitState] = Processor(
            limits, self.kept, InMemoryQuarantine(), time.monotonic
        )

    def take(self, *stream: Event) -> list[tuple[str, ...]]:
        record_outcomes = [
            record_outcome
            for record_outcome in self.core.process(records(*stream), NoRetry()).record_outcomes
            if record_outcome
        ]
        return [(record_outcome.outcome, *record_outcome.warnings) for record_outcome in record_outcomes]

    def shown(self) -> dict[str, Any]:
        (state,) = self.kept.states()
        return view(state, 0).to_json()


def test_before_it_is_added_the_type_is_ignored() -> None:
    assert Trial(Limits()).take(CREATED, CORRECTED) == [("applied",), ("ignored",)]


def test_a_correction_is_applied(limits: Limits) -> None:
    trial = Trial(limits)
    assert trial.take(CREATED, CHANGED, CORRECTED, CORRECTED) == [
        ("applied",),
        ("applied",),
        ("applied",),
        ("duplicate",),
    ]
    shown = trial.shown()
    assert (shown["progress"], shown["remaining"], shown["lastSequenceNumber"]) == ("25.5", "74.5", 3)


def test_any_order_ends_in_the_same_limit(limits: Limits) -> None:
    orders = [(CREATED, CHANGED, CORRECTED), (CORRECTED, CHANGED, CREATED), (CHANGED, CORRECTED, CREATED)]
    shown = []
    for order in orders:
        trial = Trial(limits)
        trial.take(*order)
        shown.append(trial.shown())
    assert shown == [shown[0]] * 3


@pytest.mark.parametrize(("progress", "warning"), [("100.01", "over_limit"), ("-1", "negative_progress")])
def test_its_warnings_are_counted(limits: Limits, progress: str, warning: str) -> None:
    assert Trial(limits).take(CREATED, correction(progress))[1] == ("applied", warning)


@pytest.mark.parametrize("progress", [None, 25, "25,50"])
def test_its_fields_are_checked(limits: Limits, progress: object) -> None:
    assert Trial(limits).take(correction(progress)) == [("quarantined",)]


def test_it_gets_a_schema_with_a_meaning_for_all_that_is_new(corrected: EventType) -> None:
    made = schema.schemas({NAME: corrected})["user-limit-progress-corrected.json"]
    Draft202012Validator(made).validate(CORRECTED)
    assert not Draft202012Validator(made).is_valid(correction(None))
    meanings = eval(f"{{{MEANING}}}")
    assert meanings.keys() == {
        "UserLimitProgressCorrected",
        "ProgressCorrectedPayload",
        "ProgressCorrectedPayload.progress",
    }
    parts = {"UserLimitProgressCorrected": made, **made["$defs"]}
    assert all(name.split(".")[0] in parts for name in meanings)
