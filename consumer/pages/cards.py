"""A limit as a page shows it: in words, with every figure exact, and as a bar. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from math import ceil, floor

from consumer.limits import answers
from consumer.limits.answers import ACTIVE, WITHOUT_RESET
from consumer.limits.events import LimitType, Period, Status
from consumer.limits.view import SECONDS, UserLimit
from consumer.pages import formats
from consumer.pages.formats import NO_BREAK, Locale

WIDTH = 1_000
"""The width of a bar. It is not in pixels: the page stretches it."""
UNKNOWN = "not known"

_TYPES: Mapping[LimitType | None, str] = {
    "BALANCE": "Balance limit",
    "BET": "Bet limit",
    "DEPOSIT": "Deposit limit",
    "LOSS": "Loss limit",
    "SESSION": "Session limit",
    None: "Limit of unknown type",
}
_PERIODS: Mapping[Period | None, str] = {
    "CALENDAR_DAY": "per calendar day",
    "CALENDAR_WEEK": "per calendar week",
    "CALENDAR_MONTH": "per calendar month",
    "DAY": "per day",
    "WEEK": "per week",
    "MONTH": "per month",
    "INDEFINITE": "without a period",
    "INSTANCE": "for each instance",
    None: "with unknown period",
}
_STATUSES: Mapping[Status | None, tuple[str, str]] = {
    "ACTIVE": ("Active", "in force"),
    "CANCELED": ("Canceled", "no longer in force"),
    "FUTURE": ("Future", "not in force yet"),
    "IN_COOLDOWN": ("In cooldown", "not in force"),
    None: ("Status not known", "perhaps in force"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A line about a limit. `time` is for the attribute `datetime`, if the text has a time."""

    label: str
    text: str
    time: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A reason why a figure may be wrong, and what that means."""

    title: str
    meaning: str


_INCOMPLETE = Mark(
    "Incomplete",
    "The event that set this limit has not arrived. Its status is not known, so it may be in force or not; its type,"
    " period and value are worked out from later events, or not known.",
)
_OVERDUE = Mark(
    "Reset overdue",
    "A new period should have begun, but the event that resets the limit has not arrived. What is shown as used"
    " belongs to the period before: more may be left.",
)
_IMPOSSIBLE = Mark(
    "Impossible reset time",
    "The time of the next reset cannot be right. Nobody knows whether what is shown as used belongs to the"
    " current period.",
)


@dataclass(frozen=True, slots=True)
class Bar:
    """The parts of a bar of WIDTH, from its left: used within the limit, used beyond it; what is left remains.

    percent  of the limit, as far as a meter can show it: 0 to 100
    """

    used: int
    over: int
    percent: int


@dataclass(frozen=True, slots=True)
class Card:
    """A limit for people.

    key      names its element. It is the same after each refresh
    spoken   what a screen reader says when one of these words has changed
    bar      None if nobody knows how much is allowed
    """

    key: str
    limit_id: str
    title: str
    status: str
    status_meaning: str
    is_active: bool
    summary: str
    spoken: str
    bar: Bar | None
    marks: tuple[Mark, ...]
    facts: tuple[Fact, ...]


def cards(limits: Iterable[UserLimit], now_millis: int, locale: Locale) -> tuple[Card, ...]:
    """Those in force first, or perhaps in force; then by type and id."""
    ordered = sorted(limits, key=lambda each: (each.status not in (ACTIVE, None), each.type or "", each.user_limit_id))
    return tuple(card(each, now_millis, locale) for each in ordered)


def card(limit: UserLimit, now_millis: int, locale: Locale) -> Card:
    title = f"{_TYPES[limit.type]} {_PERIODS[limit.period]}"
    status, meaning = _STATUSES[limit.status]
    summary, marks = _summary(limit, locale), tuple(_marks(limit))
    spoken = [f"{title}: {summary}", status, *(mark.title for mark in marks)]
    return Card(
        key=f"limit-{blake2b(limit.user_limit_id.encode(), digest_size=8).hexdigest()}",
        limit_id=limit.user_limit_id,
        title=title,
        status=status,
        status_meaning=meaning,
        is_active=limit.status == ACTIVE,
        summary=summary,
        spoken=". ".join(spoken),
        bar=bar(limit),
        marks=marks,
        facts=tuple(_facts(limit, now_millis, locale)),
    )


def bar(limit: UserLimit) -> Bar | None:
    if limit.value is None:
        return None
    used, allowed = max(Fraction(limit.progress), Fraction(0)), Fraction(limit.value)
    if used > allowed:
        over = ceil((used - allowed) / used * WIDTH)
        return Bar(WIDTH - over, over, 100)
    share = used / allowed if allowed else Fraction(0)
    return Bar(floor(share * WIDTH), 0, floor(share * 100))


def figure(value: Decimal, limit: UserLimit, locale: Locale) -> str:
    """An amount of this limit, with its unit."""
    return formats.hours(value, locale) if limit.unit == SECONDS else formats.amount(value, limit.unit, locale)


def _summary(limit: UserLimit, locale: Locale) -> str:
    used = figure(limit.progress, limit, locale)
    if limit.value is None or limit.remaining is None:
        return f"{used} used; how much is allowed is not known"
    of_limit = f"{used} of {figure(limit.value, limit, locale)} used"
    if limit.remaining < 0:
        return f"{of_limit}: {figure(limit.remaining.copy_abs(), limit, locale)} over the limit"
    if not limit.remaining:
        return f"{of_limit}: the limit is reached"
    return f"{of_limit}, {figure(limit.remaining, limit, locale)} remaining"


def _has_odd_reset(limit: UserLimit) -> bool:
    return "nextResetTime" in (limit.odd_times or ())


def _is_overdue(limit: UserLimit) -> bool:
    return limit.reset_overdue and not _has_odd_reset(limit)


def _marks(limit: UserLimit) -> Iterable[Mark]:
    has_odd_reset = _has_odd_reset(limit) and limit.period not in WITHOUT_RESET
    reasons = {_INCOMPLETE: not limit.complete, _OVERDUE: _is_overdue(limit), _IMPOSSIBLE: has_odd_reset}
    return (mark for mark, holds in reasons.items() if holds)


def _facts(limit: UserLimit, now_millis: int, locale: Locale) -> Iterable[Fact]:
    yield _used(limit, locale)
    yield Fact("Limit", UNKNOWN if limit.value is None else figure(limit.value, limit, locale))
    if limit.remaining is not None:
        label = "Over the limit" if limit.remaining < 0 else "Remaining"
        yield Fact(label, figure(limit.remaining.copy_abs(), limit, locale))
    if limit.previous_limit_value is not None:
        yield Fact("Previous limit", figure(limit.previous_limit_value, limit, locale))
    yield _next_reset(limit, now_millis)
    yield from _times(limit)
    yield Fact("Brand", limit.brand_id)
    yield Fact("Id of the limit", limit.user_limit_id)


def _used(limit: UserLimit, locale: Locale) -> Fact:
    used, percent = figure(limit.progress, limit, locale), answers.limit(limit).used_percent
    if percent is None:
        return Fact("Used", used)
    whole, _, hundredths = percent.partition(".")
    return Fact("Used", f"{used} ({formats.number(Decimal(whole), locale)}{locale.point}{hundredths}{NO_BREAK}%)")


def _next_reset(limit: UserLimit, now_millis: int) -> Fact:
    due, label = limit.next_reset_time, "Next reset"
    if limit.period in WITHOUT_RESET and (due is None or _has_odd_reset(limit)):
        return Fact(label, "never")
    if due is None:
        return Fact(label, UNKNOWN)
    if _has_odd_reset(limit):
        return Fact(label, formats.moment(due))
    time = formats.machine_readable(due)
    if due <= now_millis:
        state = "due, not arrived" if _is_overdue(limit) else "arrived; the next one is not known"
        return Fact(label, f"{state}: {formats.moment(due)}", time)
    return Fact(label, f"in {formats.countdown(due - now_millis)}: {formats.moment(due)}", time)


def _times(limit: UserLimit) -> Iterable[Fact]:
    times = (
        ("In force from", limit.active_from),
        ("In force until", limit.active_until),
        ("First set", limit.created_at),
        ("Last event", limit.last_event_at),
    )
    for label, millis in times:
        if millis is not None:
            yield Fact(label, formats.moment(millis), formats.machine_readable(millis))
