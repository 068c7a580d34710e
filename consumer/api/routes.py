"""The routes of the limits: `/user-limits/{userId}`, one limit of a user, its history, and the headroom.

The order of the checks: the token, the id of the user, whether the caller may read these limits, then everything else.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from consumer.api import etags, ids, problems
from consumer.api.callers import Authenticator, grant, only
from consumer.api.histories import HistoryReading
from consumer.api.openapi import answers_of
from consumer.api.problems import Problem
from consumer.api.queries import HeadroomQuery, HistoryQuery, LimitQuery, ListQuery, parsed
from consumer.api.reading import MOST, Permitted, Reading
from consumer.engine.repository import Versioned
from consumer.limits import answers
from consumer.limits.answers import HistoryAnswer, UserLimitsAnswer, Wanted
from consumer.limits.view import UserLimit

CACHING = "private, no-cache"

_LIMITS = "/user-limits/{userId}"

router = APIRouter(tags=["limits"])


@router.get(_LIMITS, **answers_of("UserLimitsAnswer", "The limits of a user", ListQuery))
async def limits_of_user(request: Request) -> Response:
    """The limits of a user, sorted by `userLimitId`. A user who never set a limit has an empty list.

    An answer has at most 1,000 limits. If there are more, it has a `nextCursor`.
    """
    who, query = await _permitted(request), parsed(request.scope["query_string"], ListQuery)
    wanted = Wanted(query.status, query.type, query.period, query.brand_id, who.grant.brands)
    page = await _reading(request).matching(
        who, wanted.matches, consistent=query.is_consistent, after=_after(query.cursor), most=MOST
    )
    answer = UserLimitsAnswer(
        user_id=who.user_id,
        as_of=page.as_of,
        limits=tuple(answers.limit(each.state) for each in page.limits),
        unreadable=len(page.unreadable),
        next_cursor=None if page.after is None else ids.to_cursor(page.after),
    )
    return _answer(request, answer.to_json(), page.limits)


# Before the next route: `headroom` is not the id of a limit here.
@router.get(f"{_LIMITS}/headroom", **answers_of("HeadroomAnswer", "How much is left", HeadroomQuery))
async def headroom(request: Request) -> Response:
    """How much a user may still use of the limits of one type: for each unit, the ACTIVE limit that leaves the least.

    A limit whose progress or status is not known for sure is listed as uncertain instead.
    """
    who, query = await _permitted(request), parsed(request.scope["query_string"], HeadroomQuery)
    visible = Wanted(visible=who.grant.brands)
    page = await _reading(request).matching(who, visible.matches, consistent=query.is_consistent)
    answer = answers.headroom(who.user_id, page, query.type, query.currency_code)
    counted = [each for each in page.limits if answers.concerns(each.state, query.type, query.currency_code)]
    return _answer(request, answer.to_json(), counted)


@router.get(f"{_LIMITS}/{{userLimitId}}", **answers_of("Limit", "One limit", LimitQuery, of_limit=True))
async def limit_of_user(request: Request) -> Response:
    """One limit of a user."""
    who, limit_id = await _permitted(request), _id(request, "userLimitId")
    query = parsed(request.scope["query_string"], LimitQuery)
    page = await _reading(request).one(who, limit_id, consistent=query.is_consistent)
    # Nobody knows the brand of an unreadable row: a caller of some brands must not learn that it exists.
    if page.unreadable and who.grant.brands is None:
        raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The stored limit cannot be read. An operator must repair it.")
    visible = [each for each in page.limits if Wanted(visible=who.grant.brands).matches(each.state)]
    if not visible:
        raise Problem(HTTPStatus.NOT_FOUND, "The user has no limit with this id.")
    return _answer(request, answers.limit(visible[0].state).to_json(), visible)


@router.get(
    f"{_LIMITS}/{{userLimitId}}/history",
    **answers_of("HistoryAnswer", "The history of a limit", HistoryQuery, of_limit=True),
)
async def history_of_limit(request: Request) -> Response:
    """What each event did to a limit, from the archive, the latest event first. A page has at most 100 events."""
    who, limit_id = await _permitted(request), _id(request, "userLimitId")
    query = parsed(request.scope["query_string"], HistoryQuery)
    reading = cast("HistoryReading", request.app.state.histories)
    page = await reading.page(who, limit_id, query.cursor)
    answer = HistoryAnswer(
        user_id=who.user_id,
        user_limit_id=limit_id,
        as_of=page.as_of,
        steps=tuple(map(answers.step, page.steps)),
        unreadable=page.unreadable,
        next_cursor=page.cursor,
    )
    return _answer(request, answer.to_json(), ())


class Served(Route):
    """A route as it is served. FastAPI only describes it: its routing and checks cost half as much as all the rest.

    The gate makes HEAD a GET, and names the route in the metrics.
    """

    def __init__(self, described: APIRoute) -> None:
        super().__init__(described.path, described.endpoint, name=described.name)
        self.methods = described.methods

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


async def _permitted(request: Request) -> Permitted:
    """Raises Unauthenticated, KeysUnavailable, Forbidden and Problem."""
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.caller(only(request.headers.getlist("authorization")))
    user = _id(request, "userId")
    return Permitted(user, caller, grant(caller, user), problems.request_id(request))


def _reading(request: Request) -> Reading:
    return cast("Reading", request.app.state.reading)


def _id(request: Request, name: str) -> str:
    try:
        return ids.from_segment(request.path_params[name])
    except ValueError as wrong:
        raise problems.invalid("path", name, str(wrong)) from None


def _after(cursor: str | None) -> str | None:
    try:
        return None if cursor is None else ids.from_cursor(cursor)
    except ValueError as wrong:
        raise problems.invalid("query", "cursor", str(wrong)) from None


def _answer(request: Request, content: dict[str, Any], limits: Iterable[Versioned[UserLimit]]) -> Response:
    """200 with the content, or 304 if the caller has it."""
    as_of = content.get("asOf")
    text = json.dumps({name: value for name, value in content.items() if name != "asOf"})
    tag = etags.etag(text, (each.version for each in limits), as_of)
    if known := etags.known(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": known, "Cache-Control": CACHING})
    body = text if as_of is None else f'{{"asOf": {as_of}, {text[1:]}'
    return Response(body, headers={"ETag": tag, "Cache-Control": CACHING}, media_type="application/json")
