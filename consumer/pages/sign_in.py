"""Signing in with OpenID Connect: authorization code flow with PKCE, state and nonce. And signing out."""

import hmac
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zlib import crc32

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from consumer.api import problems
from consumer.api.callers import Unauthenticated
from consumer.api.tokens import Tokens, Verified
from consumer.engine.errors import ConsumerError
from consumer.pages.layout import render
from consumer.pages.provider import Attempt, CodeRefused, Provider
from consumer.pages.session import Cookie, TooLarge, Visitor, begin

SIGN_IN, CALLBACK, SIGN_OUT, SIGNED_OUT = "/sign-in", "/sign-in/callback", "/sign-out", "/signed-out"
ATTEMPT_SECONDS = 600
"""How long a sign-in may take."""
ATTEMPTS = 8
"""How many sign-ins may be under way in a browser: their cookies come with every request."""
NAME_CHARACTERS = 100
BACK_CHARACTERS = 1_000
"""The longest address to return to."""

_OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of this server. `//host` and `/\\host` would lead to another one."""
_ERROR = re.compile(r"[a-z_]{1,64}")
_log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)


class SignInFailed(ConsumerError):
    """A sign-in ends without a session. The message is safe to show."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """What signing in needs, in `app.state.sign_in`.

    access    checks access tokens, as for the API
    identity  checks the tokens that tell these pages who has signed in
    """

    provider: Provider
    access: Tokens
    identity: Tokens
    attempts: Cookie
    sessions: Cookie

    def attempt(self, state: str) -> Cookie:
        """The cookie of the sign-in with this state. Tabs sign in side by side, but not in any number."""
        return replace(self.attempts, number=f"-{crc32(state.encode(errors='replace')) % ATTEMPTS}")

    async def visitor(self, code: str, attempt: Attempt) -> tuple[Visitor, float]:
        """Who has signed in, and when the access token expires. Raises SignInFailed, Unauthenticated and others."""
        given = await self.provider.exchanged(code, attempt)
        access = await self.access.verified(given.access_token)
        identity = await self.identity.verified(given.id_token)
        if not _is_same(identity.claims.get("nonce"), attempt.nonce):
            raise SignInFailed("the answer belongs to another sign-in")
        if identity.claims.get("azp", self.provider.client.client_id) != self.provider.client.client_id:
            raise SignInFailed("the answer is for another application")
        if identity.claims.get("sub") != access.claims.get("sub"):
            raise SignInFailed("the answer names two people")
        return Visitor(access.caller, _name(access, identity)), float(access.claims["exp"])


def _name(access: Verified, identity: Verified) -> str:
    names = (identity.claims.get(claim) for claim in ("name", "preferred_username", "email"))
    found = (name for name in (*names, access.caller.subject) if isinstance(name, str) and name.isprintable())
    return next((name[:NAME_CHARACTERS] for name in found if name.strip()), "a user")


@router.get(SIGN_IN)
async def start(request: Request) -> Response:
    """A page that leads on to the issuer.

    A redirect would be shorter. But after a search, which is a form, browsers follow redirects only to this server:
    the policy `form-action 'self'` covers them.
    """
    door: SignIn = request.app.state.sign_in
    attempt = Attempt(token_urlsafe(32), token_urlsafe(32), token_urlsafe(64), _back(request))
    address = await door.provider.sign_in_address(attempt)
    response = render(request, "sign_in.html", {"address": address})
    door.attempt(attempt.state).keep(response, asdict(attempt))
    return response


@router.get(CALLBACK)
async def finish(request: Request) -> Response:
    """Where the issuer sends people back to."""
    door: SignIn = request.app.state.sign_in
    attempts, attempt = _begun(request, door)
    try:
        response = await _finished(request, door, attempt)
    except (SignInFailed, CodeRefused, Unauthenticated, TooLarge) as failed:
        _log.warning("a sign-in failed", extra={"cause": str(failed)})
        context = {"why": _shown(failed), "request_id": problems.request_id(request)}
        response = render(request, "sign_in_failed.html", context, HTTPStatus.BAD_REQUEST)
    if attempt:
        attempts.end(response)  # used up, whatever came of it
    return response


def _begun(request: Request, door: SignIn) -> tuple[Cookie, Attempt | None]:
    """The sign-in to which the request is the answer, and its cookie. None if it did not begin here or has ended."""
    state = request.query_params.get("state", "")
    attempts = door.attempt(state)
    kept = attempts.value(request)
    return attempts, Attempt(**kept) if kept and _is_same(state, kept["state"]) else None


async def _finished(request: Request, door: SignIn, attempt: Attempt | None) -> Response:
    answer = _answer(request)
    if attempt is None:
        raise SignInFailed("it did not begin in this browser, or took longer than ten minutes, or has ended already")
    await _check(answer, door.provider)
    visitor, expires = await door.visitor(answer["code"], attempt)
    if expires <= door.sessions.now() + 1:
        # Otherwise the browser would go back and forth for ever.
        raise SignInFailed("the issuer's token has expired already: the clocks of issuer and server differ")
    response = RedirectResponse(attempt.back, HTTPStatus.SEE_OTHER)
    response.headers["Cache-Control"] = "no-store"
    begin(door.sessions, response, visitor, expires)
    return response


async def _check(answer: Mapping[str, str], provider: Provider) -> None:
    """Raises SignInFailed if it is the answer of another issuer, or is an error, or has no code."""
    is_named = "iss" in answer or (await provider.endpoints()).names_itself
    if is_named and answer.get("iss") != provider.issuer:
        raise SignInFailed("the answer is from another issuer")
    if "error" in answer:
        error = answer["error"] if _ERROR.fullmatch(answer["error"]) else "an error"
        raise SignInFailed(f"the issuer answered {error}")
    if not answer.get("code"):
        raise SignInFailed("the answer has no code")


def _answer(request: Request) -> Mapping[str, str]:
    """The parameters of the answer, each of which must be there once."""
    try:
        pairs = parse_qsl(request.scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise SignInFailed("the answer cannot be read") from None
    answer = dict(pairs)
    if len(answer) != len(pairs):
        raise SignInFailed("the answer has a parameter twice")
    return answer


def _shown(failed: Exception) -> str:
    """Why, for the person who signs in. What the issuer says goes into the log alone."""
    if isinstance(failed, SignInFailed):
        return str(failed)
    if isinstance(failed, Unauthenticated):
        return f"the issuer's tokens are not valid here: {failed.why}"
    if isinstance(failed, TooLarge):
        return "the issuer gave more scopes than a session can hold"
    return "the issuer refused to confirm it"


def _is_same(given: Any, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())


@router.post(SIGN_OUT)
async def sign_out(request: Request) -> Response:
    """Ends the session in this browser.

    Another site cannot: no browser sends a cookie that is SameSite=Lax with a form from there, and without the cookie
    nothing is ended. Another host of the same site cannot either: browsers say where a request comes from.
    """
    door: SignIn = request.app.state.sign_in
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise problems.Problem(HTTPStatus.FORBIDDEN, "Another site has asked to sign you out.")
    response = RedirectResponse(SIGNED_OUT, HTTPStatus.SEE_OTHER)
    if door.sessions.value(request) is not None:
        door.sessions.end(response)
    return response


@router.get(SIGNED_OUT)
async def signed_out(request: Request) -> Response:
    return render(request, "signed_out.html", {})


def address_of(request: Request) -> str:
    """The path and query of a request, to return to after signing in. The first page if it cannot be repeated."""
    query = request.scope["query_string"].decode("latin-1")
    return _own(request.scope["path"] + (f"?{query}" if query else "")) if request.method == "GET" else "/"


def _back(request: Request) -> str:
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"))
    return _own(dict(pairs).get("back", "/"))


def _own(address: str) -> str:
    """The address if it leads to a page of this server, otherwise that of the first page."""
    is_own = len(address) <= BACK_CHARACTERS and _OWN_PATH.fullmatch(address)
    return address if is_own and urlsplit(address).path not in (SIGN_IN, CALLBACK, SIGN_OUT) else "/"
