"""Compares a stored state with the one that its events lead to. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from consumer.engine.optional_parts import RefusesByState
from consumer.engine.projection import Plain, Projection

S = TypeVar("S")


class Difference(NamedTuple):
    """An attribute of the item in which both differ, as `dump` has it. None: it is absent."""

    name: str
    table: "Plain | None"
    archive: "Plain | None"


class Comparison(Generic[S]):
    """Compares states of a projection. `identity` and `contradicts`: those of RefusesByState."""

    def __init__(self, projection: Projection[Any, S]) -> None:
        self.projection = projection
        self.identity: Callable[[S], tuple[str, ...]] = _no_identity
        self.contradicts: Callable[[S, S], bool] = _never
        if isinstance(projection, RefusesByState):
            self.identity, self.contradicts = projection.identity, projection.contradicts

    def lacks(self, state: S | None, effects: S) -> bool:
        """Whether the state lacks an effect: whether merging the effects into it would change it."""
        return state is None or self.projection.merge(state, effects) != state

    def differences(self, table: S | None, archive: S | None) -> list[Difference]:
        """In the order of the attributes of an item."""
        left, right = self._dumped(table), self._dumped(archive)
        names = [name for name in {**left, **right} if left.get(name) != right.get(name)]
        return [Difference(name, left.get(name), right.get(name)) for name in names]

    def _dumped(self, state: S | None) -> Mapping[str, Plain]:
        return {} if state is None else self.projection.dump(state)


def _no_identity(_state: object) -> tuple[str, ...]:
    return ()


def _never(_table: object, _archive: object) -> bool:
    return False
