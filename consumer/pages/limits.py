"""The page "Limits of a user", and the part of it that is refreshed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, cast
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from consumer.api import ids, problems
from consumer.api.callers import grant
from consumer.api.histories import HistoryReading
from consumer.api.reading import MOST, Permitted, Reading
from consumer.limits.answers import Wanted
from consumer.limits.events import Id
from consumer.limits.repository import LimitsPage
from consumer.pages import formats, history
from consumer.pages.cards import Card, cards
from consumer.pages.layout import render
from consumer.pages.session import Visitor, visitor

PAGE, PART = "/", "/limits"
REFRESH_SECONDS = 10
"""How often a page that is visible fetches its part. Each time is a read, with a line in the audit log."""

_id: TypeAdapter[str] = TypeAdapter(Id)
_Visitor = Annotated[Visitor, Depends(visitor)]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose limits, and from which place in a long list on. None: nobody's yet, and from its beginning."""

    user: str | None
    after: str | None


@router.get(PAGE)
async def show(request: Request, who: _Visitor) -> Response:
    """Without a user in the query, the search field alone, or the visitor's own limits."""
    asked = _asked(request, who)
    if asked.user is None:
        return render(request, "search.html", {})
    return render(request, "limits.html", await _shown(request, who, asked.user, asked.after))


@router.get(PART)
async def refresh(request: Request, who: _Visitor) -> Response:
    asked = _asked(request, who)
    if asked.user is None:
        raise problems.invalid("query", "user", "must be given")
    return render(request, "limit_list.html", await _shown(request, who, asked.user, asked.after))


async def _shown(request: Request, who: Visitor, user: str, after: str | None) -> Mapping[str, object]:
    """What the templates show. Raises Forbidden, and Unavailable."""
    permitted = Permitted(user, who.caller, grant(who.caller, user), problems.request_id(request))
    page = await _read(request, permitted, after)
    locale = formats.locale_of(request.headers.get("accept-language"))
    shown = cards((each.state for each in page.limits), page.as_of, locale)
    return {
        "user": user,
        "is_own": permitted.grant.own,
        "is_narrowed": permitted.grant.brands is not None,
        "cards": shown,
        "histories": _histories(request, user, shown),
        "unreadable": len(page.unreadable),
        "as_of": formats.moment(page.as_of),
        "as_of_time": formats.machine_readable(page.as_of),
        "more": _more(user, page),
        "is_continued": after is not None,
        "refresh": f"{PART}?{_query(user, after)}",
        "refresh_seconds": REFRESH_SECONDS,
    }


@dataclass(frozen=True, slots=True)
class HistoryLink:
    """It is beside the part that is refreshed, in which nothing can have the focus."""

    title: str
    limit: str
    href: str


def _histories(request: Request, user: str, shown: Sequence[Card]) -> Sequence[HistoryLink]:
    """The links to the histories of the limits that are shown. None without an archive."""
    if cast("HistoryReading", request.app.state.histories).reader is None:
        return ()
    return [HistoryLink(each.title, each.limit_id, history.address(user, each.limit_id)) for each in shown]


async def _read(request: Request, who: Permitted, after: str | None) -> LimitsPage:
    reading = cast("Reading", request.app.state.reading)
    visible = Wanted(visible=who.grant.brands)
    return await reading.matching(who, visible.matches, consistent=True, after=after, most=MOST)


def _more(user: str, page: LimitsPage) -> str | None:
    """The address of the limits that this page has no room for."""
    return None if page.after is None else f"{PAGE}?{_query(user, page.after)}"


def _query(user: str, after: str | None) -> str:
    return urlencode({"user": user} | ({} if after is None else {"after": ids.to_cursor(after)}))


def _asked(request: Request, who: Visitor) -> Asked:
    """What the query asks for. Raises Problem."""
    given = _parameters(request.scope["query_string"])
    own = None if who.reads_everything else who.caller.subject
    return Asked(_user(given.get("user")) or own, _after(given.get("after")))


def _parameters(query: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise problems.invalid("query", "*", "must be percent-encoded UTF-8") from None
    given = dict(pairs)
    if len(given) != len(pairs) or not given.keys() <= {"user", "after"}:
        raise problems.invalid("query", "*", "use user and after, each at most once")
    return given


def _user(given: str | None) -> str | None:
    """None also for an empty field."""
    try:
        return _id.validate_python(given, strict=True) if given else None
    except ValueError:
        raise problems.invalid("query", "user", "must be 1 to 128 characters, without control characters") from None


def _after(given: str | None) -> str | None:
    try:
        return None if given is None else ids.from_cursor(given)
    except ValueError:
        raise problems.invalid("query", "after", "must come from a link of this page") from None
