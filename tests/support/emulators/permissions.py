"""Recorded AWS requests as IAM actions, and whether a role's policies allow them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.support.emulators.aws import REGION
from tests.support.emulators.cloudformation import statements

ACCOUNT = "000000000000"
"""The account number of MiniStack."""
STATEMENT = re.compile(r'(INSERT INTO|UPDATE|SELECT .* FROM|DELETE FROM) "([^"]+)"', re.IGNORECASE)
PARTIQL = {"insert": "Insert", "update": "Update", "select": "Select", "delete": "Delete"}
KNOWN_BY_ITERATOR = "known by the iterator"
"""The stream of a shard iterator, which only Kinesis can read. Getting the iterator was a call for that stream."""
OBJECTS = {"PUT": "PutObject", "GET": "GetObject", "DELETE": "DeleteObject", "HEAD": "GetObject"}


@dataclass(frozen=True)
class Call:
    """One call of an action on a resource. `context`: the IAM condition keys of the request."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Grant:
    """Permission for one action on matching resources. `conditions`: condition keys and patterns of their values."""

    action: str
    resource: str
    conditions: Mapping[str, str] = field(default_factory=dict, compare=False)

    def allows(self, call: Call) -> bool:
        context = dict(call.context)
        return (
            call.action == self.action
            and (call.resource == KNOWN_BY_ITERATOR or fnmatchcase(call.resource, self.resource))
            and all(fnmatchcase(context.get(key, ""), pattern) for key, pattern in self.conditions.items())
        )


def grants(policies: list[dict[str, Any]]) -> Iterator[Grant]:
    """Every permission of inline policies."""
    for statement in statements(policies):
        operators = statement.get("Condition", {})
        assert operators.keys() <= {"StringEquals", "StringLike"}, operators
        conditions = {key: pattern for tests in operators.values() for key, pattern in tests.items()}
        for action in statement["Action"]:
            yield from (Grant(action, resource, conditions) for resource in statement["Resource"])


def not_permitted(called: set[Call], granted: set[Grant]) -> list[Call]:
    """The calls that no grant allows."""
    return [call for call in called if not any(grant.allows(call) for grant in granted)]


def calls(record: Path, key: str) -> set[Call]:
    """The calls made with the access key, as recorded by tests/support/emulators/recording_ministack.py."""
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return {call for line in lines if line["key"] == key for call in _calls(line)}


def _calls(line: Mapping[str, str]) -> Iterator[Call]:
    readers: Mapping[str, Callable[[Mapping[str, str]], Iterator[Call]]] = {
        "dynamodb": _dynamodb,
        "kinesis": _kinesis,
        "s3": _s3,
        "monitoring": _cloudwatch,
        "events": _events,
    }
    read = readers.get(line["service"])
    assert read, f"call of an unexpected service: {line}"
    return read(line)


def _dynamodb(line: Mapping[str, str]) -> Iterator[Call]:
    operation, body = line["target"].rpartition(".")[2], json.loads(line["body"])
    if operation == "BatchExecuteStatement":
        for statement in body["Statements"]:
            match = STATEMENT.match(statement["Statement"])
            assert match, statement
            kind = PARTIQL[match[1].split()[0].lower()]
            yield Call(f"dynamodb:PartiQL{kind}", _table(match[2]))
    elif operation == "BatchGetItem":
        yield from (Call("dynamodb:BatchGetItem", _table(name)) for name in body["RequestItems"])
    else:
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield Call(f"dynamodb:{operation}", _table(body["TableName"]) + index)


def _table(name: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def _kinesis(line: Mapping[str, str]) -> Iterator[Call]:
    operation, body = line["target"].rpartition(".")[2], json.loads(line["body"])
    if "ShardIterator" in body:
        yield Call(f"kinesis:{operation}", KNOWN_BY_ITERATOR)
        return
    stream = body.get("StreamARN") or f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{body.get('StreamName')}"
    named = f"{stream}/consumer/{body.get('ConsumerName')}" if operation == "DescribeStreamConsumer" else stream
    yield Call(f"kinesis:{operation}", body.get("ConsumerARN", named))


def _s3(line: Mapping[str, str]) -> Iterator[Call]:
    bucket, _, key = unquote(line["path"]).lstrip("/").partition("/")
    if key:
        yield Call(f"s3:{OBJECTS[line['method']]}", f"arn:aws:s3:::{bucket}/{key}")
    else:
        assert line["method"] == "GET", line
        prefix = parse_qs(line["query"]).get("prefix", [""])[0]
        yield Call("s3:ListBucket", f"arn:aws:s3:::{bucket}", (("s3:prefix", prefix),))


def _cloudwatch(line: Mapping[str, str]) -> Iterator[Call]:
    body = parse_qs(line["body"])
    operation = body["Action"][0]
    yield Call(f"cloudwatch:{operation}", "*", (("cloudwatch:namespace", body.get("Namespace", [""])[0]),))


def _events(line: Mapping[str, str]) -> Iterator[Call]:
    operation = line["target"].rpartition(".")[2]
    for entry in json.loads(line["body"])["Entries"]:
        bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{entry.get('EventBusName', 'default')}"
        yield Call(f"events:{operation}", bus, (("events:source", entry["Source"]),))
