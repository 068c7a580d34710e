"""An OpenID Connect issuer: its metadata and keys over HTTP, and tokens of any form.

    with issuer() as op:
        token = op.token(sub="u-1", scope="limits:read")

It rotates its keys, is away, slow or wrong when a test says so, and counts what is fetched.
"""

import base64
import json
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

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.driven.processes import LOOPBACK

METADATA = "/.well-known/openid-configuration"
JWKS = "/keys"
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

    def rotate(self, to: Key) -> None:
        """Signs with another key from now on, and publishes only that one."""
        self.key = to
        self.published[:] = [to]

    def body(self, path: str) -> bytes | None:
        """The document at the path. None if there is none."""
        documents: Mapping[str, object] = {
            METADATA: {"issuer": self.url, "jwks_uri": self.jwks_url},
            JWKS: {"keys": [each.jwk for each in self.published]},
        }
        return self.bodies.get(path) or (json.dumps(documents[path]).encode() if path in documents else None)


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
            if not op.is_away:
                self._send(op.status if body is not None else HTTPStatus.NOT_FOUND, body or b"{}")

        def _send(self, status: HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **op.headers}.items():
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
