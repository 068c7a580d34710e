"""What a limit would be if an event had not been, from the archived records of the limit. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from consumer.limits.history import Step, last_states, steps
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState, Register, Stamp, merge

REGISTERS = (
    "definition",
    "previous_value",
    "progress",
    "next_reset",
    "last_reset",
    "inferred_value",
    "inferred_kind",
)
IDENTITY = ("brand_id", "currency_code")


@dataclass(frozen=True, slots=True)
class Repair:
    """A limit with and without an event.

    before       as it is stored
    after        without the event; None if nothing else is known of the limit
    is_known     whether the event is archived, or has written something that is stored
    unexplained  fields of the stored state that neither an archived event nor this event has written: rebuilding the
                 limit would lose them
    """

    before: LimitState
    after: LimitState | None
    is_known: bool
    unexplained: Sequence[str]


def repair(limits: Limits, stored: LimitState, history: Sequence[Step], event_id: str, record_cap: int) -> Repair:
    """`history`: the steps of the limit, complete. An event that was repeated under its id is left out every time."""
    kept = [step.record for step in history if step.about.event_id != event_id]
    whole, own = last_states(history).get(stored.user_limit_id), only_of(stored, event_id)
    return Repair(
        before=stored,
        after=last_states(steps(limits, kept, record_cap)).get(stored.user_limit_id),
        is_known=len(kept) < len(history) or _has_registers(own),
        # An event that is not archived, because it came from a file, is known by what it has written.
        unexplained=_unexplained(stored, own, own if whole is None else whole),
    )


def only_of(state: LimitState, event_id: str) -> LimitState:
    """The registers that this event wrote. It is no valid state if there are none."""
    return replace(state, **{name: None for name in REGISTERS if _writer(state, name) != event_id})


def _writer(state: LimitState, name: str) -> str | None:
    found: Register[object] | Stamp | None = getattr(state, name)
    stamp = found.stamp if isinstance(found, Register) else found
    return None if stamp is None else stamp.event_id


def _has_registers(state: LimitState) -> bool:
    return any(getattr(state, name) is not None for name in REGISTERS)


def _unexplained(stored: LimitState, own: LimitState, archived: LimitState) -> tuple[str, ...]:
    """The fields in which the stored state has more than what is explained. It may have less: what is to come."""
    explained = merge(archived, own)
    both = merge(explained, stored)
    registers = tuple(name for name in REGISTERS if getattr(both, name) != getattr(explained, name))
    # The first event of a limit decides its brand and currency. It is this event if there is no other.
    others = () if stored == own else tuple(n for n in IDENTITY if getattr(stored, n) != getattr(archived, n))
    return (*others, *registers)
