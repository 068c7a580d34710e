"""Who calls the API, and what the caller may read. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from consumer.engine.errors import ConsumerError

READ = "limits:read"
"""The scope that reads the limits of every user."""
BRAND = "limits:brand:"
"""What a scope begins with that narrows everything the token reads to one brand. The id of the brand follows."""
REALM = "limits"


class Refusal(StrEnum):
    """Why a request is not authenticated. The values are values of a metric's label."""

    MISSING = "missing"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    KEY = "key"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    EARLY = "early"
    AUDIENCE = "audience"
    ISSUER = "issuer"
    CLAIMS = "claims"


class Unauthenticated(ConsumerError):
    """The request has no token, or one that is not valid: status 401. The message is safe to show.

    `missing`: the request has no token at all, so nothing is wrong with it (RFC 6750, 3.1).
    """

    def __init__(self, why: str, *, missing: bool = False, reason: Refusal = Refusal.MALFORMED) -> None:
        super().__init__(why)
        self.why = why
        self.missing = missing
        self.reason = Refusal.MISSING if missing else reason


class KeysUnavailable(ConsumerError):
    """The keys of the issuer cannot be fetched, so no token can be verified: status 503. It may work later."""


class Forbidden(ConsumerError):
    """The caller is known and may not read this: status 403. The message is safe to show."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    `subject` is the user id in the token, None if there is no token. `scopes` are those of the token. `trusted`:
    whoever can reach the API may read everything, because it listens on loopback only or behind a trusted proxy.
    """

    subject: str | None
    scopes: frozenset[str]
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may read of one user. `own`: it is the caller's own. `brands` None: the limits of every brand."""

    own: bool
    brands: frozenset[str] | None


class Authenticator(Protocol):
    """Finds out who sent a request."""

    async def caller(self, authorization: str | None) -> Caller:
        """`authorization` is the value of the header, None without one.

        Raises Unauthenticated, or KeysUnavailable.
        """


class Everybody:
    """Implements Authenticator for an API without an issuer: every request may read everything."""

    async def caller(self, authorization: str | None) -> Caller:  # noqa: ARG002 - the protocol's parameter
        return Caller(None, frozenset(), trusted=True)


def only(authorizations: Sequence[str]) -> str | None:
    """The value of the one Authorization header of a request, None without one.

    Raises Unauthenticated if there are several: a proxy may have checked another one than this service would.
    """
    if len(authorizations) > 1:
        raise Unauthenticated("the request has more than one Authorization header")
    return authorizations[0] if authorizations else None


def grant(caller: Caller, user_id: str) -> Grant:
    """What the caller may read of this user's limits. Ids and scopes are compared exactly. Raises Forbidden."""
    own = caller.subject == user_id
    if not (own or caller.trusted or READ in caller.scopes):
        raise Forbidden(f"these are the limits of another user: the token needs the scope {READ}")
    return Grant(own, _brands(caller.scopes))


def _brands(scopes: frozenset[str]) -> frozenset[str] | None:
    # A scope without an id narrows as well, to a brand that does not exist: a mistake must not show more.
    brands = frozenset(scope.removeprefix(BRAND) for scope in scopes if scope.startswith(BRAND))
    return brands or None


def challenge(refused: Unauthenticated) -> str:
    """The value of WWW-Authenticate for a 401 (RFC 6750, 3)."""
    if refused.missing:
        return f'Bearer realm="{REALM}"'
    return f'Bearer realm="{REALM}", error="invalid_token", error_description="{_quotable(refused.why)}"'


def _quotable(text: str) -> str:
    """The text with a question mark for each character that RFC 6750 does not allow in an error description."""
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\' else "?" for letter in text)
