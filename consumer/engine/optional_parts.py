"""What a projection may have besides `Projection`: each part is a protocol, with a function for those without it.

A class has a part if it has its members. It inherits nothing, and registers nothing.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from consumer.engine.errors import Rejected
from consumer.engine.projection import Ignored, Projection

S = TypeVar("S")


@runtime_checkable
class KnowsWarnings(Protocol):
    """Names the kinds of its warnings beforehand: their metrics then begin at 0, so that the first one is an increase.

    `warning_kinds` has every kind that a `Review` may contain.
    """

    @property
    def warning_kinds(self) -> Collection[str]: ...


@runtime_checkable
class Bounded(Protocol):
    """Refuses an event with a sequence number above a bound, because it would make all later events stale."""

    def bounded(self, max_sequence: int) -> Projection[Any, Any]:
        """The same projection with the bound of CONSUMER_MAX_SEQUENCE_NUMBER."""
        ...


@runtime_checkable
class FindsPartitions(Protocol):
    """Finds the partition keys in the data of a record faster than `decode` does."""

    def partitions(self, data: bytes) -> frozenset[str]:
        """The partition keys that the record names, before anything is checked: that of its event is among them."""
        ...

    def partition(self, data: bytes) -> str | None:
        """One of them: that of its event, if the record has one."""
        ...


@runtime_checkable
class RefusesByState(Protocol):
    """Its `review` refuses events because of what is stored: a key has the events of one identity only.

    `consumer verify` then needs to know which events belong together.
    """

    def identity(self, state: Any) -> tuple[str, ...]:
        """What all events of a key must agree on."""
        ...

    def contradicts(self, table: Any, archive: Any) -> bool:
        """Whether no events lead to both, although `merge` accepts them."""
        ...


@runtime_checkable
class Viewed(Protocol):
    """Shows states in another form than they are stored in."""

    @property
    def plural(self) -> str:
        """What states are called, such as `limits`."""
        ...

    def view(self, state: Any, now_millis: int) -> Mapping[str, Any]:
        """The JSON document of a state, as of a time in epoch milliseconds."""
        ...


def warning_kinds(projection: Projection[Any, Any]) -> Collection[str]:
    return projection.warning_kinds if isinstance(projection, KnowsWarnings) else ()


def bounded(projection: Projection[Any, Any], max_sequence: int) -> Projection[Any, Any]:
    return projection.bounded(max_sequence) if isinstance(projection, Bounded) else projection


def may_be_of(projection: Projection[Any, Any], partition: str) -> Callable[[bytes], bool]:
    """Returns False for the data of a record that has no event with this partition key."""
    if isinstance(projection, FindsPartitions):
        found = projection.partitions
        return lambda data: partition in found(data)
    return lambda _: True


def partition_of(projection: Projection[Any, Any]) -> Callable[[bytes], str | None]:
    """Returns the partition key of a record's event, and for a record without an event any text, or None."""
    return projection.partition if isinstance(projection, FindsPartitions) else partial(_decoded_partition, projection)


def _decoded_partition(projection: Projection[Any, Any], data: bytes) -> str | None:
    try:
        event = projection.decode(data)
    except Rejected:
        return None
    return None if isinstance(event, Ignored) else projection.key(event)[0]


def plural(projection: Projection[Any, Any]) -> str:
    return projection.plural if isinstance(projection, Viewed) else "states"


def document(projection: Projection[Any, S], state: S, now_millis: int) -> Mapping[str, Any]:
    """The JSON document of a state: its view, or its attributes. Decimals are left to the encoder."""
    return projection.view(state, now_millis) if isinstance(projection, Viewed) else projection.dump(state)
