"""The state of a limit: registers, each with the event that wrote it, and `merge`, which joins two states.

`merge` is commutative, associative and idempotent. The guarantees of the service rest on this: any order, any
duplicates, any batches and any number of writers lead to the same state (docs/explanation/reliability.md).
"""

from decimal import Decimal
from typing import Any, Generic, TypeVar

from msgspec import Struct

from consumer.limits.events import LimitType, Period, Status
from consumer.limits.money import ZERO

V = TypeVar("V")


class Stamp(Struct, frozen=True, order=True, gc=False):
    """The event that wrote a register. The later event has the greater stamp."""

    sequence: int
    event_id: str
    at: int
    """The event's `createdAt`, epoch milliseconds."""


class Register(Struct, Generic[V], frozen=True, gc=False):
    stamp: Stamp
    value: V


class Definition(Struct, frozen=True, gc=False):
    """The content of a CREATED."""

    value: Decimal
    type: LimitType
    period: Period
    status: Status
    active_from: int
    created_at: int
    active_until: int | None = None
    progress: Decimal | None = None


class Kind(Struct, frozen=True, gc=False):
    """What a RESET reveals about a limit whose CREATED has not been processed."""

    type: LimitType
    period: Period


class LimitState(Struct, frozen=True, gc=False):
    """The state of a limit after the events processed so far. `definition` or `progress` is always set.

    user_id, user_limit_id  the key
    brand_id, currency_code the same in every event of a limit: `review` rejects an event that differs
    definition              the latest CREATED
    previous_value          the latest earlier value that differs from the definition's
    progress                the progress after the latest PROGRESS_CHANGED or RESET
    next_reset              the latest `nextResetTime`, epoch milliseconds
    last_reset              the latest RESET
    inferred_value/_kind    what PROGRESS_CHANGED and RESET reveal about a missing definition
    """

    user_id: str
    user_limit_id: str
    brand_id: str
    currency_code: str
    definition: Register[Definition] | None = None
    previous_value: Register[Decimal] | None = None
    progress: Register[Decimal] | None = None
    next_reset: Register[int] | None = None
    last_reset: Stamp | None = None
    inferred_value: Register[Decimal] | None = None
    inferred_kind: Register[Kind] | None = None

    def stamps(self) -> list[Stamp]:
        """The stamps of all registers that are set."""
        registers = (
            self.definition,
            self.previous_value,
            self.progress,
            self.next_reset,
            self.inferred_value,
            self.inferred_kind,
        )
        stamps = [register.stamp for register in registers if register is not None]
        return stamps if self.last_reset is None else [*stamps, self.last_reset]

    @property
    def last(self) -> Stamp:
        """The stamp of the latest event in the state."""
        return max(self.stamps())

    @property
    def value(self) -> Decimal | None:
        """The limit's value: the defined one, otherwise the inferred one."""
        if self.definition is not None:
            return self.definition.value.value
        return None if self.inferred_value is None else self.inferred_value.value

    @property
    def used(self) -> Decimal:
        """The progress: from the last change or reset, otherwise from the definition, otherwise 0."""
        if self.progress is not None:
            return self.progress.value
        own = self.definition.value.progress if self.definition else None
        return ZERO if own is None else own


def merge(left: LimitState, right: LimitState) -> LimitState:
    """The join of two states of one limit. It is `left` itself if `right` adds nothing to it.

    Each register is the maximum by stamp, which makes the join commutative, associative and idempotent. A new register
    must be merged the same way, or be proven by tests/property/test_promises.py.
    """
    definition = _later(left.definition, right.definition)
    # `review` keeps different brands and currencies apart. The maximum makes `merge` commutative without it as well.
    brand_id, currency_code = max((left.brand_id, left.currency_code), (right.brand_id, right.currency_code))
    merged = LimitState(
        left.user_id,
        left.user_limit_id,
        brand_id,
        currency_code,
        definition,
        _previous(definition, left, right),
        _later(left.progress, right.progress),
        _later(left.next_reset, right.next_reset),
        # Kept besides `progress`, because a later PROGRESS_CHANGED overwrites that register.
        _later_stamp(left.last_reset, right.last_reset),
        _later(left.inferred_value, right.inferred_value),
        _later(left.inferred_kind, right.inferred_kind),
    )
    return left if merged == left else merged


def is_join(state: LimitState) -> bool:
    """Whether `state` is what `merge` leads to: true but for a row that another program wrote."""
    return state.previous_value is None or merge(state, state) is state


def is_later(register: Register[Any] | None, stamp: Stamp) -> bool:
    return register is not None and register.stamp > stamp


def _later(left: Register[V] | None, right: Register[V] | None) -> Register[V] | None:
    if right is None:
        return left
    if left is None or left.stamp < right.stamp:
        return right
    # Two contents under one stamp break the contract. The choice must still not depend on the order of arrival.
    if left.stamp == right.stamp and left.value != right.value:
        return max(left, right, key=_rank)
    return left


def _later_stamp(left: Stamp | None, right: Stamp | None) -> Stamp | None:
    if left is None or right is None:
        return left or right
    return max(left, right)


def _rank(register: Register[V]) -> tuple[Decimal, str]:
    """A total order of different contents of one event. Any order would do, as long as it is always the same."""
    value = register.value
    return (value.value if isinstance(value, Definition) else ZERO, repr(value))


def _previous(definition: Register[Definition] | None, left: LimitState, right: LimitState) -> Register[Decimal] | None:
    """The latest value of both states that differs from the definition's."""
    # Without a definition there is no current value that another one could precede.
    if definition is None:
        return None
    # The definition that loses the merge is a candidate too: its value may be the previous one. Values equal to the
    # current one do not count, so a CREATED that only changes the status keeps the previous value.
    lost = right.definition if definition is left.definition else left.definition
    former = None if lost is None else Register(lost.stamp, lost.value.value)
    value = definition.value.value
    seen = (former, left.previous_value, right.previous_value)
    others = [register for register in seen if register is not None and register.value != value]
    return max(others, key=lambda register: (register.stamp, register.value), default=None)
