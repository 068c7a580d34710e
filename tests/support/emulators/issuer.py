"""An OpenID Connect issuer: its metadata and keys over HTTP, and tokens of any form.

    with issuer() as op:
        token = op.token(sub="u-1", scope="limits:read")

It rotates its keys, is away, slow or wrong when a test says so, and counts what is fetched. People sign in at its
`/authorize` without being asked, as `person`, and clients get tokens for a code once, with the proof of their verifier.
"""

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.driven.processes import LOOPBACK

METADATA = "/.well-known/openid-configuration"
JWKS = "/keys"
AUTHORIZE = "/authorize"
TOKEN = "/token"
AUDIENCE = "limits-api"
LIFETIME = 300
"""Seconds until a token expires, unless it says otherwise."""


@dataclass(frozen=True)
class Key:
    """A private key with the id under which the issuer publishes its public part."""

    kid: str
    algorithm: str
    private: Any

    @property
    def public(self) -> Any:
        return self.private.public_key()

    @property
    def jwk(self) -> dict[str, Any]:
        """The public part, as it is published."""
        public = json.loads(jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.public))
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig"}


def new_key(algorithm: str = "ES256", kid: str = "key-1") -> Key:
    """A key. RSA keys are generated once for each id, as each takes a noticeable time."""
    if algorithm in ("RS256", "PS256"):
        return Key(kid, algorithm, rsa_key(kid))
    if algorithm == "EdDSA":
        return Key(kid, algorithm, ed25519.Ed25519PrivateKey.generate())
    return Key(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))


@cache
def rsa_key(name: str, bits: int = 2_048) -> rsa.RSAPrivateKey:
    """The RSA key of this name."""
    assert name
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


def segment(part: object) -> str:
    """A part of a token: bytes as they are, anything else as JSON."""
    data = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: object, claims: object, by: Key) -> str:
    """A token with this header and these claims, whatever they are, and a signature that is right."""
    text = f"{segment(header)}.{segment(claims)}"
    signature = jwt.get_algorithm_by_name(by.algorithm).sign(text.encode(), by.private)
    return f"{text}.{segment(signature)}"


@dataclass
class Issuer:
    """The state of the server. `key` signs. `published` are the keys that it shows.

    `status`: what it answers with. `is_away`: it closes connections without a response. `released`: responses
    wait until it is set. `bodies` replace the documents at their paths. `fetched` counts requests by path.
    """

    port: int = 0
    scheme: str = "http"
    key: Key = field(default_factory=new_key)
    published: list[Key] = field(default_factory=list)
    status: HTTPStatus = HTTPStatus.OK
    headers: dict[str, str] = field(default_factory=dict)
    is_away: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    bodies: dict[str, bytes] = field(default_factory=dict)
    fetched: Counter[str] = field(default_factory=Counter)
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "name": "Anna"})
    """The claims of who signs in."""
    scope: str = ""
    """What access tokens for a code permit."""
    secret: str | None = None
    """The secret of the client. None: it needs none."""
    refusal: str | None = None
    """The error with which a sign-in ends, instead of a code."""
    access_changes: dict[str, Any] = field(default_factory=dict)
    id_changes: dict[str, Any] = field(default_factory=dict)
    """Changes of the claims in tokens for a code."""
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """What was asked for, by codes that were not used yet."""

    def __post_init__(self) -> None:
        self.published.append(self.key)
        self.released.set()

    @property
    def url(self) -> str:
        """The issuer, as in `iss`."""
        return f"{self.scheme}://{LOOPBACK}:{self.port}"

    @property
    def jwks_url(self) -> str:
        return self.url + JWKS

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Valid claims of an access token, with these changes. None removes a claim."""
        now = int(time.time())
        valid = {"iss": self.url, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + LIFETIME}
        return {name: value for name, value in {**valid, **changes}.items() if value is not None}

    def header(self, **changes: Any) -> dict[str, Any]:
        """The header of a token that is signed with the current key, with these changes. None removes a member."""
        usual = {"alg": self.key.algorithm, "kid": self.key.kid, "typ": "at+jwt"}
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def token(self, **changes: Any) -> str:
        """An access token. `changes` are those of its claims."""
        return signed(self.header(), self.claims(**changes), self.key)

    def authorized(self, address: str) -> str:
        """Where somebody is sent who signs in at the address: back to the client, with a code or an error."""
        asked = dict(parse_qsl(urlsplit(address).query, strict_parsing=True))
        code = secrets.token_urlsafe(16)
        answer = {"error": self.refusal} if self.refusal else {"code": code}
        if not self.refusal:
            self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({**answer, 'state': asked['state'], 'iss': self.url})}"

    def exchanged(self, form: Mapping[str, str], authorization: str | None) -> tuple[HTTPStatus, dict[str, Any]]:
        """The answer to a client that brings a code."""
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or not _is_proven(form, asked):
            return HTTPStatus.BAD_REQUEST, {"error": "invalid_grant"}
        if not self._is_client(form, asked["client_id"], authorization):
            return HTTPStatus.UNAUTHORIZED, {"error": "invalid_client"}
        access = self.token(**{**self.person, "scope": self.scope, **self.access_changes})
        return HTTPStatus.OK, {
            "access_token": access,
            "id_token": self.id_token(asked),
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }

    def id_token(self, asked: Mapping[str, str]) -> str:
        """The token that says who has signed in."""
        about = {"aud": asked["client_id"], "nonce": asked.get("nonce"), **self.person, **self.id_changes}
        return signed(self.header(typ="JWT"), self.claims(**about), self.key)

    def _is_client(self, form: Mapping[str, str], client_id: str, authorization: str | None) -> bool:
        if self.secret is None:
            return form.get("client_id") == client_id and authorization is None
        basic = base64.b64encode(f"{client_id}:{self.secret}".encode()).decode()
        return authorization == f"Basic {basic}"

    def rotate(self, to: Key) -> None:
        """Signs with another key from now on, and publishes only that one."""
        self.key = to
        self.published[:] = [to]

    def body(self, path: str) -> bytes | None:
        """The document at the path. None if there is none."""
        documents: Mapping[str, object] = {
            METADATA: {
                "issuer": self.url,
                "jwks_uri": self.jwks_url,
                "authorization_endpoint": self.url + AUTHORIZE,
                "token_endpoint": self.url + TOKEN,
                "authorization_response_iss_parameter_supported": True,
            },
            JWKS: {"keys": [each.jwk for each in self.published]},
        }
        return self.bodies.get(path) or (json.dumps(documents[path]).encode() if path in documents else None)


def _is_proven(form: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    """Whether the client is the one that asked, by its verifier (RFC 7636), and is sent nowhere else."""
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    return (
        asked.get("code_challenge_method") == "S256"
        and asked.get("code_challenge") == segment(digest)
        and form.get("redirect_uri") == asked["redirect_uri"]
    )


@contextmanager
def issuer(key: Key | None = None, context: ssl.SSLContext | None = None) -> Iterator[Issuer]:
    """Serves an issuer during the block: over TLS with a `context`."""
    op = Issuer(scheme="https" if context else "http", key=key or new_key())
    server = _server(op)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    op.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield op
    finally:
        op.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _server(op: Issuer) -> ThreadingHTTPServer:
    class Documents(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            op.fetched[self.path] += 1
            op.released.wait()
            body = op.body(self.path)
            if op.is_away:
                return
            if urlsplit(self.path).path == AUTHORIZE:
                self._send(HTTPStatus.FOUND, b"", Location=op.authorized(self.path))
            else:
                self._send(op.status if body is not None else HTTPStatus.NOT_FOUND, body or b"{}")

        def do_POST(self) -> None:
            op.fetched[self.path] += 1
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            op.released.wait()
            if not op.is_away:
                status, answer = op.exchanged(form, self.headers["Authorization"])
                self._send(status, op.bodies.get(self.path) or json.dumps(answer).encode())

        def _send(self, status: HTTPStatus, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **op.headers, **headers}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # the client may have enough
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that refuses the certificate is part of the tests."""

    return Quiet((LOOPBACK, 0), Documents)
