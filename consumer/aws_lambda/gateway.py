"""HTTP requests as events of Lambda, and the answers that their senders expect.

| sender                    | form                            | path in the event  | query in the event        |
|---------------------------|---------------------------------|--------------------|---------------------------|
| function URL              | 2.0                             | as received        | as received               |
| HTTP API of API Gateway   | 2.0; 1.0 if it is configured so | decoded, but `%25` | as received; 1.0: decoded |
| REST API of API Gateway   | 1.0, but without `version`      | as received        | decoded                   |
| application load balancer | its own, similar to 1.0         | as received        | as received               |

A path that is decoded twice names another user: `a%2541` is the user `a%41`, not `aA`. Reports differ on whether an
HTTP API decodes `%25`; here it is a percent sign in either case. Text of an event is turned into bytes and back without
errors, whatever a client sent.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote, unquote_to_bytes, urlencode

from consumer.aws_lambda.handler import MalformedInvocation

Pair: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = tuple[Pair, ...]
"""Names in lower case, and values. A name may occur several times."""

REQUEST_ID = b"x-request-id"

FUNCTION_URL = ".lambda-url."
"""Part of the domain of every function URL, and of no other one."""

IDENTITIES = (
    ("authorizer", "iam", "userArn"),
    ("authorizer", "jwt", "claims", "sub"),
    ("authorizer", "claims", "sub"),
    ("authorizer", "principalId"),
    ("authentication", "clientCert", "subjectDN"),
    ("identity", "clientCert", "subjectDN"),
    ("identity", "userArn"),
)
"""Where `requestContext` names the caller that AWS has authenticated: IAM, JWT and Lambda authorizers, mutual TLS.
Clients cannot write there."""

NOT_HTTP = "the event is no HTTP request: invoke the function from a function URL, API Gateway or a load balancer"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request.

    path       percent-encoded, without the query
    query      percent-encoded, without `?`
    client     the IP address of the client, if the event names it
    caller     whom AWS has authenticated: an ARN, a subject. None if nobody
    lists      the sender expects the headers of the answer as lists, one per name
    cookies    the sender expects the cookies of the answer apart from its headers
    """

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes
    client: str | None
    caller: str | None
    lists: bool = False
    cookies: bool = False

    def scope(self, request_id: str) -> dict[str, Any]:
        """The request as ASGI describes it, in the form that uvicorn gives it.

        `request_id`: the id of the invocation, under which the request is logged unless the client has named it.
        """
        is_named = any(name == REQUEST_ID for name, _ in self.headers)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            # Clients reach all senders by TLS, except a load balancer that listens for plain HTTP.
            "scheme": "http" if (b"x-forwarded-proto", b"http") in self.headers else "https",
            "path": unquote_to_bytes(self.path).decode("utf-8", "replace"),
            "raw_path": self.path,
            "query_string": self.query,
            "root_path": "",
            "headers": [*self.headers, *([] if is_named else [(REQUEST_ID, request_id.encode())])],
            "client": (self.client, 0) if self.client else None,
            "server": None,
        }


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    headers: Headers
    body: bytes


def request_in(event: object) -> Request:
    """The request in an event. Raises MalformedInvocation if the event is not one of a sender above."""
    context = event.get("requestContext") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(context, Mapping):
        raise MalformedInvocation(NOT_HTTP)
    if event.get("version") == "2.0":
        return _of_form_2(event, context)
    if "httpMethod" in event:
        return _of_form_1(event, context)
    raise MalformedInvocation(NOT_HTTP)


def answer(request: Request, response: Response) -> dict[str, Any]:
    """The response in the form that the request's sender expects."""
    # The answer to HEAD has no body. Senders count the bytes themselves.
    text, is_base64 = _text_of(b"" if request.method == "HEAD" else response.body)
    headers = [(name, value) for name, value in response.headers if name != b"content-length"]
    return {
        "statusCode": response.status,
        **_headers_of(request, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]),
        "body": text,
        "isBase64Encoded": is_base64,
    }


# --- Events --------------------------------------------------------------------------------------------------------


def _of_form_2(event: Mapping[str, Any], context: Mapping[str, Any]) -> Request:
    http = _table("requestContext.http", context.get("http"))
    path = _octets("rawPath", event.get("rawPath"))
    cookies = [_octets("cookies", each) for each in _list("cookies", event.get("cookies"))]
    headers = [*_pairs(event, "headers"), *([(b"cookie", b"; ".join(cookies))] if cookies else [])]
    return Request(
        method=_method("requestContext.http.method", http.get("method")),
        path=path if FUNCTION_URL in str(context.get("domainName")) else _encoded(path),
        query=_octets("rawQueryString", event.get("rawQueryString")),
        headers=_lowered(headers),
        body=_body(event),
        client=_found(http, ("sourceIp",)),
        caller=_caller(context),
        cookies=True,
    )


def _of_form_1(event: Mapping[str, Any], context: Mapping[str, Any]) -> Request:
    path = _octets("path", event.get("path"))
    headers = _pair_lists(event, "multiValueHeaders") or _pairs(event, "headers")
    query = _pair_lists(event, "multiValueQueryStringParameters") or _pairs(event, "queryStringParameters")
    return Request(
        method=_method("httpMethod", event.get("httpMethod")),
        path=_encoded(path) if "version" in event else path,
        query=_joined(query) if "elb" in context else urlencode(query).encode(),
        headers=_lowered(headers),
        body=_body(event),
        client=_found(context, ("identity", "sourceIp")),
        caller=_caller(context),
        lists="multiValueHeaders" in event,
    )


def _pairs(event: Mapping[str, Any], field: str) -> list[Pair]:
    """The names and values of a field."""
    return [(_octets(field, name), _octets(field, value)) for name, value in _table(field, event.get(field)).items()]


def _pair_lists(event: Mapping[str, Any], field: str) -> list[Pair]:
    """The names and values of a field in which each name has a list of values."""
    lists = {name: _list(field, values) for name, values in _table(field, event.get(field)).items()}
    return [(_octets(field, name), _octets(field, value)) for name, values in lists.items() for value in values]


def _lowered(headers: Iterable[Pair]) -> Headers:
    return tuple((name.lower(), value) for name, value in headers)


def _joined(query: Iterable[Pair]) -> bytes:
    return b"&".join(b"=".join(pair) for pair in query)


def _encoded(path: bytes) -> bytes:
    """A path that an HTTP API has decoded, as a client would write it."""
    return quote(path.replace(b"%25", b"%")).encode()


def _method(place: str, value: object) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise MalformedInvocation(f"{place} is not a method. {NOT_HTTP}")
    return value


def _body(event: Mapping[str, Any]) -> bytes:
    body = _octets("body", event.get("body"))
    try:
        return base64.b64decode(body, validate=True) if event.get("isBase64Encoded") is True else body
    except binascii.Error:
        raise MalformedInvocation("body is not base64, although isBase64Encoded is true") from None


def _caller(context: Mapping[str, Any]) -> str | None:
    return next(filter(None, (_found(context, path) for path in IDENTITIES)), None)


def _found(value: object, path: Iterable[str]) -> str | None:
    """The text at the end of the path. None if there is none, or if it is empty."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None


def _octets(place: str, value: object) -> bytes:
    """The bytes of text, empty if there is none."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise MalformedInvocation(f"{place} is not text. {NOT_HTTP}")
    # JSON can hold halves of surrogate pairs, which UTF-8 cannot.
    return value.encode("utf-8", "surrogatepass")


def _table(place: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MalformedInvocation(f"{place} is not an object. {NOT_HTTP}")
    return value


def _list(place: str, value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedInvocation(f"{place} is not a list. {NOT_HTTP}")
    return value


# --- Answers -------------------------------------------------------------------------------------------------------


def _headers_of(request: Request, headers: list[tuple[str, str]]) -> dict[str, Any]:
    many: dict[str, list[str]] = {}
    for name, value in headers:
        many.setdefault(name, []).append(value)
    if request.lists:
        return {"multiValueHeaders": many}
    cookies = {"cookies": many.pop("set-cookie", [])} if request.cookies else {}
    return {"headers": {name: ", ".join(values) for name, values in many.items()}, **cookies}


def _text_of(body: bytes) -> tuple[str, bool]:
    """The body as text, and whether that text is base64."""
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
