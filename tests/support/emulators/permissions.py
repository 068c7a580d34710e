"""What was asked of AWS, in IAM's terms, and what a role's policies say to it."""

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
"""MiniStack's."""
STATEMENT = re.compile(r'(INSERT INTO|UPDATE|SELECT .* FROM|DELETE FROM) "([^"]+)"', re.IGNORECASE)
PARTIQL = {"insert": "Insert", "update": "Update", "select": "Select", "delete": "Delete"}
KNOWN_BY_ITERATOR = "told by the iterator"
"""A shard iterator says to Kinesis alone which stream it is of: one that could be asked for before."""
OBJECTS = {"PUT": "PutObject", "GET": "GetObject", "DELETE": "DeleteObject", "HEAD": "GetObject"}


@dataclass(frozen=True)
class Call:
    """One thing that was asked for. `context`: IAM's condition keys that the request brings along."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Grant:
    """One action on one kind of resource. `conditions`: condition keys and patterns of their values."""

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
    """All that inline policies allow, one by one."""
    for statement in statements(policies):
        operators = statement.get("Condition", {})
        assert operators.keys() <= {"StringEquals", "StringLike"}, operators
        conditions = {key: pattern for tests in operators.values() for key, pattern in tests.items()}
        for action in statement["Action"]:
            yield from (Grant(action, resource, conditions) for resource in statement["Resource"])


def not_permitted(asked: set[Call], granted: set[Grant]) -> list[Call]:
    """What was asked for and is not allowed."""
    return [call for call in asked if not any(grant.allows(call) for grant in granted)]


def calls(record: Path, key: str) -> set[Call]:
    """What was asked for with that access key, as tests/support/emulators/recording_ministack.py wrote it down."""
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return {call for line in lines if line["key"] == key for call in _calls(line)}


def _calls(line: Mapping[str, str]) -> Iterator[Call]:
    readers: Mapping[str, Callable[[Mapping[str, str]], Iterator[Call]]] = {
        "dynamodb": _dynamodb,
        "kinesis": _kinesis,
        "s3": _s3,
        "monitoring": _cloudwatch,
    }
    read = readers.get(line["service"])
    assert read, f"a service that nobody should need: {line}"
    return read(line)


def _dynamodb(line: Mapping[str, str]) -> Iterator[Call]:
    operation, asked = line["target"].rpartition(".")[2], json.loads(line["body"])
    if operation == "BatchExecuteStatement":
        for statement in asked["Statements"]:
            match = STATEMENT.match(statement["Statement"])
            assert match, statement
            kind = PARTIQL[match[1].split()[0].lower()]
            yield Call(f"dynamodb:PartiQL{kind}", _table(match[2]))
    elif operation == "BatchGetItem":
        yield from (Call("dynamodb:BatchGetItem", _table(name)) for name in asked["RequestItems"])
    else:
        index = f"/index/{asked['IndexName']}" if "IndexName" in asked else ""
        yield Call(f"dynamodb:{operation}", _table(asked["TableName"]) + index)


def _table(name: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def _kinesis(line: Mapping[str, str]) -> Iterator[Call]:
    operation, asked = line["target"].rpartition(".")[2], json.loads(line["body"])
    if "ShardIterator" in asked:
        yield Call(f"kinesis:{operation}", KNOWN_BY_ITERATOR)
        return
    stream = asked.get("StreamARN") or f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{asked.get('StreamName')}"
    named = f"{stream}/consumer/{asked.get('ConsumerName')}" if operation == "DescribeStreamConsumer" else stream
    yield Call(f"kinesis:{operation}", asked.get("ConsumerARN", named))


def _s3(line: Mapping[str, str]) -> Iterator[Call]:
    bucket, _, key = unquote(line["path"]).lstrip("/").partition("/")
    if key:
        yield Call(f"s3:{OBJECTS[line['method']]}", f"arn:aws:s3:::{bucket}/{key}")
    else:
        assert line["method"] == "GET", line
        prefix = parse_qs(line["query"]).get("prefix", [""])[0]
        yield Call("s3:ListBucket", f"arn:aws:s3:::{bucket}", (("s3:prefix", prefix),))


def _cloudwatch(line: Mapping[str, str]) -> Iterator[Call]:
    asked = parse_qs(line["body"])
    operation = asked["Action"][0]
    yield Call(f"cloudwatch:{operation}", "*", (("cloudwatch:namespace", asked.get("Namespace", [""])[0]),))
