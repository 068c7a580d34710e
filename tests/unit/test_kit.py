"""Each check of the test kit fails for a projection that breaks its promise, and says which."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

from consumer import testing
from consumer.engine.projection import Ignored, Plain, Review
from consumer.engine.wire import parse_object
from consumer.testing import CHECKS, Check, Subject
from device_position import LastPosition, Report


def data(number: int, device: str = "van-7") -> bytes:
    report = {"fleet": "north", "device": device, "number": number, "at": number, "latitude": 0, "longitude": number}
    return json.dumps(report).encode()


REPORTS = st.integers(1, 3).map(data)


class KeepsTheFirst(LastPosition):
    def merge(self, left: Report, right: Report) -> Report:  # noqa: ARG002
        return left


class KeepsTheMiddle(LastPosition):
    def merge(self, left: Report, right: Report) -> Report:
        return left.model_copy(update={"longitude": (left.longitude + right.longitude) // 2})


class Adds(LastPosition):
    def merge(self, left: Report, right: Report) -> Report:
        return left.model_copy(update={"longitude": left.longitude + right.longitude})


class Copies(LastPosition):
    def merge(self, left: Report, right: Report) -> Report:
        return super().merge(left, right).model_copy()


class ChangesTheOther(LastPosition):
    def merge(self, left: Report, right: Report) -> Report:
        vars(right).update(vars(super().merge(left, right)))
        return right


class KeepsDecimals(LastPosition):
    def load(self, attributes: Mapping[str, Any]) -> Report:
        return Report.model_construct(**attributes)

    def dump(self, kept: Report) -> dict[str, Plain]:
        return {name: getattr(kept, name) for name in Report.model_fields}


class RefusesItsOwn(LastPosition):
    def load(self, attributes: Mapping[str, Any]) -> Report:
        return super().load({**attributes, "number": str(attributes["number"])})


class DumpsFalse(LastPosition):
    def dump(self, kept: Report) -> dict[str, Plain]:
        return {**super().dump(kept), "first": kept.number == 1 or kept.number}


class DumpsAFloat(LastPosition):
    def dump(self, kept: Report) -> dict[str, Plain]:
        degrees: Any = {"degrees": kept.longitude / 1_000_000}
        return {**super().dump(kept), "place": degrees}


class DumpsAnotherKey(LastPosition):
    def dump(self, kept: Report) -> dict[str, Plain]:
        return {**super().dump(kept), "device": f"{kept.device}-{kept.number}"}


class RaisesAnything(LastPosition):
    def decode(self, data: bytes) -> Report:
        return Report(**json.loads(data))


class AcceptsAnyText(LastPosition):
    def decode(self, data: bytes) -> Report:
        document = parse_object(data)
        device = document.get("device")
        if not isinstance(device, str):
            return super().decode(data)
        sound = json.dumps({**document, "device": "van-7"}, default=float).encode()
        return super().decode(sound).model_copy(update={"device": device})


class NeedsNoKey(LastPosition):
    def key(self, event: Report) -> tuple[str, str]:
        return ("", event.device)


class CountsInSeconds(LastPosition):
    def time_of(self, event: Report) -> Any:
        return event.at / 1_000


class IgnoresAll(LastPosition):
    def decode(self, data: bytes) -> Any:  # noqa: ARG002
        return Ignored("ANY")


class TrustsTheTable(LastPosition):
    def load(self, attributes: Mapping[str, Any]) -> Report:
        return Report(**attributes)


class CountsOn(LastPosition):
    def load(self, attributes: Mapping[str, Any]) -> Report:
        loaded = super().load(attributes)
        return loaded.model_copy(update={"number": loaded.number + 1})


class KnowsAll(LastPosition):
    def review(self, stored: Report | None, event: Report, alone: Report, *, changes: bool) -> Review:  # noqa: ARG002
        return Review(repeated=True)


class KnowsNothing(LastPosition):
    def review(self, stored: Report | None, event: Report, alone: Report, *, changes: bool) -> Review:  # noqa: ARG002
        return Review()


class ShortensTooMuch(LastPosition):
    def review_overtaken(self, stored: Report, event: Report) -> Any:
        return Review(repeated=stored == event)


class ShortensOtherwise(LastPosition):
    def review_overtaken(self, stored: Report, event: Report) -> Any:
        return Review(warnings=("late",)) if stored.number > event.number else None


BROKEN: list[tuple[Check, LastPosition, str]] = [
    (testing.records_have_one_key, IgnoresAll(), "records: .* is ignored"),
    (testing.merge_is_commutative, KeepsTheFirst(), "merge.left, right. is not merge.right, left."),
    (testing.merge_is_associative, KeepsTheMiddle(), "merge.merge.one, two., three. is not"),
    (testing.merge_is_idempotent, Adds(), "merge.left, left. is not left"),
    (testing.merge_returns_left_if_equal, Copies(), "return left itself"),
    (testing.merge_changes_no_argument, ChangesTheOther(), "merge changed one of its arguments"),
    (testing.states_survive_the_table, KeepsDecimals(), "equal states are dumped as"),
    (testing.states_survive_the_table, RefusesItsOwn(), "load raised Malformed for what dump wrote"),
    (testing.attributes_keep_their_types, DumpsFalse(), "first: bool in one dump, int in another"),
    (testing.attributes_keep_their_types, DumpsAFloat(), "place.degrees: float is not the type of an attribute"),
    (testing.keys_are_attributes, DumpsAnotherKey(), "not the event's key"),
    (testing.decode_refuses_or_returns, RaisesAnything(), "decode raised .*, not Rejected"),
    (testing.decode_refuses_or_returns, AcceptsAnyText(), "DynamoDB cannot store|key: parts of"),
    (testing.decode_refuses_or_returns, NeedsNoKey(), "key: parts of .0, 5. bytes"),
    (testing.decode_refuses_or_returns, CountsInSeconds(), "time_of: .* is not an integer"),
    (testing.load_refuses_or_returns, TrustsTheTable(), "load raised ValidationError, not Malformed"),
    (testing.load_refuses_or_returns, CountsOn(), "dump and load change the state"),
    (testing.review_agrees_with_merge, KnowsAll(), "called the first event of a key repeated"),
    (testing.review_agrees_with_merge, KnowsNothing(), "did not recognise an event"),
    (testing.review_overtaken_agrees, ShortensTooMuch(), "found an event that changes the state"),
    (testing.review_overtaken_agrees, ShortensOtherwise(), "review_overtaken found .*, review"),
]


@pytest.fixture(autouse=True)
def many_examples() -> Iterator[None]:
    """As many as on CI, so that what is broken is found. It need not be shortened and explained."""
    before = settings.get_current_profile_name()
    settings.register_profile("found", settings.get_profile("ci"), phases=[Phase.generate])
    settings.load_profile("found")
    yield
    settings.load_profile(before)


@pytest.mark.parametrize(
    ("check", "broken", "said"),
    BROKEN,
    ids=[f"{check.__name__}-{type(broken).__name__}" for check, broken, _ in BROKEN],
)
def test_a_broken_promise_is_found(check: Check, broken: LastPosition, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check(Subject(broken, REPORTS))


def test_every_check_can_fail() -> None:
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_records_of_two_keys_are_refused() -> None:
    with pytest.raises(AssertionError, match="records: two keys"):
        testing.records_have_one_key(Subject(LastPosition(), st.just(data(1)) | st.just(data(1, "van-8"))))
