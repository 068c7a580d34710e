"""Errors as RFC 9457 describes them: `application/problem+json`, for every error that a caller can meet.

A problem never repeats what the caller sent, nor the message of an exception, but those that are safe to show.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from consumer.api.callers import REALM, Forbidden, KeysUnavailable, Unauthenticated, challenge
from consumer.api.metrics import FORBIDDEN, KEYS_UNAVAILABLE
from consumer.engine.errors import Unavailable

if TYPE_CHECKING:
    from fastapi import FastAPI

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
"""When a request that was refused for a passing reason may be repeated."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
_DETAILS: Mapping[int, str] = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path. /docs lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path can only be read.",
}
_log = logging.getLogger(__name__)


class Problem(Exception):
    """Ends a request with this answer.

    errors   what is wrong with the request, one entry for each parameter: `in`, `name`, `detail`
    headers  further headers of the answer
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] = _NOTHING,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers

    def response(self, request_id: str) -> Response:
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "requestId": request_id,
        }
        if self.errors:
            content["errors"] = self.errors
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(json.dumps(content), self.status, headers=headers, media_type=MEDIA_TYPE)


def invalid(place: str, name: str, detail: str) -> Problem:
    """422 for one parameter. `place`: path, query."""
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "A parameter is not valid.",
        errors=[{"in": place, "name": name, "detail": detail}],
    )


def invalid_parameters(errors: Iterable[Mapping[str, Any]]) -> Problem:
    """422 for pydantic's errors. Each has a `loc` that begins with the place: path, query."""
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Parameters are not valid.", errors=[_parameter(each) for each in errors]
    )


def _parameter(error: Mapping[str, Any]) -> dict[str, str]:
    """Pydantic's message names what is allowed, never what was given. The name of an unknown parameter was given."""
    place, *path = error["loc"]
    if error["type"] == "extra_forbidden":
        return {"in": str(place), "name": "*", "detail": "there is a parameter that this route does not know"}
    return {"in": str(place), "name": str(path[0]) if path else "*", "detail": error["msg"]}


def unavailable(detail: str) -> Problem:
    """503, with the time after which a repetition may succeed."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_SECONDS)})


def failed() -> Problem:
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed. Its log has the reason under the request id.")


def request_id(request: Request) -> str:
    """The id that the gate has given to the request."""
    given: str = request.state.request_id
    return given


def install(app: "FastAPI") -> None:
    """Every error of the app becomes a problem. Those that nothing here names are left to the gate."""
    for kind, problem_of in PROBLEMS.items():
        app.add_exception_handler(kind, _handler(problem_of))


def _handler(problem_of: Callable[[Request, Any], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        return problem_of(request, error).response(request_id(request))

    return handle


def _of_problem(_: Request, error: Problem) -> Problem:
    return error


def _of_http(_: Request, error: HTTPException) -> Problem:
    """404 of an unknown path, 405 with the methods that are allowed."""
    status = HTTPStatus(error.status_code)
    return Problem(status, _DETAILS.get(status, status.description), headers=error.headers or {})


def _of_validation(_: Request, error: RequestValidationError) -> Problem:
    return invalid_parameters(error.errors())


def _of_unauthenticated(request: Request, error: Unauthenticated) -> Problem:
    request.app.state.metrics.refused(error.reason)
    detail = f"A valid access token is needed: {error.why}."
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge(error)})


def _of_forbidden(request: Request, error: Forbidden) -> Problem:
    request.app.state.metrics.refused(FORBIDDEN)
    headers = {"WWW-Authenticate": f'Bearer realm="{REALM}", error="insufficient_scope"'}
    return Problem(HTTPStatus.FORBIDDEN, f"Not allowed: {error}.", headers=headers)


def _of_keys(request: Request, _: KeysUnavailable) -> Problem:
    request.app.state.metrics.refused(KEYS_UNAVAILABLE)
    # Fetching them has been logged once. Anybody can cause such requests, so they are only counted.
    return unavailable("The keys that tokens are checked with cannot be fetched.")


def _of_unavailable(_: Request, error: Unavailable) -> Problem:
    _log.warning("the limits cannot be read", exc_info=error)
    return unavailable("The limits cannot be read at the moment.")


PROBLEMS: Mapping[type[Exception], Callable[[Request, Any], Problem]] = {
    Problem: _of_problem,
    HTTPException: _of_http,
    RequestValidationError: _of_validation,
    Unauthenticated: _of_unauthenticated,
    KeysUnavailable: _of_keys,
    Forbidden: _of_forbidden,
    Unavailable: _of_unavailable,
}
"""The errors that become problems."""
