"""HTTP requests as the events that each sender of AWS makes of them.

How each sender encodes paths and queries is in the table of consumer/aws_lambda/gateway.py.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qsl, unquote

HttpEvent: TypeAlias = dict[str, Any]
Pairs: TypeAlias = Sequence[tuple[str, str]]

ROLE = "arn:aws:iam::123456789012:role/support"
URL_DOMAIN = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws"
API_DOMAIN = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
ADDRESS = "203.0.113.7"


class Sender(Protocol):
    """Makes an event of a request. `target`: path and query as a client writes them. `headers` may repeat a name."""

    def __call__(self, target: str, method: str = "GET", headers: Pairs = (), body: bytes = b"") -> HttpEvent: ...


def function_url(target: str, method: str = "GET", headers: Pairs = (), body: bytes = b"") -> HttpEvent:
    return _form_2(target, method, headers, body, URL_DOMAIN)


def http_api(target: str, method: str = "GET", headers: Pairs = (), body: bytes = b"") -> HttpEvent:
    event = _form_2(target, method, headers, body, API_DOMAIN)
    path = "%25".join(map(unquote, event["rawPath"].split("%25")))
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    return event


def http_api_1(target: str, method: str = "GET", headers: Pairs = (), body: bytes = b"") -> HttpEvent:
    """An HTTP API whose integration has `PayloadFormatVersion: 1.0`, and which decodes `%25` as well."""
    event = {"version": "1.0", **rest_api(target, method, headers, body)}
    event["path"] = event["requestContext"]["path"] = unquote(event["path"])
    return event


def rest_api(target: str, method: str = "GET", headers: Pairs = (), body: bytes = b"") -> HttpEvent:
    path, _, query = target.partition("?")
    context = {
        "resourcePath": "/{proxy+}",
        "httpMethod": method,
        "path": f"/live{path}",
        "protocol": "HTTP/1.1",
        "stage": "live",
        "domainName": API_DOMAIN,
        "apiId": "a1b2c3d4e5",
        "requestId": "JKJaXmPLvHcESHA=",
        "identity": {"sourceIp": ADDRESS, "userArn": None, "caller": None, "userAgent": "test"},
    }
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        **_both("headers", "multiValueHeaders", [("Host", API_DOMAIN), ("X-Forwarded-Proto", "https"), *headers]),
        **_both("queryStringParameters", "multiValueQueryStringParameters", parse_qsl(query, keep_blank_values=True)),
        "pathParameters": {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": context,
        **_body(body),
    }


def load_balancer(target: str, method: str = "GET", headers: Pairs = (), body: bytes = b"") -> HttpEvent:
    """A target group with `lambda.multi_value_headers.enabled`."""
    path, _, query = target.partition("?")
    parts = [part.partition("=") for part in query.split("&") if part]
    lowered = [("host", "limits.example.com"), ("x-forwarded-proto", "https")]
    lowered += [(name.lower(), value) for name, value in headers]
    group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/limits/49e9d65c45c6791a"
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": method,
        "path": path,
        "multiValueQueryStringParameters": _gathered([(name, value) for name, _, value in parts]),
        "multiValueHeaders": _gathered(lowered),
        **_body(body),
    }


def plain_load_balancer(target: str, method: str = "GET", headers: Pairs = (), body: bytes = b"") -> HttpEvent:
    """A target group without lists: of several values of a name, the event has the last."""
    event = load_balancer(target, method, headers, body)
    for many, one in (
        ("multiValueHeaders", "headers"),
        ("multiValueQueryStringParameters", "queryStringParameters"),
    ):
        event[one] = {name: values[-1] for name, values in event.pop(many).items()}
    return event


SENDERS: Mapping[str, Sender] = {
    "function-url": function_url,
    "http-api": http_api,
    "http-api-1.0": http_api_1,
    "rest-api": rest_api,
    "load-balancer": load_balancer,
    "plain-load-balancer": plain_load_balancer,
}


def signed(event: HttpEvent, arn: str = ROLE) -> HttpEvent:
    """The same request, but of a caller that IAM has authenticated."""
    more: HttpEvent
    if event.get("version") == "2.0":
        more = {"authorizer": {"iam": {"userArn": arn, "userId": "AIDAEXAMPLE"}}}
    else:
        more = {"identity": {**event["requestContext"]["identity"], "userArn": arn}}
    return {**event, "requestContext": {**event["requestContext"], **more}}


def _form_2(target: str, method: str, headers: Pairs, body: bytes, domain: str) -> HttpEvent:
    path, _, query = target.partition("?")
    joined: dict[str, str] = {"host": domain, "x-forwarded-proto": "https", "x-forwarded-for": ADDRESS}
    cookies: list[str] = []
    for name, value in headers:
        if name.lower() == "cookie":
            cookies += value.split("; ")
        else:
            before = joined.get(name.lower())
            joined[name.lower()] = f"{before},{value}" if before is not None else value
    event: HttpEvent = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": domain.partition(".")[0],
            "domainName": domain,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": ADDRESS, "userAgent": "test"},
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1785672000000,
        },
        **_body(body),
    }
    return {**event, "cookies": cookies} if cookies else event


def _both(one: str, many: str, pairs: Pairs) -> HttpEvent:
    return {one: dict(pairs) or None, many: _gathered(pairs) or None}


def _gathered(pairs: Pairs) -> dict[str, list[str]]:
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    return many


def _body(body: bytes) -> HttpEvent:
    if not body:
        return {"body": None, "isBase64Encoded": False}
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
