"""The page "History of a limit": what each event did to it, the latest first, in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from consumer.api import problems
from consumer.api.callers import grant
from consumer.api.histories import HistoryPage, HistoryReading
from consumer.api.reading import Permitted
from consumer.engine.folding import Outcome
from consumer.limits import answers
from consumer.limits.events import Id
from consumer.limits.history import Change, Step
from consumer.limits.view import UserLimit
from consumer.pages import formats
from consumer.pages.cards import card, figure
from consumer.pages.formats import Locale
from consumer.pages.layout import render
from consumer.pages.session import Visitor, visitor
from consumer.pages.texts import plain

PATH = "/limits/history"
_NAMES = frozenset({"user", "limit", "after"})

_LABELS: Mapping[str, str] = {
    "progress": "Used",
    "value": "Limit",
    "remaining": "Remaining",
    "previousLimitValue": "Previous limit",
    "status": "Status",
    "type": "Type",
    "period": "Period",
    "activeFrom": "In force from",
    "activeUntil": "In force until",
    "createdAt": "First set",
    "nextResetTime": "Next reset",
    "resetOverdue": "Reset overdue",
    "complete": "Complete",
    "oddTimes": "Impossible times",
    "unit": "Unit",
    "brandId": "Brand",
    "currencyCode": "Currency",
}
_AMOUNTS = frozenset({"progress", "value", "remaining", "previousLimitValue"})
_TIMES = frozenset({"activeFrom", "activeUntil", "createdAt", "nextResetTime"})
_OUTCOMES: Mapping[Outcome, str] = {
    Outcome.APPLIED: "applied",
    Outcome.DUPLICATE: "applied before; it changed nothing",
    Outcome.STALE: "older than what was known; it changed nothing",
    Outcome.QUARANTINED: "refused; it changed nothing",
}
_TYPES: Mapping[str | None, str] = {
    "USER_LIMIT_CREATED": "Limit set",
    "USER_LIMIT_PROGRESS_CHANGED": "Progress changed",
    "USER_LIMIT_RESET": "Reset",
}

_id: TypeAdapter[str] = TypeAdapter(Id)
_Visitor = Annotated[Visitor, Depends(visitor)]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ShownChange:
    """A field that an event changed, in words. `before` is empty if the limit did not have it."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ShownStep:
    """An event in words.

    time     for the attribute `datetime`; None if the arrival is not known
    problem  why it was refused; empty if it was not
    summary  the limit after it
    """

    title: str
    arrived: str
    time: str | None
    outcome: str
    problem: str
    warnings: Sequence[str]
    changes: Sequence[ShownChange]
    summary: str
    event_id: str
    is_new: bool


@router.get(PATH)
async def show(request: Request, who: _Visitor) -> Response:
    """Raises Problem, Forbidden, and Unavailable."""
    user, limit, after = _asked(request)
    permitted = Permitted(user, who.caller, grant(who.caller, user), problems.request_id(request))
    page = await cast("HistoryReading", request.app.state.histories).page(permitted, limit, after)
    locale = formats.locale_of(request.headers.get("accept-language"))
    return render(
        request,
        "history.html",
        {
            "user": user,
            "limit": limit,
            "as_of": formats.moment(page.as_of),
            "as_of_time": formats.machine_readable(page.as_of),
            "steps": [shown(step, locale) for step in page.steps],
            "unreadable": page.unreadable,
            "more": _more(user, limit, page),
            "back": f"/?{urlencode({'user': user})}",
        },
    )


def address(user: str, limit: str) -> str:
    """The address of the history of a limit."""
    return f"{PATH}?{urlencode({'user': user, 'limit': limit})}"


def _more(user: str, limit: str, page: HistoryPage) -> str | None:
    return None if page.cursor is None else f"{address(user, limit)}&{urlencode({'after': page.cursor})}"


def _asked(request: Request) -> tuple[str, str, str | None]:
    """The user, the limit, and the place to continue from. Raises Problem."""
    try:
        pairs = parse_qsl(request.scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise problems.invalid("query", "*", "must be percent-encoded UTF-8") from None
    given = dict(pairs)
    if len(given) != len(pairs) or not given.keys() <= _NAMES:
        raise problems.invalid("query", "*", "use user, limit and after, each at most once")
    return _named(given, "user"), _named(given, "limit"), given.get("after")


def _named(given: Mapping[str, str], name: str) -> str:
    try:
        return _id.validate_python(given.get(name), strict=True)
    except ValueError:
        raise problems.invalid("query", name, "must be 1 to 128 characters, without control characters") from None


def shown(step: Step, locale: Locale) -> ShownStep:
    answer, limit, arrived = answers.step(step), step.limit(), step.record.arrived_at
    return ShownStep(
        title=_TYPES.get(answer.type) or plain(answer.type or "Event of unknown type"),
        arrived=formats.moment(arrived) if arrived else "at an unknown time",
        time=formats.machine_readable(arrived) if arrived else None,
        outcome=_OUTCOMES[step.outcome.outcome],
        problem=f"{answer.reason}: {answer.detail}" if step.is_refused else "",
        warnings=answer.warnings,
        changes=tuple(_changes(step.changes, limit, locale)),
        summary="" if limit is None else card(limit, arrived, locale).summary,
        event_id=plain(answer.event_id or "not known"),
        is_new=step.is_first,
    )


def _changes(changes: Iterable[Change], limit: UserLimit | None, locale: Locale) -> Iterable[ShownChange]:
    for change in changes:
        before, after = (_value(change.field, value, limit, locale) for value in (change.before, change.after))
        yield ShownChange(_LABELS.get(change.field, change.field), before, after or "not known")


def _value(field: str, value: Any, limit: UserLimit | None, locale: Locale) -> str:
    if value is None:
        return ""
    if field in _AMOUNTS and limit is not None:
        return figure(Decimal(value), limit, locale)
    if field in _TIMES:
        return formats.moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
