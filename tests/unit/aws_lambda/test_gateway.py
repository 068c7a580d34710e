"""Events of function URLs, API Gateway and load balancers as requests, and the answers to them."""

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.aws_lambda.gateway import Response, answer, request_in
from consumer.aws_lambda.handler import MalformedInvocation
from tests.support.generators.http_events import (
    ADDRESS,
    ROLE,
    SENDERS,
    Sender,
    function_url,
    http_api,
    load_balancer,
    plain_load_balancer,
    rest_api,
    signed,
)

EACH = pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS.keys())
PATHS = (
    "/",
    "/user-limits/1",
    "/user-limits/a%20b",
    "/user-limits/a+b",
    "/user-limits/a%2Bb",
    "/user-limits/%C3%A9%F0%9F%8E%B2",
    "/user-limits/a%2541",
    "/user-limits/100%25",
    "/user-limits/%",
    "/user-limits/%zz",
    "/user-limits/%00",
    "/user-limits/%ff%fe",
    "/user-limits/%ed%a0%80",
    "/user-limits/..%2f..%2fetc",
    "/user-limits/%0d%0aSet-Cookie:%20a=b",
    "/user-limits/a%3Fb%23c",
    f"/user-limits/{'a' * 5_000}",
)
QUERIES = ("", "type=DEPOSIT", "type=DEPOSIT&type=LOSS&status=ACTIVE", "a=%26%3D%20%2B+b", "a=%ff", "a=%00", "a", "a=")


def scope(event: dict[str, Any]) -> dict[str, Any]:
    return request_in(event).scope("e1506fd5-9e7b")


# --- Requests ------------------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_a_path_is_decoded_once_as_uvicorn_does(sender: Sender, path: str) -> None:
    found = scope(sender(path))

    assert found["path"] == unquote(path)
    assert unquote(found["raw_path"].decode()) == unquote(path)


@pytest.mark.parametrize("sender", [function_url, rest_api, load_balancer, plain_load_balancer])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_a_path_that_the_event_has_as_received_stays_so(sender: Sender, path: str) -> None:
    assert scope(sender(path))["raw_path"] == path.encode()


@EACH
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_has_every_value(sender: Sender, query: str) -> None:
    wanted = parse_qsl(query, keep_blank_values=True)
    found = scope(sender(f"/user-limits/1?{query}"))["query_string"].decode()

    if sender is plain_load_balancer:
        wanted = list(dict(wanted).items())
    assert parse_qsl(found, keep_blank_values=True) == wanted


@EACH
def test_names_of_headers_are_in_lower_case_and_values_stay(sender: Sender) -> None:
    headers = [("AUTHORIZATION", "Bearer AbC"), ("If-None-Match", '"Aé"'), ("x-Odd", "")]
    found = scope(sender("/", headers=headers))["headers"]

    assert {(b"authorization", b"Bearer AbC"), (b"if-none-match", '"Aé"'.encode()), (b"x-odd", b"")} <= set(found)
    assert all(name == name.lower() for name, _ in found)


@EACH
def test_cookies_are_one_header(sender: Sender) -> None:
    assert (b"cookie", b"a=1; b=2") in scope(sender("/", headers=[("Cookie", "a=1; b=2")]))["headers"]


@EACH
@pytest.mark.parametrize("value", ["443,80", "", "odd", "-1", "9" * 5_000])
@pytest.mark.parametrize("name", ["X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-For"])
def test_headers_about_forwarding_may_be_odd(sender: Sender, name: str, value: str) -> None:
    assert scope(sender("/", headers=[(name, value)]))["scheme"] == "https"


@pytest.mark.parametrize("value", ["example.com:", "a:b:c", "[::1]:8080", "", " "])
def test_the_host_of_a_load_balancer_may_be_odd(value: str) -> None:
    event = plain_load_balancer("/", headers=[("host", value)])
    assert (b"host", value.encode()) in scope(event)["headers"]


def test_the_scheme_is_https_unless_the_load_balancer_says_otherwise() -> None:
    found = [scope(plain_load_balancer("/", headers=[("x-forwarded-proto", each)])) for each in ("http", "https")]
    assert [each["scheme"] for each in found] == ["http", "https"]


@EACH
@pytest.mark.parametrize("body", [b"", b"text", bytes(range(256))])
def test_a_body_is_decoded(sender: Sender, body: bytes) -> None:
    assert request_in(sender("/", "POST", body=body)).body == body


def test_a_body_may_be_text() -> None:
    assert request_in({**function_url("/"), "body": "é", "isBase64Encoded": False}).body == "é".encode()


@EACH
def test_the_client_is_named_where_the_event_names_it(sender: Sender) -> None:
    event = sender("/")
    is_load_balancer = "elb" in event["requestContext"]

    assert scope(event)["client"] == (None if is_load_balancer else (ADDRESS, 0))


@EACH
def test_the_invocation_names_a_request_that_its_client_has_not_named(sender: Sender) -> None:
    named = scope(sender("/", headers=[("X-Request-Id", "mine")]))["headers"]

    assert (b"x-request-id", b"e1506fd5-9e7b") in scope(sender("/"))["headers"]
    assert [value for name, value in named if name == b"x-request-id"] == [b"mine"]


ODD_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
"""Any text that JSON can hold, with halves of surrogate pairs."""


@given(st.sampled_from([*SENDERS]), ODD_TEXT, ODD_TEXT, st.binary(max_size=20))
def test_no_text_of_a_client_is_an_error(name: str, text: str, value: str, octets: bytes) -> None:
    event = SENDERS[name](f"/user-limits/{quote(octets)}?a={quote(octets)}", headers=[("x-odd", value)])
    for field in ("rawPath", "path"):
        if field in event:
            event[field] += text
    found = scope(event)

    assert found["path"].startswith("/user-limits/")
    found["path"].encode()
    assert [each for header in found["headers"] for each in header if not isinstance(each, bytes)] == []
    assert json.loads(json.dumps(answer(request_in(event), Response(200, (), b"{}"))))["statusCode"] == 200


# --- Whom AWS has authenticated ------------------------------------------------------------------------------------


@EACH
def test_nobody_is_authenticated_by_headers(sender: Sender) -> None:
    headers = [("x-amzn-oidc-identity", "admin"), ("authorizer", "admin"), ("x-amzn-mtls-clientcert-subject", "admin")]
    assert request_in(sender("/", headers=headers)).caller is None


@pytest.mark.parametrize("sender", [function_url, http_api, rest_api])
def test_the_caller_of_a_signed_request_is_known(sender: Sender) -> None:
    assert request_in(signed(sender("/"))).caller == ROLE


@pytest.mark.parametrize(
    ("more", "caller"),
    [
        ({"authorizer": {"jwt": {"claims": {"sub": "agent"}, "scopes": None}}}, "agent"),
        ({"authorizer": {"claims": {"sub": "agent"}}}, "agent"),
        ({"authorizer": {"principalId": "agent"}}, "agent"),
        ({"authentication": {"clientCert": {"subjectDN": "CN=gateway"}}}, "CN=gateway"),
        ({"identity": {"clientCert": {"subjectDN": "CN=gateway"}}}, "CN=gateway"),
        ({"authorizer": {"claims": None, "scopes": None}}, None),
        ({"authorizer": {"lambda": None}}, None),
        ({"authorizer": {"principalId": ""}}, None),
        ({"authorizer": None, "authentication": None, "identity": None}, None),
    ],
)
def test_the_caller_of_an_authorizer_is_known(more: dict[str, Any], caller: str | None) -> None:
    event = http_api("/")
    event["requestContext"] |= more
    assert request_in(event).caller == caller


# --- Other events --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (None, "no HTTP request"),
        ([], "no HTTP request"),
        ({}, "no HTTP request"),
        ({"Records": []}, "no HTTP request"),
        ({"requestContext": {"routeKey": "$connect"}}, "no HTTP request"),
        ({"version": "2.0", "requestContext": {}}, "requestContext.http.method is not a method"),
        ({**function_url("/"), "headers": []}, "headers is not an object"),
        ({**function_url("/"), "headers": {"a": 1}}, "headers is not text"),
        ({**function_url("/"), "cookies": "a=1"}, "cookies is not a list"),
        ({**function_url("/"), "rawPath": 1}, "rawPath is not text"),
        ({**function_url("/"), "body": "=", "isBase64Encoded": True}, "body is not base64"),
        ({**rest_api("/"), "multiValueHeaders": {"a": "b"}}, "multiValueHeaders is not a list"),
        ({**rest_api("/"), "httpMethod": "GÉT"}, "httpMethod is not a method"),
    ],
)
def test_an_event_that_no_sender_makes_is_named(event: object, said: str) -> None:
    with pytest.raises(MalformedInvocation, match=said):
        request_in(event)


@EACH
def test_fields_may_be_null_or_missing(sender: Sender) -> None:
    event = sender("/user-limits/1")
    optional = {"headers", "multiValueHeaders", "body", "isBase64Encoded", "cookies", "rawQueryString"}
    optional |= {"queryStringParameters", "multiValueQueryStringParameters"}

    for each in (dict.fromkeys(optional & event.keys()), {}):
        found = request_in({name: value for name, value in event.items() if name not in optional} | each)
        assert (found.path, found.query, found.body, found.headers) == (b"/user-limits/1", b"", b"", ())


# --- Answers -------------------------------------------------------------------------------------------------------

HEADERS = (
    (b"content-type", b"application/json"),
    (b"content-length", b"2"),
    (b"vary", b"accept"),
    (b"vary", b"authorization"),
    (b"set-cookie", b"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
    (b"set-cookie", b"b=2"),
)
COOKIES = ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]


@pytest.mark.parametrize("sender", [function_url, http_api])
def test_form_2_has_joined_headers_and_cookies_apart(sender: Sender) -> None:
    assert answer(request_in(sender("/")), Response(200, HEADERS, b"{}")) == {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "vary": "accept, authorization"},
        "cookies": COOKIES,
        "body": "{}",
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("sender", [rest_api, load_balancer])
def test_form_1_has_lists_of_headers(sender: Sender) -> None:
    assert answer(request_in(sender("/")), Response(200, HEADERS, b"{}")) == {
        "statusCode": 200,
        "multiValueHeaders": {
            "content-type": ["application/json"],
            "vary": ["accept", "authorization"],
            "set-cookie": COOKIES,
        },
        "body": "{}",
        "isBase64Encoded": False,
    }


def test_a_load_balancer_without_lists_gets_none() -> None:
    found = answer(request_in(plain_load_balancer("/")), Response(200, HEADERS[:4], b"{}"))
    assert found["headers"] == {"content-type": "application/json", "vary": "accept, authorization"}
    assert "multiValueHeaders" not in found


@EACH
@pytest.mark.parametrize("status", [200, 304, 404, 503])
def test_the_answer_to_head_has_headers_and_no_body(sender: Sender, status: int) -> None:
    found = answer(request_in(sender("/", "HEAD")), Response(status, HEADERS, b"{}"))
    assert (found["statusCode"], found["body"], found["isBase64Encoded"]) == (status, "", False)
    assert "application/json" in json.dumps(found)


@EACH
def test_a_body_that_is_no_text_is_base64(sender: Sender) -> None:
    body = b"\x89PNG\r\n\x1a\n\xff"
    found = answer(request_in(sender("/")), Response(200, ((b"content-type", b"image/png"),), body))
    assert (base64.b64decode(found["body"]), found["isBase64Encoded"]) == (body, True)
