"""Requests as raw JSON through a boto3 client, whose responses come from a function instead of a connection."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.session import get_session

from consumer.stores.aws import CLIENT
from consumer.stores.raw_json import OPERATIONS, RAW_JSON, use_raw_json
from consumer.stores.requests import RequestOutcome, observe_requests

TABLE = "user-limits"
ITEM = {"userId": {"S": "ü\n"}, "left": {"N": "1.50"}, "note": {"B": "eA=="}}
STATEMENTS = [{"Statement": 'UPDATE "t" SET "a" = ?', "Parameters": [{"S": "ü"}, {"M": {"n": {"N": "1"}}}]}]
GET = {"RequestItems": {TABLE: {"Keys": [{"userId": {"S": "u"}}], "ConsistentRead": True}}}


class Body:
    """What botocore reads a response from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> list[bytes]:
        return [self._content]


def response(content: bytes, status: int = 200, checksum: int | None = None) -> AWSResponse:
    headers: Any = {} if checksum is None else {"x-amz-crc32": str(checksum)}
    return AWSResponse("https://there", status, headers, Body(content))


@dataclass(frozen=True)
class Sent:
    url: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, request: AWSPreparedRequest) -> "Sent":
        assert isinstance(request.body, bytes)
        # botocore has encoded some values and not others.
        values: Any = request.headers
        headers = {name: value if isinstance(value, str) else value.decode() for name, value in values.items()}
        return cls(request.url, headers, request.body)


class Wire:
    """A client, what it sends, and what is reported about it. `answers` are returned in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: AWSResponse, raw: bool = True) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        self.client: Any = get_session().create_client(
            "dynamodb", region_name="eu-north-1", config=CLIENT.merge(RAW_JSON) if raw else CLIENT
        )
        self.sent: list[Sent] = []
        self.reported: list[RequestOutcome] = []
        self._answers = iter(answers)
        if raw:
            use_raw_json(self.client)
        observe_requests(self.client, self.reported.append)
        events: Any = self.client.meta.events
        events.register("before-send.dynamodb", self._send)

    def _send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.sent.append(Sent.of(request))
        return next(self._answers)


MakeWire = Callable[..., Wire]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> MakeWire:
    return lambda *answers, raw=True: Wire(monkeypatch, *answers, raw=raw)


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
    }[operation]()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_request_is_the_one_that_boto3_makes(wire: MakeWire, operation: str) -> None:
    ours, theirs = wire(response(b"{}")), wire(response(b"{}"), raw=False)
    call(ours.client, operation)
    call(theirs.client, operation)
    (our, their) = ours.sent[0], theirs.sent[0]
    assert json.loads(our.body) == json.loads(their.body)
    assert our.url == their.url
    assert our.headers.keys() == their.headers.keys()
    assert our.headers["X-Amz-Target"] == their.headers["X-Amz-Target"] == f"DynamoDB_20120810.{operation}"
    assert our.headers["Content-Type"] == their.headers["Content-Type"]
    assert our.headers["Content-Length"] == str(len(our.body))


def test_the_body_that_is_sent_is_the_one_that_is_signed(wire: MakeWire) -> None:
    made = wire(response(b"{}"))
    signed: list[bytes] = []
    made.client.meta.events.register("before-sign", lambda request, **_: signed.append(request.body))
    call(made.client, "BatchExecuteStatement")
    assert signed == [made.sent[0].body]
    assert made.sent[0].headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")


def test_a_response_is_its_json(wire: MakeWire) -> None:
    content = {"Responses": {TABLE: [ITEM]}, "UnprocessedKeys": {}}
    made = wire(response(json.dumps(content).encode()))
    got = call(made.client, "BatchGetItem")
    assert {name: got[name] for name in content} == content
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert made.reported == [RequestOutcome("BatchGetItem", "ok", 0)]


def test_throttled_statements_are_reported(wire: MakeWire) -> None:
    made = wire(response(b'{"Responses": [{"Error": {"Code": "ThrottlingError"}}, {}]}'))
    call(made.client, "BatchExecuteStatement")
    assert made.reported == [RequestOutcome("BatchExecuteStatement", "ok", 1)]


def test_an_error_is_boto3s(wire: MakeWire) -> None:
    refusal = response(b'{"__type": "com.amazonaws.dynamodb#ConditionalCheckFailedException", "message": "no"}', 400)
    made = wire(refusal)
    with pytest.raises(made.client.exceptions.ConditionalCheckFailedException):
        call(made.client, "DeleteItem")
    assert made.reported == [RequestOutcome("DeleteItem", "refused", 0)]


def test_a_retry_sends_the_same_body_again(wire: MakeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    made = wire(response(b"{}", 500), response(b'{"Responses": [{}]}'))
    assert call(made.client, "BatchExecuteStatement")["Responses"] == [{}]
    assert made.sent[0].body == made.sent[1].body
    assert [outcome.result for outcome in made.reported] == ["refused", "ok"]


def test_a_damaged_response_is_requested_again(wire: MakeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    whole = b'{"Responses": [{}]}'
    made = wire(response(b'{"Responses": []}', checksum=crc32(whole)), response(whole, checksum=crc32(whole)))
    assert call(made.client, "BatchExecuteStatement")["Responses"] == [{}]


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"Responses": [', b"5", b'["ab"]'])
def test_a_response_that_is_not_what_it_should_be_is_an_error_as_before(wire: MakeWire, content: bytes) -> None:
    outcomes = []
    for raw in (True, False):
        try:
            got = call(wire(response(content), raw=raw).client, "BatchGetItem")
            outcomes.append(sorted(got))
        except (ResponseParserError, ClientError, AttributeError, TypeError) as error:
            outcomes.append([type(error).__name__])
    assert outcomes[0] == outcomes[1]
