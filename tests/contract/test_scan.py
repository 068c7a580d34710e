"""The contract of all repositories that can be read as a whole."""

from typing import Any

import pytest

from consumer.engine.errors import Unavailable
from consumer.engine.projection import Key
from consumer.engine.repository import ScannableRepository, Stored, Unreadable
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.contract.conftest import Dynamo, Kept
from tests.contract.test_unreadable_rows import spoil
from tests.support.driven.processes import free_port
from tests.support.generators.events import created
from tests.support.simulation.core import Core


def scanned(repository: ScannableRepository[LimitState]) -> dict[Key, Stored[LimitState]]:
    found: dict[Key, Stored[LimitState]] = {}
    for part in repository.scan():
        assert not part.keys() & found.keys()
        found |= part
    return found


def test_an_empty_table_has_nothing(place: Kept) -> None:
    assert scanned(place.limits()) == {}


def test_everything_is_found_once_as_it_is_stored(place: Kept) -> None:
    repository = place.limits()
    keys = [(f"u-{number % 7}", f"l-{number}") for number in range(300)]
    Core(repository).deliver(*(created(1, userId=user, userLimitId=limit) for user, limit in keys))

    found = scanned(repository)
    assert found.keys() == set(keys)
    assert found == repository.load(keys)


class SmallPages:
    """Requests with pages of 70 items. A page of DynamoDB has 1 MiB, but not one of every emulator."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests

    def scan(self, **params: Any) -> Any:
        return self._requests.scan(**params, Limit=70)


def test_more_than_a_page_of_a_scan(dynamo: Dynamo) -> None:
    keys = [(f"u-{number}", "l") for number in range(200)]
    Core(dynamo.limits()).deliver(*(created(1, userId=user, userLimitId=limit) for user, limit in keys))
    repository = dynamo.repository(Limits(), SmallPages(dynamo.requests()))
    assert sum(1 for _ in repository.scan()) > 2
    assert scanned(repository).keys() == set(keys)


def test_a_row_that_cannot_be_read_is_found_too(dynamo: Dynamo) -> None:
    repository = dynamo.limits()
    spoil(dynamo)
    assert [type(row) for row in scanned(repository).values()] == [Unreadable]


def test_a_table_that_does_not_answer(dynamo: Dynamo) -> None:
    dynamo = Dynamo(f"http://127.0.0.1:{free_port()}", dynamo.pool, dynamo.stack)
    with pytest.raises(Unavailable, match="scan of"):
        list(dynamo.repository(Limits()).scan())
