"""What an issuer of tokens publishes: its metadata, and the keys that verify its tokens.

The functions block for seconds at worst, so they are called in a thread.
"""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import Request

from jwt import PyJWK, PyJWTError

from consumer.api.fetching import Bounds, fetch
from consumer.engine.errors import ConsumerError
from consumer.settings import is_loopback

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
METADATA = "/.well-known/openid-configuration"
SECONDS = 5.0
"""For the connection, for each pause of the response, and for its body as a whole."""
BYTES = 262_144
"""The longest document. The key sets of large issuers have 20 kB."""
RSA_BITS = 2_048
"""The shortest RSA key that RFC 7518 allows."""

KeySet: TypeAlias = Mapping[tuple[str, str], PyJWK]
"""Public keys by `kid` and algorithm. An RSA key that names no algorithm is there twice."""

_FITTING: Mapping[tuple[object, object], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""The algorithms for each type and curve of a key."""
_SAME_ALGORITHM = {"Ed25519": "EdDSA"}
"""Names of RFC 9864."""
_PUBLIC = ("kty", "crv", "x", "y", "n", "e")
_SHOWN = 200
"""How much of another issuer's name an error repeats, in characters."""


class NotPublished(ConsumerError):
    """A document cannot be fetched or used. The message has its address and the cause."""


def metadata_of(issuer: str) -> Mapping[str, Any]:
    """What the issuer publishes about itself. Raises NotPublished."""
    address = issuer.removesuffix("/") + METADATA
    metadata = _document(address)
    if metadata.get("issuer") != issuer:
        # OpenID Connect Discovery, 4.3: otherwise one issuer could speak for another.
        other = json.dumps(metadata.get("issuer"))[:_SHOWN]
        raise NotPublished(f"{address}: it is of the issuer {other}, not of {issuer}")
    return metadata


def keys_of(issuer: str) -> KeySet:
    """The keys of the issuer, whose metadata names their address. Raises NotPublished."""
    metadata = metadata_of(issuer)
    if not isinstance(jwks_uri := metadata.get("jwks_uri"), str):
        raise NotPublished(f"{issuer}: its metadata has no jwks_uri")
    return keys_at(jwks_uri)


def keys_at(address: str) -> KeySet:
    """The keys in the JSON Web Key Set at the address. Raises NotPublished, also if no key can verify tokens."""
    found = _document(address).get("keys")
    # The first of two keys with the same id counts.
    keys = dict(reversed([named for jwk in found for named in _usable(jwk)])) if isinstance(found, list) else {}
    if not keys:
        raise NotPublished(f"{address}: it has no key for {', '.join(ALGORITHMS)}")
    return keys


def _usable(jwk: object) -> Iterator[tuple[tuple[str, str], PyJWK]]:
    """The key for each algorithm that it fits. Nothing if it is for something else, secret or malformed."""
    if not isinstance(jwk, dict) or not isinstance(kid := jwk.get("kid"), str) or not _is_for_signatures(jwk):
        return
    for algorithm in _algorithms(jwk):
        try:
            key = PyJWK({name: jwk[name] for name in _PUBLIC if isinstance(jwk.get(name), str)}, algorithm)
        except (PyJWTError, ValueError, TypeError):
            return
        if jwk["kty"] != "RSA" or key.key.key_size >= RSA_BITS:
            yield (kid, algorithm), key


def _is_for_signatures(jwk: Mapping[str, Any]) -> bool:
    # With its private part published, anyone can sign with a key.
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations and "d" not in jwk


def _algorithms(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    kind, curve, named = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if not isinstance(kind, str) or not isinstance(curve, str | None) or not isinstance(named, str | None):
        return ()
    fitting = _FITTING.get((kind, curve), ())
    return tuple(each for each in fitting if named is None or each == _SAME_ALGORITHM.get(named, named))


def posted(address: str, form: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and body of the response to a form. Raises OSError, HTTPException and ValueError."""
    return _response(address, form.encode(), headers)


def is_local(address: str) -> bool:
    """Whether the address is on this machine. Raises ValueError if it is neither that nor https."""
    place = urlsplit(address)
    is_here = is_loopback(place.hostname or "")
    if place.scheme != "https" and not (place.scheme == "http" and is_here):
        raise ValueError("use https, or http on this machine")
    if not place.hostname or "@" in place.netloc:
        raise ValueError("use https://host/path, without user and password")
    return is_here


def _document(address: str) -> dict[str, Any]:
    """The JSON object at the address. Raises NotPublished."""
    try:
        document = json.loads(_body(address))
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise NotPublished(f"{address}: {str(error) or type(error).__name__}") from error
    if not isinstance(document, dict):
        raise NotPublished(f"{address}: it is not a JSON object")
    return document


def _body(address: str) -> bytes:
    status, body = _response(address, None, {"Accept": "application/json"})
    if status != HTTPStatus.OK:
        raise ValueError(f"status {status} instead of 200")
    return body


def _response(address: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
    proxies = not is_local(address)
    request = Request(address, data, dict(headers))  # noqa: S310 - is_local checks the scheme
    return fetch(request, Bounds(SECONDS, BYTES), proxies=proxies)
