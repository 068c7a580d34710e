"""Events and histories of every kind, with few sequence numbers, ids and amounts, so that they collide often."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, TypeVar, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from consumer.engine.projection import Ignored
from consumer.limits.events import LimitType, Period, Status
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.support.generators.events import MAKERS, START, Event, encode

T = TypeVar("T")


def times(factor: int) -> settings:
    """So many times the examples that the profile asks for (tests/conftest.py)."""
    profile = settings.get_profile(settings.get_current_profile_name())
    return settings(profile, max_examples=factor * profile.max_examples)


LIMITS = Limits()
NOW = START + 500

SEQUENCES = st.integers(1, 6)
FAR_SEQUENCES = SEQUENCES | st.sampled_from([1_000_004, 1_000_008, 10**9, 10**9 + 1, 1_767_225_600, 2**53 - 1])
"""Sequence numbers that are also more than a million ahead, and around the maximum of 1,000,000,000."""
EVENT_IDS = st.sampled_from(["e-a", "e-b", "E-b", "e-\U0001f3b2"])
TIMES = st.integers(START, START + 1_000)
TYPES = st.sampled_from(get_args(LimitType))
PERIODS = st.sampled_from(get_args(Period))
STATUSES = st.sampled_from(get_args(Status))


@st.composite
def amounts(draw: st.DrawFn, *, negative: bool = True) -> str:
    """A number of few or many digits, with or without trailing zeros."""
    whole = draw(st.one_of(st.integers(0, 3), st.integers(0, 10**18)))
    decimals = draw(st.one_of(st.just(""), st.text("05", max_size=2), st.text("0123456789", max_size=18)))
    sign = draw(st.sampled_from(["", "-"])) if negative else ""
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def maybe(**fields: SearchStrategy[Any]) -> SearchStrategy[Event]:
    """Any subset of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


CREATED_FIELDS = st.fixed_dictionaries(
    {
        "activeFrom": TIMES,
        "period": PERIODS,
        "status": STATUSES,
        "type": TYPES,
        "value": amounts(negative=False),
    },
    optional={
        "activeUntil": TIMES,
        "createdAt": TIMES,
        "nextResetTime": TIMES,
        "previousLimitValue": amounts(),
        "progress": amounts(),
    },
)
PROGRESS_FIELDS = st.fixed_dictionaries(
    {"amount": amounts(), "previousProgress": amounts()},
    optional={"nextResetTime": TIMES, "remainingAmount": amounts()},
)
RESET_FIELDS = st.fixed_dictionaries(
    {
        "period": PERIODS,
        "resetAmount": amounts(),
        "resetPercentage": amounts(),
        "type": TYPES,
        "unusedAmount": amounts(),
    },
    optional={"nextResetTime": TIMES},
)
FIELDS: Mapping[str, SearchStrategy[Event]] = {
    "created": CREATED_FIELDS,
    "progress": PROGRESS_FIELDS,
    "reset": RESET_FIELDS,
}
"""The fields of the payload of each type, by its name in MAKERS."""


@st.composite
def events(
    draw: st.DrawFn,
    users: Sequence[str] = ("u-1",),
    limits: Sequence[str] = ("l-1",),
    sequences: SearchStrategy[int] = SEQUENCES,
) -> Event:
    kind = draw(st.sampled_from([*FIELDS]))
    payload: Event = draw(FIELDS[kind]) | {
        "userId": draw(st.sampled_from(users)),
        "userLimitId": draw(st.sampled_from(limits)),
    }
    event = MAKERS[kind](draw(sequences), draw(EVENT_IDS), **payload)
    event["createdAt"] = draw(TIMES)
    return event


@st.composite
def odd_events(draw: st.DrawFn) -> Event:
    """Events of one limit that differ in everything else, even in their brand."""
    event = draw(events())
    event["payload"] |= draw(
        maybe(brandId=st.sampled_from(["one", "other"]), currencyCode=st.sampled_from(["EUR", "SEK"]))
    )
    return event


def identity(event: Event) -> tuple[str, str, int, str]:
    """The identity of an event: two events with the same are duplicates."""
    payload = event["payload"]
    return (payload["userId"], payload["userLimitId"], event["sequenceNumber"], event["eventId"])


def histories(size: int = 12, sequences: SearchStrategy[int] = SEQUENCES) -> SearchStrategy[list[Event]]:
    """Different events of a few limits in any order, some with the same sequence number."""
    some = events(users=("u-1", "u-2"), limits=("l-1", "l-2"), sequences=sequences)
    return st.lists(some, min_size=1, max_size=size, unique_by=identity)


def state_of(event: Event) -> LimitState:
    decoded = LIMITS.decode(encode(event))
    assert not isinstance(decoded, Ignored)
    return LIMITS.state_of(decoded)


def states() -> SearchStrategy[LimitState]:
    """States of one limit after any events, including one event with two contents."""
    return st.lists(odd_events(), min_size=1, max_size=5).map(lambda some: reduce(LIMITS.merge, map(state_of, some)))


@st.composite
def deliveries(draw: st.DrawFn, what: Sequence[T]) -> list[list[T]]:
    """Everything at least once, in any order, split into any batches."""
    again = draw(st.lists(st.sampled_from(what), max_size=len(what)))
    order = draw(st.permutations([*what, *again]))
    cuts = sorted(draw(st.sets(st.integers(0, len(order)), max_size=4)))
    return [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
