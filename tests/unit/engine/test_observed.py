"""The wrappers call their function before each request, and an exception from it prevents the request."""

import pytest

from consumer.engine.errors import GaveUp
from consumer.engine.observed import ObservedQuarantine, ObservedRepository
from tests.support.simulation.core import FlakyQuarantine, FlakyRepository, memory


def test_each_request_to_a_repository_is_observed_by_its_part() -> None:
    parts: list[str] = []
    repository = ObservedRepository(memory(), parts.append)
    repository.load([])
    repository.save({})
    repository.partition("u-1")
    assert parts == ["load", "store", "load"]


def test_each_request_to_a_quarantine_is_observed() -> None:
    parts: list[str] = []
    ObservedQuarantine(FlakyQuarantine(lambda: False), parts.append).put([])
    assert parts == ["quarantine"]


def test_an_exception_prevents_the_request() -> None:
    inner = FlakyRepository(memory())
    repository = ObservedRepository(inner, give_up)
    with pytest.raises(GaveUp):
        repository.load([("u-1", "l-1")])
    with pytest.raises(GaveUp):
        repository.save({})
    assert (inner.loads, inner.saves) == ([], [])


def give_up(part: str) -> None:
    raise GaveUp(part)
