"""What readers are told about the limits of a user: which match, how much of each is used, and how much is left.

Pure functions from the view of limits to the answers of the HTTP API.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.limits.events import LimitType, Period
from consumer.limits.history import Step
from consumer.limits.repository import LimitsPage
from consumer.limits.view import Money, UserLimit

ACTIVE = "ACTIVE"
WITHOUT_RESET: Collection[Period | None] = ("INDEFINITE", "INSTANCE")
"""Periods that no reset ends. A next reset far in the future means that there is none."""

Doubt = Literal["incomplete", "resetOverdue", "oddResetTime"]
"""Why it is not certain how much of a limit is left."""

Percent = Annotated[
    str | None, WithJsonSchema({"type": ["string", "null"], "pattern": r"^-?(0|[1-9][0-9]*)\.[0-9]{2}$"})
]
AnyValue = Annotated[Any, WithJsonSchema({"type": ["string", "integer", "boolean", "array"]})]
_OutcomeWord = Annotated[str, WithJsonSchema({"type": "string", "enum": [*Outcome]})]
_ReasonWord = Annotated[str, WithJsonSchema({"type": "string", "enum": [*Reason]})]
LONGEST_CLAIM = 128
"""Characters of what a refused event claims: as many as an id may have."""
Matches: TypeAlias = Callable[[UserLimit], bool]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Limit(UserLimit):
    """A limit and how much of it is used. Times are epoch milliseconds. Unknown fields are absent, but `usedPercent`.

    used_percent  rounded down, so that 100.00 means reached; null if the value is not known or 0
    reached       whether the progress is at least the value; false if the value is not known
    """

    used_percent: Percent
    reached: bool

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "usedPercent": self.used_percent}


class UserLimitsAnswer(_Answer):
    """The limits of a user. Times are epoch milliseconds.

    as_of        `resetOverdue` is as of this time
    unreadable   stored rows that are not valid limits. They are not among `limits`
    next_cursor  of the next page; absent on the last one
    """

    user_id: str
    as_of: int
    limits: tuple[Limit, ...]
    unreadable: int
    next_cursor: str | None = None

    def to_json(self) -> dict[str, Any]:
        rest = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"limits"})
        return {**rest, "limits": [limit.to_json() for limit in self.limits]}


class Headroom(_Answer):
    """The limit that leaves the least of one unit. `remaining` is negative if more was used than allowed."""

    unit: str
    remaining: Money
    user_limit_id: str
    period: Period
    next_reset_time: int | None = None


class UncertainLimit(_Answer):
    """A limit that is in force, or may be, and of which nobody knows how much is left."""

    user_limit_id: str
    unit: str
    reasons: tuple[Doubt, ...] = Field(min_length=1)
    remaining: Money | None = None


class HeadroomAnswer(_Answer):
    """How much a user may still use of the limits of one type, by unit. Times are epoch milliseconds.

    certain     nothing is uncertain or unreadable. A unit without an entry is then not limited
    headroom    one entry for each unit, sorted by unit
    uncertain   sorted by `userLimitId`
    unreadable  stored rows that are not valid limits, of whatever type
    """

    user_id: str
    as_of: int
    type: LimitType
    currency_code: str | None = None
    certain: bool
    headroom: tuple[Headroom, ...]
    uncertain: tuple[UncertainLimit, ...]
    unreadable: int


class ChangeAnswer(_Answer):
    """A field of a limit before and after an event, as they are in the limit. Absent: the limit did not have it."""

    field: str
    before: AnyValue = None
    after: AnyValue = None


class StepAnswer(_Answer):
    """An event, and what it did to a limit. Times are epoch milliseconds. What is not known is absent.

    A refused event is checked no further: `eventId`, `type` and `userLimitId` are what it claims.
    """

    position: str
    arrived_at: int
    event_id: str | None = None
    type: str | None = None
    user_limit_id: str | None = None
    sequence_number: int | None = None
    created_at: int | None = None
    outcome: _OutcomeWord
    reason: _ReasonWord | None = None
    detail: str | None = None
    warnings: tuple[str, ...]
    changes: tuple[ChangeAnswer, ...]
    state: UserLimit | None = None


class HistoryAnswer(_Answer):
    """The events of a limit, the latest first. Times are epoch milliseconds.

    unreadable   parts of the archive that cannot be read: there may be further events in them
    next_cursor  of the next page; absent on the last one
    """

    user_id: str
    user_limit_id: str
    as_of: int
    steps: tuple[StepAnswer, ...]
    unreadable: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which limits are wanted, by field. An empty collection: with any value, or with none.

    visible  the brands whose limits may be shown; None for all
    """

    statuses: Collection[str] = ()
    types: Collection[str] = ()
    periods: Collection[str] = ()
    brands: Collection[str] = ()
    visible: Collection[str] | None = None

    def matches(self, limit: UserLimit) -> bool:
        fields = (
            (self.statuses, limit.status),
            (self.types, limit.type),
            (self.periods, limit.period),
            (self.brands, limit.brand_id),
        )
        shown = self.visible is None or limit.brand_id in self.visible
        return shown and all(not wanted or value in wanted for wanted, value in fields)


def only(page: LimitsPage, matches: Matches) -> LimitsPage:
    """The matching limits of a page, and all unreadable rows: nobody knows whether those match."""
    return replace(page, limits=[limit for limit in page.limits if matches(limit.state)])


def joined(pages: Sequence[LimitsPage]) -> LimitsPage:
    """One page or more as one."""
    return LimitsPage(
        pages[0].as_of,
        [limit for page in pages for limit in page.limits],
        [row for page in pages for row in page.unreadable],
        pages[-1].after,
    )


def first(page: LimitsPage, most: int) -> LimitsPage:
    """The first `most` limits, and the unreadable rows before the last of them.

    It continues after a limit that it shows: another id might be of a limit that the caller may not see.
    """
    if len(page.limits) <= most and page.after is None:
        return page
    shown = page.limits[:most]
    last = shown[-1].state.user_limit_id
    return LimitsPage(page.as_of, shown, [row for row in page.unreadable if row.key[1] <= last], last)


def limit(found: UserLimit) -> Limit:
    reached = found.value is not None and found.progress >= found.value
    return Limit(**vars(found), used_percent=_used_percent(found), reached=reached)


def _used_percent(found: UserLimit) -> str | None:
    if not found.value:
        return None
    used, of_used = found.progress.as_integer_ratio()
    value, of_value = found.value.as_integer_ratio()
    hundredths = 10_000 * used * of_value // (of_used * value)
    whole, rest = divmod(abs(hundredths), 100)
    return f"{'-' if hundredths < 0 else ''}{whole}.{rest:02}"


def step(found: Step) -> StepAnswer:
    event, rejected = found.event, found.outcome.rejected
    return StepAnswer(
        position=str(found.record.position),
        arrived_at=found.record.arrived_at,
        event_id=_claim(found.about.event_id),
        type=_claim(found.about.type),
        user_limit_id=_claim(found.about.limit),
        sequence_number=None if event is None else event.sequence_number,
        created_at=None if event is None else event.created_at,
        outcome=found.outcome.outcome,
        reason=None if rejected is None else rejected.reason,
        detail=None if rejected is None else rejected.detail,
        warnings=found.outcome.warnings,
        changes=tuple(ChangeAnswer(**change._asdict()) for change in found.changes),
        state=found.limit(),
    )


def _claim(text: str | None) -> str | None:
    return None if text is None else text[:LONGEST_CLAIM]


def headroom(user_id: str, page: LimitsPage, kind: LimitType, currency: str | None = None) -> HeadroomAnswer:
    """The headroom that all the user's limits leave. `page` is not one of several."""
    counted = [each.state for each in page.limits if concerns(each.state, kind, currency)]
    uncertain = [_uncertain(each) for each in counted if doubts(each)]
    return HeadroomAnswer(
        user_id=user_id,
        as_of=page.as_of,
        type=kind,
        currency_code=currency,
        certain=not uncertain and not page.unreadable,
        headroom=tuple(_lowest(each for each in counted if not doubts(each))),
        uncertain=tuple(uncertain),
        unreadable=len(page.unreadable),
    )


def concerns(found: UserLimit, kind: LimitType, currency: str | None = None) -> bool:
    """Whether the limit restricts what is of this type and currency, or may do so.

    An incomplete limit has no status, and perhaps no type: it may be any.
    """
    # Time has no currency.
    if currency is not None and kind != "SESSION" and found.currency_code != currency:
        return False
    return found.type in (kind, None) and (not found.complete or found.status == ACTIVE)


def doubts(found: UserLimit) -> tuple[Doubt, ...]:
    """Why `remaining` may be wrong. Empty if it is right."""
    odd = "nextResetTime" in (found.odd_times or ())
    reasons: dict[Doubt, bool] = {
        "incomplete": not found.complete,
        # An odd time says nothing about when the progress was to be reset.
        "resetOverdue": found.reset_overdue and not odd,
        "oddResetTime": odd and found.period not in WITHOUT_RESET,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def _uncertain(found: UserLimit) -> UncertainLimit:
    return UncertainLimit(
        user_limit_id=found.user_limit_id, unit=found.unit, reasons=doubts(found), remaining=found.remaining
    )


def _lowest(certain: Iterable[UserLimit]) -> Iterable[Headroom]:
    """For each unit the limit with the least left. Of equal ones the first by id."""
    least: dict[str, Headroom] = {}
    for each in certain:
        entry = _headroom(each)
        known = least.get(entry.unit)
        if known is None or (entry.remaining, entry.user_limit_id) < (known.remaining, known.user_limit_id):
            least[entry.unit] = entry
    return [least[unit] for unit in sorted(least)]


def _headroom(found: UserLimit) -> Headroom:
    """Of a complete limit: it has a value and a period."""
    return Headroom.model_validate(
        {name: getattr(found, name) for name in ("unit", "remaining", "user_limit_id", "period", "next_reset_time")}
    )
