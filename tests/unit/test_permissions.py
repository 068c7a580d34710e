"""Requests as IAM actions, and whether policies allow them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulators.permissions import KNOWN_BY_ITERATOR, Call, grants, not_permitted
from tests.support.emulators.permissions import calls as calls_of

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/limits"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/limits"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/events"
INSERT = {"Statement": "INSERT INTO \"limits\" VALUE {'userId': ?}"}
UPDATE = {"Statement": 'UPDATE "limits" SET "version" = ? WHERE "userId" = ?'}


def line(
    service: str, target: str = "", body: Any = None, *, path: str = "/", method: str = "POST", query: str = ""
) -> str:
    text = body if isinstance(body, str) else json.dumps(body or {})
    return json.dumps(
        {
            "key": "task",
            "service": service,
            "target": target,
            "method": method,
            "path": path,
            "query": query,
            "body": text,
        }
    )


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (
            line("dynamodb", "DynamoDB_20120810.BatchExecuteStatement", {"Statements": [INSERT, UPDATE, INSERT]}),
            {Call("dynamodb:PartiQLInsert", TABLE), Call("dynamodb:PartiQLUpdate", TABLE)},
        ),
        (
            line("dynamodb", "DynamoDB_20120810.BatchGetItem", {"RequestItems": {"limits": {}}}),
            {Call("dynamodb:BatchGetItem", TABLE)},
        ),
        (
            line("dynamodb", "DynamoDB_20120810.Query", {"TableName": "limits", "IndexName": "byOwner"}),
            {Call("dynamodb:Query", f"{TABLE}/index/byOwner")},
        ),
        (
            line("kinesis", "Kinesis_20131202.GetRecords", {"ShardIterator": "x"}),
            {Call("kinesis:GetRecords", KNOWN_BY_ITERATOR)},
        ),
        (
            line("kinesis", "Kinesis_20131202.ListShards", {"StreamName": "events"}),
            {Call("kinesis:ListShards", STREAM)},
        ),
        (
            line("kinesis", "Kinesis_20131202.DescribeStreamConsumer", {"StreamARN": STREAM, "ConsumerName": "app"}),
            {Call("kinesis:DescribeStreamConsumer", f"{STREAM}/consumer/app")},
        ),
        (
            line("s3", path="/bucket/quarantine/a%20b.json", method="PUT"),
            {Call("s3:PutObject", "arn:aws:s3:::bucket/quarantine/a b.json")},
        ),
        (
            line("s3", path="/bucket", method="GET", query="list-type=2&prefix=quarantine%2F"),
            {Call("s3:ListBucket", "arn:aws:s3:::bucket", (("s3:prefix", "quarantine/"),))},
        ),
        (
            line("monitoring", body="Action=PutMetricData&Namespace=app"),
            {Call("cloudwatch:PutMetricData", "*", (("cloudwatch:namespace", "app"),))},
        ),
        (
            line("events", "AWSEvents.PutEvents", {"Entries": [{"EventBusName": "limits", "Source": "app"}] * 2}),
            {Call("events:PutEvents", BUS, (("events:source", "app"),))},
        ),
    ],
)
def test_a_request_becomes_an_iam_action(written: str, wanted: set[Call], tmp_path: Path) -> None:
    record = tmp_path / "requests"
    record.write_text(f"{written}\n", encoding="utf-8")

    assert calls_of(record, "task") == wanted
    assert calls_of(record, "somebody else") == set()


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (Call("s3:ListBucket", "arn:aws:s3:::bucket", (("s3:prefix", "quarantine/"),)), True),
        (Call("s3:ListBucket", "arn:aws:s3:::bucket", (("s3:prefix", ""),)), False),
        (Call("s3:ListBucket", "arn:aws:s3:::other", (("s3:prefix", "quarantine/"),)), False),
        (Call("s3:GetObject", "arn:aws:s3:::bucket/quarantine/x"), True),
        (Call("s3:GetObject", "arn:aws:s3:::bucket/x"), False),
        (Call("s3:PutObject", "arn:aws:s3:::bucket/quarantine/x"), False),
    ],
)
def test_a_call_is_permitted_if_a_statement_allows_it(call: Call, allowed: bool) -> None:
    listing = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::bucket",
        "Condition": {"StringLike": {"s3:prefix": "quarantine/*"}},
    }
    reading = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::bucket/quarantine/*"]}
    granted = set(grants([{"PolicyDocument": {"Statement": [listing, reading]}}]))

    assert (not_permitted({call}, granted) == []) is allowed
