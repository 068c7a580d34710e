"""The application of `consumer serve`: the HTTP API, and pages for people where they can be served."""

import logging
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from consumer.api import compose as api
from consumer.api import problems
from consumer.api.problems import Problem
from consumer.api.tokens import Tokens
from consumer.pages import history, limits, sign_in
from consumer.pages.layout import add_files, render
from consumer.pages.operations import add_operations
from consumer.pages.provider import Client, Provider, ProviderUnavailable
from consumer.pages.session import ATTEMPT, SESSION, Access, Cookie, SignInNeeded
from consumer.pages.sign_in import ATTEMPT_SECONDS, CALLBACK, SIGN_IN, SignIn
from consumer.settings import PageSettings, variable

ISSUER_REQUESTS = 4
"""How many requests to the issuer run at the same time."""
KEY_BYTES = 32

_PAGES = ("", "limits", "consumer", SIGN_IN.strip("/"), "sign-out", "signed-out")
"""What the paths of pages begin with. Their errors are pages as well; those of other paths are for programs."""
_log = logging.getLogger(__name__)


def compose(settings: PageSettings) -> FastAPI:
    """The application. It makes no request before its first one arrives."""
    made = api.compose(settings)
    if settings.has_pages:
        add_pages(made, settings)
    else:
        missing = variable("pages_client_id" if settings.api_issuer else "pages_url")
        _log.info("the pages are not served, only the API", extra={"unset": missing})
    return made


def add_pages(made: FastAPI, settings: PageSettings) -> None:
    """Adds the pages to the API. With an issuer, people sign in there."""
    if settings.api_issuer:
        made.state.sign_in = _sign_in(settings, cast("Tokens", made.state.authenticator))
        made.include_router(sign_in.router)
        made.state.pages = Access(made.state.sign_in.sessions)
    else:
        made.state.pages = Access(None, is_behind_gateway=settings.api_trusted_proxy)
    made.include_router(limits.router)
    made.include_router(history.router)
    add_operations(made, settings)
    add_files(made)
    _show_errors(made)


def _sign_in(settings: PageSettings, access: Tokens) -> SignIn:
    client = _client(settings)
    key, is_secure = _key(settings), client.redirect_uri.startswith("https:")
    return SignIn(
        Provider(str(settings.api_issuer), client, ThreadPoolExecutor(ISSUER_REQUESTS, "issuer")),
        access,
        access.of_audience(client.client_id),
        Cookie(ATTEMPT, key, ATTEMPT_SECONDS, is_secure),
        Cookie(SESSION, key, settings.pages_session_seconds, is_secure),
    )


def _client(settings: PageSettings) -> Client:
    secret = settings.pages_client_secret
    return Client(
        str(settings.pages_client_id),
        secret.get_secret_value() if secret else None,
        settings.pages_scopes,
        f"{settings.pages_url}{CALLBACK}",
        str(settings.api_audience),
    )


def _key(settings: PageSettings) -> bytes:
    if settings.pages_session_key:
        return settings.pages_session_key.get_secret_value().encode()
    _log.warning(
        "sessions end with this process, and another server does not know them",
        extra={"unset": variable("pages_session_key")},
    )
    return secrets.token_bytes(KEY_BYTES)


def _show_errors(made: FastAPI) -> None:
    """On the paths of pages, the problems of the API become pages."""
    for kind, problem_of in problems.PROBLEMS.items():
        made.add_exception_handler(kind, _handler(problem_of))
    made.add_exception_handler(ProviderUnavailable, _handler(_of_provider))
    made.add_exception_handler(SignInNeeded, _to_sign_in)


def _handler(problem_of: Callable[[Request, Any], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        problem = problem_of(request, error)
        return _page(request, problem) if _is_page(request) else problem.response(problems.request_id(request))

    return handle


def _is_page(request: Request) -> bool:
    return str(request.scope["path"]).removeprefix("/").partition("/")[0] in _PAGES


def _page(request: Request, problem: Problem) -> Response:
    context = {
        "title": problem.status.phrase,
        "detail": problem.detail,
        "errors": problem.errors,
        "request_id": problems.request_id(request),
    }
    response = render(request, "error.html", context, problem.status)
    response.headers.update({name: value for name, value in problem.headers.items() if name != "WWW-Authenticate"})
    return response


def _of_provider(_: Request, error: ProviderUnavailable) -> Problem:
    _log.warning("people cannot sign in", extra={"cause": str(error)})
    return problems.unavailable("The issuer, where people sign in, does not answer.")


async def _to_sign_in(request: Request, _: Exception) -> Response:
    back = quote(sign_in.address_of(request), safe="")
    response = RedirectResponse(f"{SIGN_IN}?back={back}", HTTPStatus.SEE_OTHER)
    response.headers["Cache-Control"] = "no-store"
    return response
