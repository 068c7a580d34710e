"""Compares a stored limit with the one that its events lead to. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from consumer.engine.projection import Plain
from consumer.limits import codec
from consumer.limits.state import LimitState, merge


class Difference(NamedTuple):
    """An attribute of the item in which both differ, as codec.dump has it. None: it is absent."""

    name: str
    table: "Plain | None"
    archive: "Plain | None"


def lacks(state: LimitState | None, effects: LimitState) -> bool:
    """Whether the state lacks an effect: whether merging the effects into it would change it."""
    return state is None or merge(state, effects) != state


def differences(table: LimitState | None, archive: LimitState | None) -> list[Difference]:
    """In the order of the attributes of an item."""
    left, right = _dumped(table), _dumped(archive)
    names = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    return [Difference(name, left.get(name), right.get(name)) for name in names]


def contradicts(table: LimitState, archive: LimitState) -> bool:
    """Whether both have different contents from one event, or another brand or currency: a join would hide one."""
    return table != archive and any(map(_is_contradiction, differences(table, archive)))


def _is_contradiction(found: Difference) -> bool:
    left, right = found.table, found.archive
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return all(left[part] == right[part] for part in ("sequence", "eventId", "at"))
    return left is not None and right is not None


def _dumped(state: LimitState | None) -> Mapping[str, Plain]:
    return {} if state is None else codec.dump(state)
