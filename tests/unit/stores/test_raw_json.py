"""Requests as raw JSON through a boto3 client, whose responses come from a function instead of a connection."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import repeat
from threading import Thread
from typing import Any
from zlib import crc32

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from botocore.session import Session, get_session

from consumer.stores import raw_json
from consumer.stores.aws import CLIENT
from consumer.stores.raw_json import OPERATIONS, RAW_JSON, RawJson
from consumer.stores.requests import RequestOutcome, observe_requests

TABLE = "user-limits"
ITEM = {"userId": {"S": "ü\n"}, "left": {"N": "1.50"}, "note": {"B": "eA=="}}
STATEMENTS = [{"Statement": 'UPDATE "t" SET "a" = ?', "Parameters": [{"S": "ü"}, {"M": {"n": {"N": "1"}}}]}]
GET = {"RequestItems": {TABLE: {"Keys": [{"userId": {"S": "u"}}], "ConsistentRead": True}}}
OF_ONE_REQUEST = {"amz-sdk-invocation-id", "amz-sdk-request", "authorization", "content-length", "x-amz-date"}


class Body:
    """What botocore reads a response from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> list[bytes]:
        return [self._content]


def response(content: bytes, status: int = 200, checksum: int | None = None) -> AWSResponse:
    headers: Any = {} if checksum is None else {"x-amz-crc32": str(checksum)}
    return AWSResponse("https://there", status, headers, Body(content))


OK = response(b'{"Responses": [{}]}')
THERE: dict[str, Any] = {"endpoint_url": "https://there", "proxy_url": "http://proxy", "error": "why"}
UNANSWERED = [
    kind(**THERE)
    for kind in (
        *(ReadTimeoutError, ConnectionClosedError, EndpointConnectionError, ConnectTimeoutError),
        *(SSLError, ProxyConnectionError),
    )
]
"""All that botocore's session raises."""


@dataclass(frozen=True)
class Sent:
    """A request. The names of its headers are in lower case."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, request: AWSPreparedRequest) -> "Sent":
        assert isinstance(request.body, bytes)
        # botocore has encoded some values and not others.
        values: Any = request.headers
        headers = {name.lower(): value if isinstance(value, str) else value.decode() for name, value in values.items()}
        return cls(request.url, headers, request.body)

    @property
    def scope(self) -> list[str]:
        """Key, date, region, service."""
        return self.headers["authorization"].partition("Credential=")[2].partition(",")[0].split("/")[:4]


class Wire:
    """A client, what it sends, and what is reported about it. `answers` are returned or raised in turn."""

    def __init__(self, session: Session, *answers: AWSResponse | BotoCoreError, raw: bool = True) -> None:
        client: Any = session.create_client(
            "dynamodb", region_name="eu-north-1", config=CLIENT.merge(RAW_JSON) if raw else CLIENT
        )
        client._endpoint.http_session.send = self._send
        self.sent: list[Sent] = []
        self.reported: list[RequestOutcome] = []
        self.boto3s = Counter[str]()
        self.answers: Iterator[AWSResponse | BotoCoreError] = iter(answers)
        self.client: Any = RawJson(client, session.get_credentials()) if raw else client
        observe_requests(client, self.reported.append)
        client.meta.events.register("before-call", self._made_by_boto3)

    def _made_by_boto3(self, model: Any, **_: object) -> None:
        self.boto3s[model.name] += 1

    def _send(self, request: AWSPreparedRequest) -> AWSResponse:
        self.sent.append(Sent.of(request))
        answer = next(self.answers)
        if isinstance(answer, BotoCoreError):
            raise answer
        return answer


MakeWire = Callable[..., Wire]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return get_session()


@pytest.fixture
def wire(session: Session) -> MakeWire:
    return lambda *answers, raw=True: Wire(session, *answers, raw=raw)


@pytest.fixture
def later(wire: MakeWire) -> MakeWire:
    """A client that has made a request of each operation before."""

    def make(*answers: AWSResponse | BotoCoreError) -> Wire:
        made = wire(*(response(b"{}") for _ in OPERATIONS), *answers)
        for operation in OPERATIONS:
            call(made.client, operation)
        for seen in (made.sent, made.reported, made.boto3s):
            seen.clear()
        return made

    return make


@pytest.fixture(params=["first", "later"])
def any_wire(request: pytest.FixtureRequest, wire: MakeWire, later: MakeWire) -> MakeWire:
    """A request that boto3 makes, and one that follows its model."""
    return {"first": wire, "later": later}[request.param]


def call(client: Any, operation: str) -> Any:
    """One request of each operation, with everything that the repository passes."""
    condition = {"ExpressionAttributeNames": {"#v": "version"}, "ExpressionAttributeValues": {":v": {"S": "1"}}}
    return {
        "BatchExecuteStatement": lambda: client.batch_execute_statement(Statements=STATEMENTS),
        "BatchGetItem": lambda: client.batch_get_item(**GET),
        "DeleteItem": lambda: client.delete_item(
            TableName=TABLE, Key={"userId": {"S": "u"}}, ConditionExpression="#v = :v", **condition
        ),
        "Query": lambda: client.query(
            TableName=TABLE, ConsistentRead=True, KeyConditionExpression="#v = :v", **condition
        ),
        "Scan": lambda: client.scan(TableName=TABLE, ConsistentRead=True, Segment=1, TotalSegments=4),
    }[operation]()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_request_is_the_one_that_boto3_makes(any_wire: MakeWire, wire: MakeWire, operation: str) -> None:
    ours, theirs = any_wire(response(b"{}")), wire(response(b"{}"), raw=False)
    call(ours.client, operation)
    call(theirs.client, operation)
    (our, their) = ours.sent[0], theirs.sent[0]
    assert json.loads(our.body) == json.loads(their.body)
    assert our.url == their.url
    assert our.headers.keys() | OF_ONE_REQUEST == their.headers.keys() | OF_ONE_REQUEST | our.headers.keys() & {"host"}
    assert our.headers["x-amz-target"] == their.headers["x-amz-target"] == f"DynamoDB_20120810.{operation}"
    assert our.headers["content-type"] == their.headers["content-type"]
    assert our.headers.get("content-length", str(len(our.body))) == str(len(our.body))
    assert our.scope[0] == "AKIDEXAMPLE"
    assert our.scope[2:] == their.scope[2:] == ["eu-north-1", "dynamodb"]


def test_boto3_makes_the_first_request_of_each_operation_only(later: MakeWire) -> None:
    made = later(*(response(b"{}") for _ in OPERATIONS))
    for operation in OPERATIONS:
        call(made.client, operation)
    assert len(made.sent) == len(made.reported) == len(OPERATIONS)
    assert not made.boto3s


def test_boto3_makes_a_request_again_after_a_while(later: MakeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_json, "MODEL_SECONDS", -1.0)
    made = later(OK)
    call(made.client, "BatchExecuteStatement")
    assert made.boto3s == {"BatchExecuteStatement": 1}


def test_the_body_that_boto3_sends_is_the_one_that_it_signs(session: Session) -> None:
    made = Wire(session, OK)
    signed: list[bytes] = []
    made.client._client.meta.events.register("before-sign", lambda request, **_: signed.append(request.body))
    call(made.client, "BatchExecuteStatement")
    assert signed == [made.sent[0].body]


def test_a_response_is_its_json(any_wire: MakeWire) -> None:
    content = {"Responses": {TABLE: [ITEM]}, "UnprocessedKeys": {}}
    body = json.dumps(content).encode()
    made = any_wire(response(body, checksum=crc32(body)))
    got = call(made.client, "BatchGetItem")
    assert {name: got[name] for name in content} == content
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert made.reported == [RequestOutcome("BatchGetItem", "ok", 0)]


def test_throttled_statements_are_reported(any_wire: MakeWire) -> None:
    made = any_wire(response(b'{"Responses": [{"Error": {"Code": "ThrottlingError"}}, {}]}'))
    call(made.client, "BatchExecuteStatement")
    assert made.reported == [RequestOutcome("BatchExecuteStatement", "ok", 1)]


def test_an_error_is_boto3s(any_wire: MakeWire) -> None:
    refusal = response(b'{"__type": "com.amazonaws.dynamodb#ConditionalCheckFailedException", "message": "no"}', 400)
    made = any_wire(refusal)
    with pytest.raises(made.client.exceptions.ConditionalCheckFailedException):
        call(made.client, "DeleteItem")
    assert made.reported == [RequestOutcome("DeleteItem", "refused", 0)]
    assert len(made.sent) == 1


@pytest.mark.parametrize(
    ("failure", "result"),
    [
        (response(b"{}", 500), "refused"),
        (response(b'{"__type": "ThrottlingException"}', 400), "throttled"),
        *((failure, "unanswered") for failure in UNANSWERED),
    ],
)
def test_a_failure_is_boto3s_first_attempt(
    any_wire: MakeWire, monkeypatch: pytest.MonkeyPatch, failure: AWSResponse | BotoCoreError, result: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    made = any_wire(failure, response(b'{"Responses": [{}]}'), OK)
    assert call(made.client, "BatchExecuteStatement")["Responses"] == [{}]
    assert [outcome.result for outcome in made.reported] == [result, "ok"]
    assert made.sent[0].body == made.sent[1].body
    assert len(made.sent) == 2


@pytest.mark.parametrize("failure", UNANSWERED)
def test_two_failures_are_an_error(any_wire: MakeWire, monkeypatch: pytest.MonkeyPatch, failure: BotoCoreError) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    made = any_wire(failure, failure, OK)
    with pytest.raises(type(failure)):
        call(made.client, "BatchGetItem")
    assert [outcome.result for outcome in made.reported] == ["unanswered", "unanswered"]
    assert call(made.client, "BatchExecuteStatement")["Responses"] == [{}], "a failure does not reach another request"


def test_after_a_failure_boto3_makes_the_next_request(later: MakeWire) -> None:
    made = later(response(b'{"__type": "InvalidSignatureException"}', 400), OK, OK)
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        call(made.client, "BatchExecuteStatement")
    assert made.boto3s == {"BatchExecuteStatement": 1}
    call(made.client, "BatchExecuteStatement")
    assert made.boto3s == {"BatchExecuteStatement": 2}
    call(made.client, "BatchExecuteStatement")
    assert made.boto3s == {"BatchExecuteStatement": 2}


def test_a_damaged_response_is_requested_again(any_wire: MakeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    whole = b'{"Responses": [{}]}'
    made = any_wire(response(b'{"Responses": []}', checksum=crc32(whole)), response(whole, checksum=crc32(whole)))
    assert call(made.client, "BatchExecuteStatement")["Responses"] == [{}]


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"Responses": [', b"5", b'["ab"]'])
def test_a_response_that_is_not_what_it_should_be_is_an_error_of_boto3(
    any_wire: MakeWire, wire: MakeWire, content: bytes
) -> None:
    outcomes = []
    for made in (any_wire(response(content)), wire(response(content), raw=False)):
        try:
            got = call(made.client, "BatchGetItem")
            outcomes.append(sorted(got))
        except (ResponseParserError, ClientError, AttributeError, TypeError) as error:
            outcomes.append([type(error).__name__])
    assert outcomes[0] == outcomes[1]


def test_successes_refill_the_retry_quota(later: MakeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed retry takes tokens of boto3's quota. Without tokens, it makes one attempt only."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    made = later()

    def attempts() -> int:
        made.sent.clear()
        made.answers = repeat(response(b"{}", 500))
        with pytest.raises(ClientError):
            call(made.client, "BatchGetItem")
        return len(made.sent)

    assert attempts() == 2
    for _ in range(500):
        attempts()
    assert attempts() == 1
    made.answers = repeat(OK)
    for _ in range(50):
        call(made.client, "BatchGetItem")
    assert attempts() == 2


def test_renewed_credentials_sign_the_next_request(session: Session) -> None:
    kept = session.get_credentials()
    assert isinstance(kept, Credentials)
    made = Wire(session, OK, OK)
    call(made.client, "BatchExecuteStatement")
    kept.access_key, kept.secret_key, kept.token = "AKIDNEW", "other", "token"
    call(made.client, "BatchExecuteStatement")
    assert made.boto3s == {"BatchExecuteStatement": 1}
    assert [sent.scope[0] for sent in made.sent] == ["AKIDEXAMPLE", "AKIDNEW"]
    assert made.sent[1].headers["x-amz-security-token"] == "token"


def test_a_session_without_a_token_does_not_send_the_previous_one(session: Session) -> None:
    kept = session.get_credentials()
    assert isinstance(kept, Credentials)
    kept.token = "token"
    made = Wire(session, OK, OK)
    call(made.client, "BatchExecuteStatement")
    kept.token = None
    call(made.client, "BatchExecuteStatement")
    assert [sent.headers.get("x-amz-security-token") for sent in made.sent] == ["token", None]


def test_credentials_that_cannot_be_renewed_are_boto3s_error_and_send_nothing(session: Session) -> None:
    renewals: list[str] = []

    def renew() -> dict[str, str]:
        renewals.append("renewed")
        if len(renewals) > 1:
            raise CredentialRetrievalError(provider="test", error_msg="away")
        return {"access_key": "AKIDNEW", "secret_key": "s", "token": "t", "expiry_time": "2000-01-01T00:00:00Z"}

    expired = {"access_key": "AKIDOLD", "secret_key": "s", "token": "t", "expiry_time": "2100-01-01T00:00:00Z"}
    made = Wire(session, OK, OK)
    kept: Any = RefreshableCredentials.create_from_metadata(expired, renew, "test")
    made.client._client._request_signer._credentials = made.client._credentials = kept
    call(made.client, "BatchExecuteStatement")
    kept._expiry_time = datetime(2000, 1, 1, tzinfo=UTC)
    with pytest.raises((CredentialRetrievalError, RuntimeError)):
        call(made.client, "BatchExecuteStatement")
    assert renewals
    assert len(made.sent) == 1


def test_without_credentials_boto3_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    made = Wire(get_session())
    for _ in range(2):
        with pytest.raises(NoCredentialsError):
            call(made.client, "BatchGetItem")


def test_a_lone_surrogate_is_sent_as_json_escapes_it(any_wire: MakeWire) -> None:
    made = any_wire(OK)
    made.client.batch_execute_statement(Statements=[{"Statement": "s", "Parameters": [{"S": "\ud800"}]}])
    assert rb"\ud800" in made.sent[0].body


@contextmanager
def forward_proxy() -> Iterator[tuple[str, list[str]]]:
    """The address of an HTTP proxy that answers every request itself, and the addresses it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_requests_pass_the_proxy_of_the_environment(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with forward_proxy() as (address, asked):
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("NO_PROXY", "")
        there = "http://dynamodb.invalid:8000"
        client = session.create_client(
            "dynamodb", region_name="eu-north-1", endpoint_url=there, config=CLIENT.merge(RAW_JSON)
        )
        made = RawJson(client, session.get_credentials())
        for _ in range(3):
            call(made, "BatchGetItem")
        client.close()
    assert asked == [f"{there}/"] * 3
