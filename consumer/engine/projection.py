"""The interface between the engine and what it keeps: events lead to states, and states can be merged.

The engine folds events into states and stores them. It does not know what they mean. `limits` is the projection
that ships with the service, examples/ has two more. `consumer.testing` checks what is promised here.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

Key: TypeAlias = tuple[str, str]
"""Partition key and sort key of a state."""

Plain: TypeAlias = "str | int | bool | Decimal | Mapping[str, Plain]"
"""The types of a stored attribute."""

E = TypeVar("E")
S = TypeVar("S")


class Ignored(NamedTuple):
    """A valid record of a type that the projection does not use.

    `type` is one of a few names, so that it can be the label of a metric.
    """

    type: str


class Review(NamedTuple):
    """The findings about an event, compared with the stored state."""

    repeated: bool = False
    """Whether this event was merged before."""
    warnings: tuple[str, ...] = ()
    """Kinds of contradictions. They do not stop the event from being applied."""


class Codec(Protocol[S]):
    """Converts a state to stored attributes and back. `load(dump(state)) == state`.

    `load` ignores unknown attributes, and raises Malformed for known ones with a content that `dump` never writes.
    An attribute has the same type in every dump: a store compares dumps, and True equals 1.
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
        """The time of the event according to the event: epoch milliseconds."""
        ...

    def key(self, event: E) -> Key: ...

    def state_of(self, event: E) -> S:
        """The state that the event alone leads to."""
        ...

    def merge(self, left: S, right: S) -> S:
        """The join of two states. It is `left` itself if it equals `left`, which makes comparisons fast."""
        ...

    def correlation_id(self, event: E) -> str | None:
        """The producer's id of the event for logs, None if absent."""
        ...

    def review(self, stored: S | None, event: E, alone: S, *, changes: bool) -> Review:
        """Compares an event with the state it will be merged into, if there is one. Raises Rejected.

        alone    `state_of(event)`
        changes  whether the merge of `stored` and `alone` differs from `stored`
        """
        ...

    def review_overtaken(self, stored: S, event: E) -> Review | None:
        """A shortcut for replays: what `review` finds about an event that changes nothing in `stored`.

        None if the event may change it, or if finding out would take as long as `merge`. Raises Rejected.
        """
        ...
