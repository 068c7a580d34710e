"""Access tokens of an OpenID Connect issuer: who holds one, and with which scopes.

PyJWT verifies signatures. The form of a token and its claims are checked here, more strictly than PyJWT does: it
accepts an `exp` that is a string, has no clock to inject, and lets the last of two members with the same name win.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, NoReturn

import jwt
from jwt import PyJWK

from consumer.api.callers import Caller, Refusal, Unauthenticated
from consumer.api.issuer import ALGORITHMS, keys_at, keys_of
from consumer.api.keys import Keys, KeySource

BYTES = 8_192
"""The longest token."""
LEEWAY_SECONDS = 30.0
"""How far the clocks of issuer and API may differ."""
LATEST = 253_402_300_799
"""The end of the year 9999 in epoch seconds. A later time is probably in milliseconds."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
"""Types of a token that may be an access token: not one of a logout, an event or a proof of possession."""
_EXTENSIONS = ("crit", "b64")
_JWS = jwt.PyJWS(algorithms=ALGORITHMS)


class Verified(NamedTuple):
    """Who holds a token, and all its claims."""

    caller: Caller
    claims: Mapping[str, Any]


class _Header(NamedTuple):
    kid: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What the claims of a token must be. `user_claim` is the name of the claim with the user id."""

    issuer: str
    audience: str
    user_claim: str = "sub"

    def caller(self, claims: dict[str, Any], now: float) -> Caller:
        """Who holds a token with these claims at `now`, in epoch seconds. Raises Unauthenticated."""
        if claims.get("iss") != self.issuer:
            raise Unauthenticated("the token is not from the issuer of this API", reason=Refusal.ISSUER)
        if self.audience not in _audiences(claims.get("aud")):
            raise Unauthenticated("the token is not for the audience of this API", reason=Refusal.AUDIENCE)
        _check_times(claims, now)
        subject = claims.get(self.user_claim)
        if not isinstance(subject, str) or not subject:
            raise Unauthenticated(f"the token has no user id in {self.user_claim}", reason=Refusal.CLAIMS)
        return Caller(subject, _scopes(claims))


class Tokens:
    """Implements Authenticator for the tokens of one issuer. `now` returns epoch seconds."""

    def __init__(self, rules: Rules, keys: KeySource, now: Callable[[], float] = time.time) -> None:
        self._rules = rules
        self._keys = keys
        self._now = now

    def of_audience(self, audience: str) -> "Tokens":
        """For tokens that are for somebody else: those that tell a client who signed in. Their `sub` is the user."""
        return Tokens(Rules(self._rules.issuer, audience), self._keys, self._now)

    async def caller(self, authorization: str | None) -> Caller:
        return (await self.verified(_bearer(authorization))).caller

    async def verified(self, token: str) -> Verified:
        """Raises Unauthenticated, or KeysUnavailable."""
        _check_form(token)
        header = _header(token)
        key = await self._keys.find(header.kid, header.algorithm)
        if key is None:
            raise Unauthenticated("the issuer has no such key", reason=Refusal.KEY)
        claims = _claims(token, key, header.algorithm)
        return Verified(self._rules.caller(claims, self._now()), claims)


def tokens(issuer: str, audience: str, *, jwks_url: str | None = None, user_claim: str = "sub") -> Tokens:
    """The authenticator for these settings. Without `jwks_url`, the metadata of the issuer names it.

    Fetches nothing before the first request.
    """
    fetch = partial(keys_at, jwks_url) if jwks_url else partial(keys_of, issuer)
    return Tokens(Rules(issuer, audience, user_claim), Keys(fetch))


def _bearer(authorization: str | None) -> str:
    """The token in the header (RFC 6750, 2.1). Raises Unauthenticated."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("the request has no header Authorization: Bearer TOKEN", missing=True)
    return token.strip(" ")


def _check_form(token: str) -> None:
    if len(token) > BYTES:
        raise Unauthenticated(f"the token is longer than {BYTES} bytes")
    if not _FORM.fullmatch(token):
        raise Unauthenticated("the token is not a signed JSON Web Token")


def _header(token: str) -> _Header:
    """What the header of a token says, of which only these checks may be believed. Raises Unauthenticated."""
    header = _object(_decoded(token.partition(".")[0]))
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if algorithm not in ALGORITHMS:
        raise Unauthenticated(f"the algorithm is none of {', '.join(ALGORITHMS)}", reason=Refusal.ALGORITHM)
    if any(name in header for name in _EXTENSIONS):
        raise Unauthenticated("the token needs an extension that is not supported")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Unauthenticated("the token is not an access token")
    if not isinstance(kid, str):
        raise Unauthenticated("the header of the token does not name its key", reason=Refusal.KEY)
    return _Header(kid, algorithm)


def _claims(token: str, key: PyJWK, algorithm: str) -> dict[str, Any]:
    """The claims of a token with a valid signature. Raises Unauthenticated."""
    try:
        payload = _JWS.decode_complete(token, key, [algorithm])["payload"]
    except jwt.InvalidSignatureError:
        raise Unauthenticated("the signature is wrong", reason=Refusal.SIGNATURE) from None
    except jwt.PyJWTError:
        raise Unauthenticated("the token is malformed") from None
    return _object(payload)


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise Unauthenticated("the token is not base64url") from None


def _object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data` (UTF-8), whose members have different names. Raises Unauthenticated."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unauthenticated("the token is not valid JSON") from None
    if not isinstance(value, dict):
        raise Unauthenticated("a part of the token is not a JSON object")
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("two members with one name")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _audiences(named: object) -> list[str]:
    """The audiences in an `aud`: a string or a list of strings. Empty for anything else."""
    names = [named] if isinstance(named, str) else named
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _check_times(claims: dict[str, Any], now: float) -> None:
    """Raises Unauthenticated if the token has no `exp`, has expired, or begins later."""
    expires = _time(claims, "exp")
    if expires is None:
        raise Unauthenticated("the token has no exp", reason=Refusal.CLAIMS)
    if expires <= now - LEEWAY_SECONDS:
        raise Unauthenticated("the token has expired", reason=Refusal.EXPIRED)
    starts = (_time(claims, "nbf"), _time(claims, "iat"))
    if any(start is not None and start > now + LEEWAY_SECONDS for start in starts):
        raise Unauthenticated("the token is not valid yet", reason=Refusal.EARLY)


def _time(claims: dict[str, Any], name: str) -> float | None:
    """The epoch seconds in a claim, which may have decimals (RFC 7519, 2). None without the claim."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        raise Unauthenticated(f"{name} of the token is not a time in epoch seconds", reason=Refusal.CLAIMS)
    return value


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """The scopes in `scope` (RFC 9068) and `scp`. Raises Unauthenticated if one of them has another form."""
    return frozenset(scope for name in ("scope", "scp") for scope in _members(claims.get(name)) if scope)


def _members(value: object) -> Iterable[str]:
    if value is None:
        return ()
    if isinstance(value, str):
        return value.split(" ")
    if isinstance(value, list) and all(isinstance(member, str) for member in value):
        return value
    raise Unauthenticated("the scopes of the token are neither text nor a list of texts", reason=Refusal.CLAIMS)
