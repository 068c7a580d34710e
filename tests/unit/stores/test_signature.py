"""Signatures, compared with botocore's."""

from datetime import UTC, datetime

import pytest
from botocore import auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from consumer.stores.signature import SignedRequest

HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.Query",
    "User-Agent": "Botocore/1",
    "Accept-Encoding": "identity",
}
KEYS = st.text("ABCDEFGHIJ0123456789+=", min_size=1, max_size=40)
TOKENS = st.text("ABC/+= \t", min_size=1, max_size=40).filter(str.strip)
CREDENTIALS = st.builds(ReadOnlyCredentials, KEYS, KEYS, TOKENS | st.none())
MOMENTS = st.integers(0, 2**33)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
URLS = st.sampled_from(
    [
        "https://dynamodb.eu-north-1.amazonaws.com/",
        "https://dynamodb.eu-north-1.amazonaws.com",
        "https://123456789012.ddb.us-east-1.amazonaws.com:443/",
        "https://dynamodb-fips.us-gov-west-1.amazonaws.com:8443/",
        "http://127.0.0.1:8000",
        "http://[::1]:80/",
        "http://[::1]:4566",
        "http://LocalStack:80",
    ]
)


def of_botocore(url: str, body: bytes, region: str, credentials: ReadOnlyCredentials, now: int) -> dict[str, str]:
    request = AWSRequest("POST", url, dict(HEADERS), body)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(auth, "get_current_datetime", lambda *_: datetime.fromtimestamp(now, UTC))
        SigV4Auth(credentials, "dynamodb", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(URLS, st.binary(max_size=100), NAMES, CREDENTIALS, MOMENTS)
def test_a_signature_is_botocores(
    url: str, body: bytes, region: str, credentials: ReadOnlyCredentials, now: int
) -> None:
    before = of_botocore(url, b"other", region, ReadOnlyCredentials("AKIDFIRST", "other", "token"), 0)
    model = SignedRequest.of("POST", url, before)
    assert model is not None
    for moment in (now, now + 86_400, now):
        wanted = of_botocore(url, body, region, credentials, moment)
        signed = model.signed(body, credentials, moment + 0.9)
        token = {name: " ".join(value.split()) for name, value in wanted.items() if name == "x-amz-security-token"}
        assert {name: value for name, value in signed.items() if name != "host"} == wanted | token


SIGNED = of_botocore("https://there/", b"", "eu-north-1", ReadOnlyCredentials("AKID", "secret", None), 0)


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("GET", "https://there/", SIGNED),
        ("POST", "https://there/path", SIGNED),
        ("POST", "https://there/?query", SIGNED),
        ("POST", "https://there/", HEADERS),
        ("POST", "https://there/", {**SIGNED, "authorization": "Bearer token"}),
        (
            "POST",
            "https://there/",
            {**SIGNED, "authorization": "AWS4-ECDSA-P256-SHA256 Credential=A/20260101/d/aws4_request"},
        ),
    ],
)
def test_only_what_can_be_signed_here_is_a_model(method: str, url: str, headers: dict[str, str]) -> None:
    assert SignedRequest.of(method, url, headers) is None
    assert SignedRequest.of("POST", "https://there/", SIGNED) is not None


def test_headers_of_one_request_are_not_those_of_the_next() -> None:
    traced = {"traceparent": "00-1-2-01", "tracestate": "a=1", "Baggage": "b=2", "X-Amzn-Trace-Id": "Root=1"}
    model = SignedRequest.of("POST", "https://there/", {**SIGNED, **traced, "Content-Length": "2"})
    assert model is not None
    assert model.headers.keys() == {*(name.lower() for name in HEADERS), "host"}


def test_no_secret_is_shown() -> None:
    model = SignedRequest.of("POST", "https://there/", SIGNED)
    assert model is not None
    model.signed(b"", ReadOnlyCredentials("AKID", "secret-key", "secret-token"), 0)
    assert "secret" not in repr(model)
