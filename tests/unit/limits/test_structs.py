"""Structs have the fields, rules and properties of their models; a model with another rule is left to pydantic."""

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import AfterValidator, Field, field_validator, model_validator

from consumer.engine.projection import Ignored
from consumer.limits.decoding import Decoder
from consumer.limits.event_types import EVENTS
from consumer.limits.events import MAX_SEQUENCE, LimitEvent, Payload
from consumer.limits.structs import LONGEST, quick_path, struct_of
from tests.support.generators.events import Event, created, encode, progress_changed, reset

MODELS = {name: known.model for name, known in EVENTS.items()}
QUICK = quick_path(MODELS)
TYPE = "USER_LIMIT_NOTED"


class BoundedAtOtherPlaces(Payload):
    note: Annotated[str, Field(max_length=3, pattern="^[a-z]+$")]

    @model_validator(mode="after")
    def _differs(self) -> Self:
        if self.note == self.user_id:
            raise ValueError("note: is the user's id")
        return self

    @property
    def loud(self) -> str:
        return self.note.upper()

    def times(self, count: int) -> str:
        return self.note * count


def model_of(payload: type[Payload]) -> type[LimitEvent]:
    """The model of an event of TYPE."""
    members = {"__annotations__": {"type": Literal["USER_LIMIT_NOTED"], "payload": payload}, "__module__": __name__}
    return type("UserLimitNoted", (LimitEvent,), members)


def noted(**fields: object) -> bytes:
    event = progress_changed()
    kept = {name: event["payload"][name] for name in ("brandId", "currencyCode", "userId", "userLimitId")}
    return encode({**event, "type": TYPE, "payload": {**kept, **fields}})


def test_a_struct_has_the_properties_and_methods_of_its_model() -> None:
    event: Any = quick_path({TYPE: model_of(BoundedAtOtherPlaces)})(noted(note="abc"))
    assert (event.type, event.payload.loud, event.payload.times(2)) == (TYPE, "ABC", "abcabc")


@pytest.mark.parametrize("note", [None, 5, "", "abcd", "ABC", "u-1"])
def test_a_struct_has_the_rules_of_its_model(note: object) -> None:
    quick = quick_path({TYPE: model_of(BoundedAtOtherPlaces)})
    assert quick(noted(note="a", userId="u-1")) is not None
    assert quick(noted(note=note, userId="u-1")) is None


class WithFieldValidator(Payload):
    note: str

    @field_validator("note")
    @classmethod
    def _short(cls, note: str) -> str:
        return note[:1]


class WithUnknownBound(Payload):
    note: Annotated[int, Field(gt=0)]


class WithCheckedNumber(Payload):
    note: Annotated[int, AfterValidator(abs)]


class WithOtherType(Payload):
    note: list[str]


class WithEarlyValidator(Payload):
    note: str

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return given


@pytest.mark.parametrize(
    ("payload", "note"),
    [
        (WithFieldValidator, "abc"),
        (WithUnknownBound, 1),
        (WithCheckedNumber, -1),
        (WithOtherType, ["a"]),
        (WithEarlyValidator, "a"),
    ],
)
def test_a_model_with_a_rule_that_structs_do_not_know_is_left_to_pydantic(payload: type[Payload], note: object) -> None:
    model = model_of(payload)
    assert struct_of(payload) is None
    assert struct_of(model) is None
    assert quick_path({TYPE: model})(noted(note=note)) is None
    event = Decoder({TYPE: model}, MAX_SEQUENCE).decode(noted(note=note))
    assert isinstance(event, model)


def test_a_model_registered_under_another_type_is_left_to_pydantic() -> None:
    assert quick_path({"OTHER": MODELS["USER_LIMIT_RESET"]})(encode(reset())) is None


@pytest.mark.parametrize("event", [created(progress="1"), progress_changed(), reset()])
def test_both_paths_lead_to_the_same_kind_of_event(event: Event) -> None:
    decoder = Decoder(MODELS, MAX_SEQUENCE)
    slow = decoder.decode(encode({**event, "unknown": 1}))
    quick: object = QUICK(encode(event))
    assert (type(slow), slow) == (type(quick), quick)
    assert type(quick) is struct_of(MODELS[event["type"]])


@pytest.mark.parametrize(
    "change",
    [{"eventId": "\u00e9"}, {"eventId": "a\x7fb"}, {"source": 'a"b'}, {"unknown": 1}, {"source": "x" * LONGEST}],
)
def test_what_is_not_plain_is_left_to_pydantic(change: Event) -> None:
    assert QUICK(encode({**progress_changed(), **change})) is None


def test_amounts_are_decimals_without_trailing_zeros() -> None:
    event: Any = QUICK(encode(progress_changed(amount="-0.50", previousProgress="200")))
    assert (str(event.payload.amount), str(event.payload.previous_progress)) == ("-0.5", "2E+2")
    assert event.payload.progress == Decimal("199.5")
    assert event.payload.remaining_amount is None


@pytest.mark.parametrize(
    ("payload", "taken"),
    [("[" * 99 + "]" * 99, True), ("[" * 100 + "]" * 100, False), ("1e99999999999999999999", False)],
)
def test_a_type_out_of_scope_is_parsed_in_full(payload: str, taken: bool) -> None:
    data = f'{{"type":"LIMIT_USER_CREATED","payload":{payload}}}'.encode()
    assert QUICK(data) == (Ignored("LIMIT_USER_CREATED") if taken else None)
