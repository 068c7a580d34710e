"""Who looks at a page: a session in an encrypted cookie, begun by signing in.

The server keeps nothing about a session, so that any server can answer. A session ends at the time in its cookie, and
never later than the access token from which it was made.
"""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.requests import Request
from starlette.responses import Response

from consumer.api.callers import BRAND, READ, Caller
from consumer.engine.errors import ConsumerError

SESSION, ATTEMPT = "session", "sign-in"
"""What cookies are for: a session, and a sign-in that has begun."""
COOKIE_CHARACTERS = 3_800
"""The longest value of a cookie. Browsers drop a cookie of more than 4,096 bytes without a word."""

EVERYBODY = Caller(None, frozenset(), trusted=True)


class SignInNeeded(ConsumerError):
    """The page is for people who have signed in, and this visitor has not, or no longer."""


class TooLarge(ConsumerError):
    """A cookie would be too long for a browser."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """`caller` is who the API takes the visitor for. `name` is None if nobody signs in."""

    caller: Caller
    name: str | None

    @property
    def reads_everything(self) -> bool:
        """Whether the visitor may read the limits of every user."""
        return self.caller.trusted or READ in self.caller.scopes


@dataclass(frozen=True, slots=True)
class Cookie:
    """A value that only this service can read and make, in a cookie that only this address gets.

    A cookie for one purpose is not accepted for another: each has a key of its own. `seconds`: how long it is valid.
    `now` returns epoch seconds. `number` tells cookies of one purpose apart.
    """

    purpose: str
    key: bytes
    seconds: int
    is_secure: bool
    now: Callable[[], float] = time.time
    number: str = ""

    @property
    def name(self) -> str:
        # Of a name with this prefix, browsers take no cookie from a subdomain or over plain http.
        return f"{'__Host-' if self.is_secure else ''}{self.purpose}{self.number}"

    def keep(self, response: Response, value: Mapping[str, Any], until: float | None = None) -> None:
        """Sends the value with the response, to be valid `until` then, in epoch seconds. Raises TooLarge."""
        now = int(self.now())
        left = self.seconds if until is None else min(self.seconds, int(until) - now)
        content = json.dumps({"until": now + left, "value": value}).encode()
        sealed = self._fernet().encrypt_at_time(content, now).decode()
        if len(sealed) > COOKIE_CHARACTERS:
            raise TooLarge(f"a cookie of {len(sealed)} characters")
        response.set_cookie(self.name, sealed, max_age=left, secure=self.is_secure, httponly=True, samesite="lax")

    def value(self, request: Request) -> dict[str, Any] | None:
        """The value in the request. None without one, or if it was not made here, or is no longer valid."""
        now = int(self.now())
        try:
            content = self._fernet().decrypt_at_time(request.cookies.get(self.name, ""), self.seconds, now)
        except (InvalidToken, ValueError):
            return None
        kept = json.loads(content)
        return dict(kept["value"]) if now < kept["until"] else None

    def end(self, response: Response) -> None:
        response.delete_cookie(self.name, secure=self.is_secure, httponly=True, samesite="lax")

    def _fernet(self) -> Fernet:
        derived = HKDF(SHA256(), 32, salt=None, info=self.purpose.encode()).derive(self.key)
        return Fernet(urlsafe_b64encode(derived))


@dataclass(frozen=True, slots=True)
class Access:
    """Who the pages are for, in `app.state.pages`.

    session            the cookie of people who have signed in; None if nobody signs in
    is_behind_gateway  a gateway decides who sees the pages
    """

    session: Cookie | None
    is_behind_gateway: bool = False


def begin(cookie: Cookie, response: Response, visitor: Visitor, until: float) -> None:
    """Begins a session that ends at `until`, in epoch seconds, at the latest. Raises TooLarge.

    The cookie of an earlier session, or one that somebody else has planted, is replaced.
    """
    caller = visitor.caller
    value = {"subject": caller.subject, "scopes": sorted(filter(_matters, caller.scopes)), "name": visitor.name}
    cookie.keep(response, value, until)


def _matters(scope: str) -> bool:
    # Those that narrow must all be kept, or a session could read more than the token.
    return scope.startswith((READ, BRAND, "operations:"))


async def visitor(request: Request) -> Visitor:
    """Who looks at the page. Raises SignInNeeded."""
    access: Access = request.app.state.pages
    found = _signed_in(access.session.value(request)) if access.session else Visitor(EVERYBODY, None)
    request.state.visitor = found
    return found


def _signed_in(session: Mapping[str, Any] | None) -> Visitor:
    if session is None:
        raise SignInNeeded("the visitor has no session")
    return Visitor(Caller(session["subject"], frozenset(session["scopes"])), session["name"])
