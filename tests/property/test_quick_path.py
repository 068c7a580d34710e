"""The quick path of decoding and the models never disagree: the same event in every field, or it is left to them."""

from copy import deepcopy
from random import Random

from hypothesis import given

from consumer.limits.sample import FOREIGN, POISONS, histories
from tests.property.hostile import SINGLE
from tests.property.strategies import times
from tests.support.generators.mutated import QUICK, agrees, mutated

SEED = 1
COUNT = 30_000


def test_mutated_events() -> None:
    found = {data: agrees(data) for data in mutated(Random(SEED), COUNT)}
    assert [data for data, agreed in found.items() if agreed is False] == []
    assert sum(agreed is True for agreed in found.values()) > COUNT // 10


@times(14)
@given(SINGLE)
def test_hostile_records(data: bytes) -> None:
    assert agrees(data) is not False


def test_plain_events_take_the_quick_path() -> None:
    known = [
        sample
        for sample in histories(Random(SEED), events=2_000)
        if sample.event and sample.event["type"] != FOREIGN[-1]
    ]
    assert {sample.event["type"] for sample in known if sample.event} > set(FOREIGN[:-1])
    assert [sample.data for sample in known if QUICK(sample.data) is None] == []


def test_no_poison_takes_the_quick_path() -> None:
    """Some are refused for what they are to the consumer only: another user's limit, and too high a number."""
    event = next(s.event for s in histories(Random(SEED)) if s.event and s.event["type"] == "USER_LIMIT_CREATED")
    taken = {poison.name for poison in POISONS if QUICK(poison.spoil(deepcopy(event))) is not None}
    assert taken == {"another user's limit", "sequence number in millions of millions"}
