"""What the engine asks of the thing it keeps: events that become states, and states that form a join.

The engine folds events into states and stores them; it knows nothing of what they mean. `limits` is the projection
that ships, examples/second_projection.py another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeAlias, TypeVar

Key: TypeAlias = tuple[str, str]
"""Partition key and sort key of one kept state."""

Plain: TypeAlias = "str | int | bool | Decimal | Mapping[str, Plain]"
"""What a stored attribute may be."""

E = TypeVar("E")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Ignored:
    """A sound record of a type that is not ours. `type` is one of a few names, fit for a metric's label."""

    type: str


@dataclass(frozen=True, slots=True)
class Review:
    """What is to be said of an event, seen beside the state it meets."""

    repeated: bool = False
    """The very event has been merged before."""
    warnings: tuple[str, ...] = ()
    """Kinds of contradiction found; the event is applied all the same."""


class Codec(Protocol[S]):
    """A state as stored attributes, and back. `load(dump(state)) == state`.

    `load` raises Malformed for attributes that `dump` does not make, but for unknown ones, which it ignores.
    """

    @property
    def key_names(self) -> tuple[str, str]:
        """The attributes that hold the key; `dump` fills them."""
        ...

    def dump(self, kept: S) -> dict[str, Plain]: ...

    def load(self, attributes: Mapping[str, Plain]) -> S: ...


class Projection(Codec[S], Protocol[E, S]):
    """Pure functions. `merge` is commutative, associative and idempotent: the engine relies on it."""

    def decode(self, data: bytes) -> E | Ignored:
        """The event in `data`. Raises Rejected."""
        ...

    def type_of(self, event: E) -> str:
        """The event's type: one of a few names."""
        ...

    def time_of(self, event: E) -> int:
        """When the event came to be, by its own word: epoch milliseconds."""
        ...

    def key(self, event: E) -> Key: ...

    def state_of(self, event: E) -> S:
        """The state that the event alone leads to."""
        ...

    def merge(self, left: S, right: S) -> S: ...

    def correlation_id(self, event: E) -> str | None:
        """The id under which the event's producer knows it, for logs; None when it tells none."""
        ...

    def review(self, stored: S | None, event: E) -> Review:
        """Holds an event against the state it is about to be merged into, if there is one. Raises Rejected."""
        ...
