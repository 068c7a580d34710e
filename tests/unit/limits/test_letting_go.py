"""A batch is freed from memory, whatever was wrong with it."""

import gc
from collections.abc import Iterable, Iterator

import pytest

from consumer.engine.processor import BatchResult, _Batch
from consumer.engine.quarantine import InMemoryQuarantine, Quarantined
from consumer.engine.records import Record
from consumer.limits.sample import POISONS
from tests.support.generators import kpl
from tests.support.generators.events import START, created, position
from tests.support.simulation.core import Core

SPOILT = {
    **{poison.name: poison.spoil(created()) for poison in POISONS},
    "not base64": Record.from_base64(position(2), "e30#=", START),
    "no protobuf": kpl.sealed(b"\xff"),
}


class Forgetful(InMemoryQuarantine):
    """A quarantine that keeps no reference to its entries."""

    def put(self, entries: Iterable[Quarantined]) -> None:
        """Stores nothing."""


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The test runs without the garbage collector: objects are freed by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", SPOILT)
def test_a_batch_is_freed_whatever_was_wrong_with_it(name: str) -> None:
    """A kept error references its frames. The garbage collector does not see those inside pydantic's errors."""
    assert Core(quarantine=Forgetful()).deliver(created(), SPOILT[name]).reasons.total() == 1
    assert [held for held in gc.get_objects() if isinstance(held, _Batch | BatchResult)] == []
