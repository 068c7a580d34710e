"""The issuer as people meet it: where they sign in, and the tokens that a sign-in ends with.

Authlib makes the requests of the protocol and reads their answers. They are sent as the keys are fetched: bounded, over
HTTPS, without following redirects (consumer/api/issuer.py).
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlencode

from authlib.common.errors import AuthlibBaseError
from authlib.oauth2 import OAuth2Client

from consumer.api.issuer import NotPublished, is_local, metadata_of, posted
from consumer.engine.errors import ConsumerError

FRESH_SECONDS = 3_600.0
"""The metadata of the issuer are fetched again when they are older."""


class ProviderUnavailable(ConsumerError):
    """The issuer does not answer, or not as it must. It may work later. The message says why, for the log."""


class CodeRefused(ConsumerError):
    """The issuer gives no tokens for a code. The message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Client:
    """These pages as the issuer knows them. `secret` is None for a public client."""

    client_id: str
    secret: str | None
    scopes: str
    redirect_uri: str
    audience: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What belongs to one sign-in, and is never used for another. `back`: where it leads."""

    state: str
    nonce: str
    verifier: str
    back: str


class Given(NamedTuple):
    """The tokens for a code. Nothing in them is checked yet."""

    access_token: str
    id_token: str


class Endpoints(NamedTuple):
    """Addresses of the issuer, how a client with a secret names itself, and whether its answers name the issuer."""

    authorization: str
    token: str
    auth_method: str
    names_itself: bool


@dataclass(slots=True)
class Provider:
    """Requests to the issuer block, so they run on `pool`. `clock` returns seconds and never goes back."""

    issuer: str
    client: Client
    pool: Executor
    clock: Callable[[], float] = time.monotonic
    _known: Endpoints | None = field(default=None, init=False)
    _known_since: float = field(default=0.0, init=False)

    async def sign_in_address(self, attempt: Attempt) -> str:
        """Where the browser goes to sign in. Raises ProviderUnavailable."""
        endpoints = await self.endpoints()
        address, _ = self._oauth(endpoints).create_authorization_url(
            endpoints.authorization,
            state=attempt.state,
            code_verifier=attempt.verifier,
            nonce=attempt.nonce,
            # Some issuers make a token for an API only if they are asked to. The others ignore it (RFC 6749, 3.1).
            audience=self.client.audience,
        )
        return str(address)

    async def exchanged(self, code: str, attempt: Attempt) -> Given:
        """The tokens for a code. Raises CodeRefused, or ProviderUnavailable."""
        endpoints = await self.endpoints()
        return await asyncio.get_running_loop().run_in_executor(self.pool, self._exchange, endpoints, code, attempt)

    async def endpoints(self) -> Endpoints:
        """Raises ProviderUnavailable."""
        if self._known is None or self.clock() - self._known_since > FRESH_SECONDS:
            began = self.clock()
            self._known = await asyncio.get_running_loop().run_in_executor(self.pool, self._published)
            self._known_since = began
        return self._known

    def _published(self) -> Endpoints:
        try:
            return _endpoints(metadata_of(self.issuer))
        except (NotPublished, ValueError) as error:
            raise ProviderUnavailable(f"the issuer's metadata: {error}") from error

    def _exchange(self, endpoints: Endpoints, code: str, attempt: Attempt) -> Given:
        try:
            # Its answer has `expires_in`, which the library reads, and which may be anything.
            found = self._oauth(endpoints).fetch_token(
                endpoints.token, grant_type="authorization_code", code=code, code_verifier=attempt.verifier
            )
        except AuthlibBaseError as error:
            raise CodeRefused(f"the token endpoint: {error.error}") from error
        except (OSError, HTTPException, ValueError, TypeError, KeyError, RecursionError) as error:
            raise ProviderUnavailable(f"the token endpoint: {str(error) or type(error).__name__}") from error
        access_token, id_token = found.get("access_token"), found.get("id_token")
        if not isinstance(access_token, str) or not isinstance(id_token, str):
            raise CodeRefused("the token endpoint: no access_token or no id_token")
        return Given(access_token, id_token)

    def _oauth(self, endpoints: Endpoints) -> Any:
        client = self.client
        return OAuth2Client(
            _Session(),
            client.client_id,
            client.secret,
            token_endpoint_auth_method=endpoints.auth_method if client.secret else "none",
            scope=client.scopes,
            redirect_uri=client.redirect_uri,
            code_challenge_method="S256",
        )


def _endpoints(metadata: Mapping[str, Any]) -> Endpoints:
    """Raises ValueError."""
    methods = metadata.get("token_endpoint_auth_methods_supported")
    # OpenID Connect Discovery, 3: the default is Basic.
    is_post = isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
    return Endpoints(
        _address(metadata, "authorization_endpoint"),
        _address(metadata, "token_endpoint"),
        "client_secret_post" if is_post else "client_secret_basic",
        metadata.get("authorization_response_iss_parameter_supported") is True,
    )


def _address(metadata: Mapping[str, Any], name: str) -> str:
    """Raises ValueError."""
    address = metadata.get(name)
    if not isinstance(address, str):
        raise ValueError(f"they have no {name}")  # noqa: TRY004 - metadata are input
    is_local(address)  # it refuses other schemes, such as javascript:
    return address


class _Session:
    """What Authlib needs of an HTTP client."""

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> "_Response":
        sent, all_headers, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        return _Response(*posted(sent, body, all_headers))


class _Response(NamedTuple):
    status_code: int
    content: bytes

    def raise_for_status(self) -> None:
        """For an answer that is no JSON about what is wrong with the request."""
        if self.status_code not in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED):
            raise ValueError(f"status {self.status_code} instead of 200")

    def json(self) -> dict[str, Any]:
        found = json.loads(self.content)
        if not isinstance(found, dict):
            raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - answers of the issuer are input
        return found
