"""AWS Signature Version 4 for requests that differ in their body only.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import gmtime, strftime
from typing import Protocol, Self
from urllib.parse import urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_CREDENTIAL = re.compile(rf"{_ALGORITHM} Credential=[^/]+/[0-9]{{8}}/([^/]+)/([^/]+)/aws4_request, ")
_OF_ONE_REQUEST = {
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "baggage",
    "content-length",
    "traceparent",
    "tracestate",
    "x-amz-date",
    "x-amz-security-token",
    "x-amzn-trace-id",
}
"""Headers that belong to a single request. The next one gets its own, or does without."""
_PORTS = {"http": 80, "https": 443}


class Credentials(Protocol):
    """What botocore calls frozen credentials."""

    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


@dataclass(slots=True)
class SignedRequest:
    """A signed POST request, to be sent again with other bodies.

    headers  those that stay the same
    region, service  of the signature
    """

    url: str
    headers: Mapping[str, str]
    region: str
    service: str
    _key: tuple[str, str, bytes] = field(default=("", "", b""), repr=False)

    @classmethod
    def of(cls, method: str, url: str, headers: Mapping[str, str]) -> Self | None:
        """None if the request is of another kind: then only its own client can make it."""
        names = {name.lower(): value for name, value in headers.items()}
        signed, place = _CREDENTIAL.match(names.get("authorization", "")), urlsplit(url)
        if method != "POST" or signed is None or place.path not in ("", "/") or place.query:
            return None
        kept = {name: value for name, value in names.items() if name not in _OF_ONE_REQUEST}
        region, service = signed.groups()
        return cls(url, kept | {"host": _host(url)}, region, service)

    def signed(self, body: bytes, credentials: Credentials, now: float) -> dict[str, str]:
        """The headers for this body. `now` is Unix seconds."""
        date = strftime("%Y%m%dT%H%M%SZ", gmtime(now))
        headers = {**self.headers, "x-amz-date": date}
        if credentials.token:
            headers["x-amz-security-token"] = " ".join(credentials.token.split())
        # A proxy may change how the client calls itself.
        names = sorted(headers.keys() - {"user-agent"})
        canonical = "".join(f"{name}:{headers[name]}\n" for name in names)
        listed = ";".join(names)
        request = f"POST\n/\n\n{canonical}\n{listed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{date[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"{_ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(date[:8], str(credentials.secret_key)), text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
        )
        return headers

    def _key_of(self, day: str, secret: str) -> bytes:
        # The key is the same for a day.
        known = self._key
        if known[:2] != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self.region, self.service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            known = self._key = (day, secret, key)
        return known[2]


def _host(url: str) -> str:
    place = urlsplit(url)
    host = f"[{place.hostname}]" if ":" in (place.hostname or "") else place.hostname or ""
    return host if place.port in (None, _PORTS.get(place.scheme)) else f"{host}:{place.port}"
